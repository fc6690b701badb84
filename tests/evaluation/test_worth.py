"""What a model's errors of worth cost is counted on the rows that were due, and kept with its version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.cli.reports import worth_lines
from ml.evaluation.holdout import Holdout
from ml.evaluation.money import PROFIT_SHARE, worth_report
from ml.evaluation.plots import money_plot
from ml.evaluation.worth import money_of, worth_rows

N = 400
DAYS = np.repeat(np.arange(20), N // 20).astype("datetime64[D]")


@dataclass(frozen=True)
class Says:
    """A model that says what its rows say."""

    column: str
    factor: float = 1.0
    outputs: tuple[str, ...] = ("said",)

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"said": rows[self.column] * self.factor}, index=rows.index)


def bookings(kept: float = 0.8) -> Holdout:
    stayed = np.arange(N) % 5 < round(kept * 5)
    value = np.full(N, 200_000_000)
    rows = pd.DataFrame(
        {
            "value_micros": value,
            "true_micros": kept * value,
            "lead_bucket": np.where(np.arange(N) % 2 == 0, "000-001", "181+"),
            "segment": "Online TA",
        }
    )
    return Holdout(rows, 1.0 - stayed, DAYS, value_micros=np.where(stayed, value, 0).astype(float))


def clicks() -> Holdout:
    rows = pd.DataFrame(
        {
            "price_micros": np.full(N, 100_000_000),
            "los_nights": np.full(N, 3),
            "p": 0.1,
            "lead_bucket": "008-014",
            "partner": np.where(np.arange(N) < N // 2, "google", "trivago"),
            "device": "mobile",
        }
    )
    booked = (np.arange(N) % 20 == 0).astype(float)
    return Holdout(rows, booked, DAYS, known_share=np.full(N, 0.5))


def report(name: str, model: Any, judged: dict[str, Holdout]) -> dict[str, Any]:
    rows = worth_rows(name, judged)
    assert rows is not None
    return rows.report(model, seed=1)


def test_bookings_weigh_their_net_value_and_a_true_model_costs_nothing() -> None:
    judged = {"value": bookings(), "value_due": bookings()}
    found = report("value", Says("true_micros"), judged)
    assert found["whole"]["predicted"] == found["whole"]["realised"] == N * 200 * 0.8
    assert found["cost"]["lead_bucket"]["total"] == 0.0


def test_promising_too_much_costs_money_by_the_curve_of_the_notes() -> None:
    judged = {"value": bookings(), "value_due": bookings()}
    found = report("value", Says("true_micros", 1.5), judged)
    cost = found["cost"]["segment"]
    assert cost["over"] == cost["total"] == cost["shown"] == pytest.approx(0.29 * PROFIT_SHARE * N * 160, abs=0.01)
    assert cost["under"] == 0.0
    assert sum(row["cost"] for row in found["by"]["lead_bucket"].values()) == pytest.approx(cost["total"], abs=0.02)


def test_a_click_weighs_what_its_stay_would_have_been_worth_net_of_cancellations() -> None:
    judged = {"value": bookings(), "value_due": bookings(), "conversion": clicks()}
    found = report("conversion", Says("p"), judged)
    stay = 300 * 0.8
    assert found["whole"]["realised"] == pytest.approx(N / 20 * stay)
    # Half of the bookings can be known by now, and the model says 0.1 of all of them.
    assert found["whole"]["predicted"] == pytest.approx(N * 0.1 * 0.5 * stay)
    assert set(found["by"]) == {"lead_bucket", "partner", "device"}
    assert {name: row["rows"] for name, row in found["by"]["partner"].items()} == {"google": 200, "trivago": 200}


@pytest.mark.parametrize("name", ["click", "conversion"])
def test_a_model_without_rows_of_worth_has_no_report(name: str) -> None:
    assert worth_rows(name, {"click": clicks(), "value": bookings(), "value_due": bookings()}) is None


def test_nothing_due_is_no_report() -> None:
    none = Holdout(bookings().rows[:0], np.zeros(0), DAYS[:0], value_micros=np.zeros(0))
    assert worth_rows("value", {"value": bookings(), "value_due": none}) is None


def test_an_error_within_chance_is_not_counted_as_shown() -> None:
    rng = np.random.default_rng(0)
    came = rng.exponential(100.0, N)
    found = worth_report(np.full(N, came.mean() * 1.02), came, {"x": np.full(N, "a")}, DAYS, seed=1)
    assert found["cost"]["x"]["total"] > 0.0
    assert found["cost"]["x"]["shown"] == 0.0


def test_an_error_without_an_interval_is_not_counted_as_shown() -> None:
    found = worth_report([300.0, 300.0], [200.0, 0.0], {"x": ["a", "a"]}, [1, 2], seed=1)
    assert found["by"]["x"]["a"]["low"] is None
    assert found["cost"]["x"]["over"] > 0.0
    assert found["cost"]["x"]["shown"] == 0.0


def test_a_report_is_json_and_a_version_from_before_has_none() -> None:
    judged = {"value": bookings(), "value_due": bookings()}
    money = report("value", Says("true_micros", 1.2), judged)
    plain = json.loads(json.dumps(money, allow_nan=False))
    metrics = {"value": {"auc": 0.8, "money": plain, "baseline": {"auc": 0.7, "money": plain}}, "unfit_days_used": []}
    assert [(row["model"], row["by"]) for row in money_of(metrics)] == [("value", "model"), ("value", "baseline")]
    assert money_of({"value": {"auc": 0.8, "baseline": {"auc": 0.7}}, "serves": {"value": "value"}}) == []
    assert money_of({"auc": 0.8}) == []


def test_the_plot_of_money_is_the_same_for_the_same_numbers_and_takes_labels_without_worth() -> None:
    judged = {"value": bookings(), "value_due": bookings()}
    ours = report("value", Says("true_micros", 1.3), judged)["by"]["lead_bucket"]
    theirs = report("value", Says("true_micros"), judged)["by"]["lead_bucket"]
    nothing = dict.fromkeys(("net_value_ratio", "low", "high", "cost", "profit_lost")) | {"rows": 2}
    picture = money_plot({**ours, "091-180": nothing}, {**theirs, "091-180": nothing}, title="t")
    assert picture.startswith(b"\x89PNG")
    assert picture == money_plot({**ours, "091-180": nothing}, theirs, title="t")


def test_the_command_line_tells_it_label_by_label() -> None:
    judged = {"value": bookings(), "value_due": bookings()}
    money = report("value", Says("true_micros", 1.5), judged)
    lines = worth_lines(money_of({"value": {"money": money}}))
    assert [line[2:4] for line in lines] == [
        ("all", ""), ("lead_bucket", "000-001"), ("lead_bucket", "181+"), ("segment", "Online TA"),
    ]  # fmt: skip
    assert lines[0][4:8] == ("400", "96,000", "64,000", "1.500")
