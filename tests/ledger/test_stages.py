from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml.core.errors import UsageError
from ml.ledger import stages
from ml.ledger.database import Database
from ml.ledger.stages import StageKey

AT = datetime(2026, 1, 6, 3, tzinfo=UTC)
DAY = date(2026, 1, 5)


def write(db: Database, stage: str, status: Any, *, day: date = DAY, market: str = "m") -> None:
    stages.record(db, StageKey(market, stage, day), status=status, result={"why": status}, at=AT, run_id="run")


def test_a_step_run_again_leaves_one_record_the_last(db: Database) -> None:
    key = StageKey("m", "ingest", DAY)
    stages.record(db, key, status="stopped", result={"error": "late"}, at=AT, run_id="first")
    stages.record(
        db, key, status="done", result={"b": 1, "a": [1.5, None]}, at=AT + timedelta(hours=1), run_id="second"
    )
    record = stages.get(db, key)
    assert record == stages.StageRecord(key, "done", {"a": [1.5, None], "b": 1}, "second", AT + timedelta(hours=1))
    assert stages.for_day(db, "m", DAY) == {"ingest": record}


def test_a_step_that_never_ran_has_no_record(db: Database) -> None:
    assert stages.get(db, StageKey("m", "train", DAY)) is None
    assert stages.for_day(db, "m", DAY) == {}
    assert stages.days(db, "m") == []


def test_the_steps_of_a_day_come_in_the_order_in_which_they_happen(db: Database) -> None:
    for stage in ("publish", "train", "ingest"):
        write(db, stage, "done")
    write(db, "drift", "done", day=DAY + timedelta(days=1))
    write(db, "settle", "done", market="other")
    assert list(stages.for_day(db, "m", DAY)) == ["ingest", "train", "publish"]
    assert stages.days(db, "m") == [DAY, DAY + timedelta(days=1)]


@pytest.mark.parametrize(("stage", "status"), [("lunch", "done"), ("ingest", "fine")])
def test_an_unknown_stage_or_status_is_a_usage_error_and_writes_nothing(db: Database, stage: str, status: str) -> None:
    with pytest.raises(UsageError, match="use one of"):
        write(db, stage, status)
    assert stages.days(db, "m") == []


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_result_with_a_number_that_json_lacks_is_refused(db: Database, number: float) -> None:
    with pytest.raises(UsageError, match="not JSON"):
        stages.record(db, StageKey("m", "train", DAY), status="done", result={"auc": number}, at=AT)
    assert stages.get(db, StageKey("m", "train", DAY)) is None


def test_an_instant_without_a_time_zone_is_refused(db: Database) -> None:
    with pytest.raises(UsageError, match="no time zone"):
        stages.record(db, StageKey("m", "train", DAY), status="done", result={}, at=AT.replace(tzinfo=None))


def test_a_stopped_ingest_holds_the_day_until_it_is_delivered_anew(db: Database) -> None:
    write(db, "ingest", "stopped")
    assert stages.held_days(db, "m", last=DAY) == [DAY]
    write(db, "ingest", "done")
    assert stages.held_days(db, "m", last=DAY) == []


def test_a_held_drift_check_holds_the_day_until_it_is_checked_anew(db: Database) -> None:
    write(db, "ingest", "done")
    write(db, "drift", "held")
    assert stages.held_days(db, "m", last=DAY) == [DAY]
    write(db, "ingest", "done")  # restated, but not checked yet
    assert stages.held_days(db, "m", last=DAY) == [DAY]
    write(db, "drift", "done")
    assert stages.held_days(db, "m", last=DAY) == []


def test_only_ingest_and_drift_hold_a_day_each_day_once_and_only_up_to_the_last(db: Database) -> None:
    write(db, "ingest", "stopped")
    write(db, "drift", "held")
    write(db, "drift", "held", day=DAY - timedelta(days=3))
    write(db, "drift", "stopped", day=DAY - timedelta(days=2))
    write(db, "promote", "held", day=DAY - timedelta(days=1))
    write(db, "ingest", "stopped", day=DAY + timedelta(days=1))
    write(db, "ingest", "stopped", market="other", day=DAY - timedelta(days=4))
    assert stages.held_days(db, "m", last=DAY) == [DAY - timedelta(days=3), DAY]
