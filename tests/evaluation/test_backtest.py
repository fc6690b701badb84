"""The walk through time sees nothing from later, and its shape is what was promised."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import NoData, UsageError
from ml.core.settings import load_settings
from ml.core.units import day_start
from ml.evaluation.backtest import SCORED, Week, backtest, score_week
from ml.features.training_set import decision_rows, outcome_events
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.market import open_source

FIRST, LAST = date(2025, 2, 24), date(2025, 3, 7)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[date], Path]:
    home = tmp_path_factory.mktemp("walk")
    settings = load_settings(home=home, source="simulator", simulator_opportunities_per_day=2_000)
    seen: list[date] = []
    source = open_source(settings)
    found = backtest(source, settings, first=FIRST, last=LAST, every_days=7, progress=seen.append)
    return found, seen, home


def test_its_answer_has_the_promised_shape(walked: tuple[dict[str, Any], list[date], Path]) -> None:
    found, _, _ = walked
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    (quarter,) = found["quarters"]
    assert set(quarter) == {"quarter", "rows", "money", *SCORED}
    assert quarter["quarter"] == "2025Q1"
    for who in SCORED:
        assert set(quarter[who]) == {"auc", "log_loss", "net_value_ratio"}
    assert quarter["rows"] == sum(week["rows"] for week in found["weeks"])


def test_its_money_by_field_adds_up_to_the_whole(walked: tuple[dict[str, Any], list[date], Path]) -> None:
    quarter = walked[0]["quarters"][0]
    money = quarter["money"]
    assert money["whole"]["net_value_ratio"] == pytest.approx(quarter["model"]["net_value_ratio"], abs=1e-5)
    for fields in (money["lead_bucket"], money["segment"]):
        assert sum(row["rows"] for row in fields) == quarter["rows"]
        assert sum(row["realised"] for row in fields) == pytest.approx(money["whole"]["realised"], abs=0.1)
        assert all(row["cost"] is None or row["cost"] >= 0 for row in fields)
    costs = [row["cost"] for row in money["lead_bucket"] if row["cost"] is not None]
    assert money["cost"]["total"] == pytest.approx(sum(costs), abs=0.1)


def test_weeks_follow_each_other_and_the_last_may_be_short(
    walked: tuple[dict[str, Any], list[date], Path],
) -> None:
    found, seen, _ = walked
    assert seen == [FIRST, FIRST + timedelta(days=7)]
    assert [week["first"] for week in found["weeks"]] == [day.isoformat() for day in seen]


def test_the_models_know_more_than_a_constant(walked: tuple[dict[str, Any], list[date], Path]) -> None:
    quarter = walked[0]["quarters"][0]
    assert quarter["model"]["log_loss"] < quarter["constant"]["log_loss"]
    assert quarter["logistic"]["auc"] > 0.6 > quarter["constant"]["auc"]


@pytest.fixture(scope="module")
def known(walked: tuple[dict[str, Any], list[date], Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    settings = load_settings(home=walked[2], source="simulator")
    lake = Lake(open_blobs(settings.lake, cache=walked[2] / "cache"), settings.market_name)
    rows = decision_rows(lake, market="simulator", last=LAST)
    return rows, outcome_events(lake, market="simulator")


def test_shuffling_all_that_became_known_later_changes_no_prediction(
    known: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    rows, events = known
    week = Week(FIRST, FIRST + timedelta(days=6))
    at = day_start(FIRST)
    rng = np.random.default_rng(3)
    later = (events["known_at"] >= at).to_numpy()
    scrambled = events.copy()
    for column in ("booking_id", "kind", "amount_micros"):
        scrambled.loc[later, column] = rng.permutation(events.loc[later, column].to_numpy())
    assert later.sum() > 100
    assert not scrambled.equals(events)
    pd.testing.assert_frame_equal(score_week(rows, scrambled, week, seed=7), score_week(rows, events, week, seed=7))


def test_bookings_of_the_week_and_after_it_train_nothing(known: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows, events = known
    week = Week(FIRST, FIRST + timedelta(days=6))
    at = day_start(FIRST)
    of_the_week = rows["decision_at"] >= at
    changed = rows.copy()
    columns = ["rate_micros", "value_micros"]
    changed.loc[of_the_week, columns] = rows.loc[of_the_week, columns] * 9
    untouched = rows["decision_at"] == at  # ask about one day, change what is known of all the days after it
    changed.loc[untouched, columns] = rows.loc[untouched, columns]
    day = Week(week.first, week.first)
    assert changed.loc[of_the_week & ~untouched, "rate_micros"].gt(rows["rate_micros"].median()).any()
    pd.testing.assert_frame_equal(score_week(changed, events, day, seed=7), score_week(rows, events, day, seed=7))


def test_only_bookings_of_the_week_are_scored(known: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows, events = known
    scored = score_week(rows, events, Week(FIRST, FIRST + timedelta(days=2)), seed=7)
    booked = rows.set_index("booking_id").loc[scored["booking_id"], "decision_at"].dt.date
    assert set(booked) == {FIRST, FIRST + timedelta(days=1), FIRST + timedelta(days=2)}


def test_an_end_before_the_start_is_refused(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, source="simulator")
    with pytest.raises(UsageError, match="no days"):
        backtest(open_source(settings), settings, first=LAST, last=FIRST, every_days=7)


def test_days_before_there_is_anything_to_learn_are_refused(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, source="simulator", simulator_opportunities_per_day=200)
    first = open_source(settings).first_day()
    with pytest.raises((NoData, UsageError)):
        backtest(open_source(settings), settings, first=first, last=first + timedelta(days=2), every_days=7)
