"""What an old model costs, and what a column is worth, on markets whose truth is known: a cost is found where there is one, and only there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml import evaluation
from ml.core.errors import UsageError
from ml.core.settings import load_settings
from ml.evaluation.backtest import backtest, bookings_known
from ml.evaluation.variants import CALIBRATED_BY, Variant, compare, each_column, without
from ml.market import open_source
from ml.models.value import ValueModel

FIRST, LAST, EVERY_DAYS = date(2025, 4, 1), date(2025, 4, 29), 14
WAVE = FIRST - timedelta(days=35)
"""Long enough ago for the model of the week to have seen what it does."""
OLD = Variant(age_days=42)

TRUE = without("customer_type", "previous_*")
"""Columns that the simulator's law of cancellation reads, but no other column tells of."""
MARGIN = 0.02
"""That of `tests/models/test_settings_of_trees.py` for the value model. Here hotel_id comes nearest: of many hotels with
few bookings each it is learned by heart; the real bookings are of two hotels."""
UNTRUE = without("meal", "babies", "channel")
"""Columns that it does not read."""


Known = tuple[pd.DataFrame, pd.DataFrame]


def market(home: Path, *scenarios: str) -> Known:
    """What is known of the bookings of a simulated market: what a walk begins with."""
    settings = load_settings(
        home=home, source="simulator", simulator_opportunities_per_day=3_000, simulator_scenarios=scenarios
    )
    return bookings_known(
        open_source(settings), settings, first=FIRST - timedelta(days=OLD.age_days), last=LAST - timedelta(days=1)
    )


@contextmanager
def walking_through(known: Known, home: Path) -> Iterator[dict[str, Any]]:
    """Arguments of a walk through it, which brings it in no second time and trains in this process."""

    def here(job: Callable[..., pd.DataFrame], jobs: list[tuple[Any, ...]], *frames: pd.DataFrame) -> Iterator[Any]:
        return (job(*frames, *arguments) for arguments in jobs)

    settings = load_settings(home=home, source="simulator")
    with pytest.MonkeyPatch.context() as patch:
        for module in (evaluation.backtest, evaluation.variants):
            patch.setattr(module, "bookings_known", lambda *_, **__: known)
            patch.setattr(module, "in_processes", here)
        yield {
            "source": open_source(settings),
            "settings": settings,
            "first": FIRST,
            "last": LAST,
            "every_days": EVERY_DAYS,
        }


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return market(tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="module")
def calm(quiet: Known, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with walking_through(quiet, tmp_path_factory.mktemp("walk")) as walk:
        return compare(**walk, variants=[OLD, TRUE, UNTRUE])


def loss_of(found: dict[str, Any], variant: Variant) -> dict[str, float]:
    (row,) = [row for row in found["variants"] if row["name"] == variant.name]
    return row["loss"]  # type: ignore[no-any-return]


@pytest.mark.ml_test_score("model4")
def test_a_model_from_before_a_change_of_the_market_costs_more_and_one_as_old_without_a_change_hardly_does(
    calm: dict[str, Any], tmp_path: Path
) -> None:
    with walking_through(market(tmp_path, f"cancellation_wave@{WAVE.isoformat()}"), tmp_path) as walk:
        changed = compare(**walk, variants=[OLD])
    assert loss_of(changed, OLD)["low"] > 4 * loss_of(calm, OLD)["high"] > 0
    (row,) = changed["variants"]
    assert row["net_value_ratio"] > changed["model"]["net_value_ratio"] + 0.1, "it promises what is cancelled now"


@pytest.mark.ml_test_score("data2")
def test_taking_away_columns_that_the_truth_reads_costs_and_those_that_it_does_not_read_hardly_do(
    calm: dict[str, Any],
) -> None:
    assert loss_of(calm, TRUE)["low"] > 0
    assert loss_of(calm, UNTRUE)["high"] < loss_of(calm, TRUE)["low"]


@pytest.mark.ml_test_score("data2")
def test_no_column_of_the_shipped_model_makes_it_worse_by_more_than_its_settings_are_known_to(
    quiet: Known, tmp_path: Path
) -> None:
    with walking_through(quiet, tmp_path) as walk:
        found = compare(**walk | {"every_days": 28}, variants=each_column())
    gained = {row["name"]: -row["loss"]["share"] for row in found["variants"]}
    assert max(gained.values()) < MARGIN, max(gained, key=lambda name: gained[name])
    assert min(gained.values()) < -0.005, "and some of them are missed"


def test_the_model_it_is_compared_with_is_that_of_the_backtest(
    quiet: Known, calm: dict[str, Any], tmp_path: Path
) -> None:
    with walking_through(quiet, tmp_path) as walk:
        found = backtest(**walk)
    (quarter,) = found["quarters"]
    assert calm["rows"] == quarter["rows"] > 1_000
    assert calm["model"] == {name: quarter["model"][name] for name in ("log_loss", "net_value_ratio")}


def test_its_answer_is_json_and_names_what_was_otherwise(calm: dict[str, Any]) -> None:
    assert json.loads(json.dumps(calm, allow_nan=False)) == calm
    names = [row["name"] for row in calm["variants"]]
    assert names[0] == "42 days older"
    assert names[1] == "without previous_cancellations, previous_stays, customer_type"


def test_in_processes_of_its_own_it_finds_the_same_and_trains_no_model_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(home=tmp_path, source="simulator", simulator_opportunities_per_day=1_000)
    days = {"first": FIRST, "last": FIRST + timedelta(days=2), "every_days": 1, "variants": [Variant(1), Variant(2)]}
    seen: list[Known] = []
    trained: list[date] = []

    def keep(*given: Any, **named: Any) -> Known:
        seen.append(bookings_known(*given, **named))
        return seen[-1]

    monkeypatch.setattr(evaluation.variants, "bookings_known", keep)
    found = compare(open_source(settings), settings, progress=trained.append, **days)  # type: ignore[arg-type]
    assert sorted(trained) == [FIRST + timedelta(days=age) for age in range(-2, 2)]
    with walking_through(seen[0], tmp_path) as walk:
        assert compare(**walk | days) == found


def test_each_column_that_can_be_left_out_is_left_out_once() -> None:
    gone = [variant.without for variant in each_column()]
    assert sorted(name for (name,) in gone) == sorted({c.name for c in ValueModel.columns} - CALIBRATED_BY)


@pytest.mark.parametrize("needed", sorted(CALIBRATED_BY))
def test_what_the_calibration_stands_on_cannot_be_left_out(needed: str) -> None:
    with pytest.raises(UsageError, match="calibrated by"):
        without(needed)


def test_a_column_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"no column 'mael'.*meal"):
        without("mael")
