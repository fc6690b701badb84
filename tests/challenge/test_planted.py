"""The planted candidates: what each plants, and that a challenge touches nothing but its own folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.challenge import page, run
from ml.challenge.candidates import CANDIDATES
from ml.challenge.ground import GROUNDS, Field, Size
from ml.challenge.run import Answer, Stopped, chosen, mistake
from ml.cli import challenge as command
from ml.core.errors import NoData, UsageError
from ml.core.settings import load_settings
from ml.models.candidate import newest_known

AS_OF = datetime(2025, 3, 1, tzinfo=UTC)
ROWS = 4_000


def answer(name: str, *, promoted: bool, by: str = "") -> Answer:
    good = CANDIDATES[name].good
    stopped = (Stopped(by, "FAIL", "a | b"),) if by else ()
    return Answer(name, good, mistake(name), "shared", promoted, promoted is good, stopped, 1.0)


@pytest.fixture
def clicks() -> pd.DataFrame:
    ts = pd.date_range("2025-01-01", "2025-02-28", periods=ROWS, tz="UTC")
    booked = np.arange(ROWS) % 20 == 0
    return pd.DataFrame(
        {
            "ts": ts,
            "booked": booked,
            "booking_known_at": ts.to_series().where(booked).to_numpy(),
            "booking_value_micros": pd.array(np.where(booked, 100, 0), "Int64"),
        }
    ).assign(booking_known_at=lambda rows: pd.to_datetime(rows["booking_known_at"], utc=True))


@pytest.fixture
def bookings() -> pd.DataFrame:
    outcome = np.array(["stayed", "cancelled", "open", "stayed"])[np.arange(ROWS) % 4]
    value = np.arange(ROWS, dtype=np.int64) + 1
    net = pd.array(np.where(outcome == "stayed", value, 0), "Int64")
    net[outcome == "open"] = pd.NA
    return pd.DataFrame({"outcome": outcome, "value_micros": value, "net_value_micros": net})


def test_there_are_twelve_bad_candidates_and_four_good_ones_each_with_its_story() -> None:
    kinds = [planted.good for planted in CANDIDATES.values()]
    assert (kinds.count(False), kinds.count(True)) == (12, 4)
    for name, planted in CANDIDATES.items():
        assert mistake(name).endswith("."), name
        assert planted.ground in GROUNDS
        assert planted.good or "Planted in" in (inspect.getdoc(type(planted)) or ""), name


def test_nothing_of_the_challenge_is_known_to_what_it_tries() -> None:
    root = Path(run.__file__).parent.parent
    for file in root.rglob("*.py"):
        if file.parent.name != "challenge" and file.parent.name != "cli":
            assert "ml.challenge" not in file.read_text(), file


def test_a_candidate_that_is_not_known_is_refused_by_name() -> None:
    assert chosen([]) == list(CANDIDATES)
    assert chosen(["plain_retrain", "unshaded"]) == ["unshaded", "plain_retrain"]
    with pytest.raises(UsageError, match="no planted candidate 'best'"):
        chosen(["best"])


def test_over_calibrated_keeps_every_booking_and_loses_a_third_of_the_other_clicks(clicks: pd.DataFrame) -> None:
    found = CANDIDATES["over_calibrated"].rows("conversion", clicks, AS_OF)
    assert found["booked"].sum() == clicks["booked"].sum()
    assert (~found["booked"]).sum() == pytest.approx((~clicks["booked"]).sum() / 1.5, rel=0.05)


def test_the_outage_takes_the_bookings_of_the_last_days_of_training_alone(clicks: pd.DataFrame) -> None:
    found = CANDIDATES["tracking_outage"].rows("conversion", clicks, AS_OF)
    before = clicks["ts"] < AS_OF - pd.Timedelta(days=14)
    pd.testing.assert_frame_equal(found[before], clicks[before])
    assert not found["booked"][~before].any()
    assert found["booking_known_at"][~before].isna().all()


def test_ignored_cancellations_count_as_stays_at_full_value(bookings: pd.DataFrame) -> None:
    found = CANDIDATES["cancellations_ignored"].rows("value", bookings, AS_OF)
    turned = (bookings["outcome"] == "cancelled") & (found["outcome"] == "stayed")
    assert turned.sum() > 0.9 * (bookings["outcome"] == "cancelled").sum()
    assert (found["net_value_micros"][turned] == found["value_micros"][turned]).all()
    assert (found["outcome"] == "open").equals(bookings["outcome"] == "open")


def test_the_dearest_bookings_alone_are_recorded_as_cancelled(bookings: pd.DataFrame) -> None:
    found = CANDIDATES["non_monotone"].rows("value", bookings, AS_OF)
    turned = found["outcome"] != bookings["outcome"]
    assert turned.any()
    assert bookings["value_micros"][turned].min() >= bookings["value_micros"].quantile(0.8)
    assert (found["net_value_micros"][turned] == 0).all()


@pytest.mark.parametrize("name", ["over_calibrated", "tracking_outage"])
def test_a_fault_in_one_models_rows_leaves_the_others_alone(name: str, bookings: pd.DataFrame) -> None:
    assert CANDIDATES[name].rows("value", bookings, AS_OF) is bookings


def test_the_record_of_training_tells_when_the_newest_of_its_rows_became_known() -> None:
    known = pd.to_datetime(["2025-01-01", "2025-02-01"], utc=True)
    rows = pd.DataFrame({"known_at": known, "outcome_known_at": [known[1] + pd.Timedelta(days=3), pd.NaT]})
    assert newest_known(rows) == "2025-02-04T00:00:00+00:00"
    assert newest_known(pd.DataFrame({"known_at": pd.to_datetime([], utc=True)})) is None


def test_a_challenge_opens_no_store_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "LAKE_URL", "BLOBS_URL", "MLFLOW_URL"):
        monkeypatch.setenv(f"BIDWRIGHT_{name}", f"/elsewhere/{name}")
    monkeypatch.setenv("BIDWRIGHT_SIGNING_KEY", "secret")
    monkeypatch.setenv("BIDWRIGHT_PRODUCTION", "true")
    platform, _ = Field(tmp_path, 7).open("shared", ground="shared")
    for place in (
        platform.settings.database,
        platform.settings.lake,
        platform.settings.blobs,
        platform.settings.mlflow,
    ):
        assert str(tmp_path / "shared") in place
    assert not platform.settings.refuses_development_keys
    assert load_settings(home=tmp_path).production


def test_what_a_candidate_writes_into_its_copy_does_not_reach_the_ground(tmp_path: Path) -> None:
    field = Field(tmp_path, 7, Size(hotels=20))
    ground, clock = field.open("shared", ground="shared")
    field.home("shared").mkdir()
    ground.db.migrate()
    rows = pd.DataFrame({"n": [1, 2]})
    ground.lake.write("bookings", clock.day, rows)
    field.copy("shared", "copy")
    copy, _ = field.open("copy", ground="shared")
    copy.lake.write("bookings", clock.day, rows + 1)
    copy.lake.delete("nothing", clock.day)
    assert ground.lake.read("bookings", clock.day)["n"].tolist() == [1, 2]
    assert copy.lake.read("bookings", clock.day)["n"].tolist() == [2, 3]


def test_the_page_names_the_gate_and_says_where_the_answer_was_wrong() -> None:
    answers = [
        answer("stale_features", promoted=False, by="contract_and_freshness"),
        answer("unshaded", promoted=True),
        answer("plain_retrain", promoted=True),
    ]
    text = page.markdown(answers, seed=7, size=Size())
    assert "| stale_features | bad | stopped | contract_and_freshness FAIL | a \\| b |" in text
    assert "| unshaded | bad | promoted (WRONG) | - | - |" in text
    assert "Not tried in this run: leaky_feature, over_calibrated," in text
    assert "1 of 2 bad candidates were stopped, 1 of 1 good ones were promoted" in text


@pytest.mark.parametrize(("promoted", "right"), [(False, True), (True, False)])
def test_one_wrong_answer_makes_the_command_fail(
    promoted: bool, right: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: Callable[..., list[Answer]] = lambda *_, **__: [answer("unshaded", promoted=promoted)]  # noqa: E731
    monkeypatch.setattr(command, "run_challenge", found)
    said = command.challenge(only=["unshaded"], seed=7, home=None, workers=1, markdown=False, as_json=True)
    assert said is right
    assert f'"right": {str(right).lower()}' in capsys.readouterr().out


def test_a_folder_that_holds_something_is_not_worked_in(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        command.challenge(only=["unshaded"], seed=7, home=tmp_path, workers=1, markdown=False, as_json=True)


def test_a_step_that_refuses_a_candidate_has_stopped_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> tuple[bool, tuple[Stopped, ...]]:
        raise NoData("the rows are gone")

    monkeypatch.setattr(run, "_promotion", refuse)
    field = Field(tmp_path, 7)
    field.home("shared").mkdir()
    found = run.try_candidate(field, "budget_blind")
    assert (found.promoted, found.right) == (False, True)
    assert found.stopped == (Stopped("NoData", "STOPPED", "the rows are gone"),)
    assert not field.home("try-budget_blind").exists()


def test_the_challenge_begins_where_the_simulator_does() -> None:
    from ml.challenge.ground import FIRST_DAY
    from ml.market.simulator.source import FIRST_DAY as BEGIN

    assert FIRST_DAY == BEGIN
