"""The last result of each lifecycle step of each market day: what status, the page and the demo table show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast, get_args

from sqlalchemy import and_, or_, select

from ml.core.errors import UsageError
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import upsert
from ml.ledger.tables import StageRow

STAGES = ("ingest", "settle", "materialize", "drift", "train", "promote", "publish")
"""The steps of a market day, in the order in which they happen."""

Status = Literal["done", "stopped", "held"]
"""done: the step did its work. stopped: an error ended it. held: evidence is missing or refused, so it waits."""


@dataclass(frozen=True)
class StageKey:
    """One lifecycle step of one market day."""

    market: str
    stage: str
    day: date


@dataclass(frozen=True)
class StageRecord:
    """The last result of a step: small JSON, which Airflow run wrote it (empty for the command line), and when."""

    key: StageKey
    status: Status
    result: Mapping[str, Any]
    run_id: str
    recorded_at: datetime


def record(
    store: Store, key: StageKey, *, status: Status, result: Mapping[str, Any], at: datetime, run_id: str = ""
) -> None:
    """Write the result of a step over its last one. UsageError for a stage or status that does not exist."""
    if key.stage not in STAGES:
        raise UsageError(f"{key.stage!r} is no stage of a market day", next="use one of " + ", ".join(STAGES))
    if status not in get_args(Status):
        raise UsageError(f"{status!r} is no status of a stage", next="use one of " + ", ".join(get_args(Status)))
    with writing(store) as session:
        upsert(
            session,
            StageRow,
            {"market": key.market, "stage": key.stage, "day": key.day},
            {"status": status, "result": dict(result), "run_id": run_id, "recorded_at": at},
        )


def get(store: Store, key: StageKey) -> StageRecord | None:
    """The last result of a step; None when it never ran."""
    with reading(store) as session:
        row = session.get(StageRow, (key.market, key.stage, key.day), populate_existing=True)
        return None if row is None else _record(row)


def for_day(store: Store, market: str, day: date) -> dict[str, StageRecord]:
    """The steps of a market day that have a result, in the order in which they happen."""
    query = select(StageRow).where(StageRow.market == market, StageRow.day == day)
    with reading(store) as session:
        found = {row.stage: _record(row) for row in session.scalars(query)}
    return {stage: found[stage] for stage in STAGES if stage in found}


def between(store: Store, market: str, first: date, last: date) -> dict[date, dict[str, StageRecord]]:
    """The steps with a result of each market day from `first` to `last`, both included, ascending."""
    query = select(StageRow).where(StageRow.market == market, StageRow.day >= first, StageRow.day <= last)
    found: dict[date, dict[str, StageRecord]] = {}
    with reading(store) as session:
        for row in session.scalars(query.order_by(StageRow.day)):
            found.setdefault(row.day, {})[row.stage] = _record(row)
    return {day: {stage: done[stage] for stage in STAGES if stage in done} for day, done in found.items()}


def days(store: Store, market: str) -> list[date]:
    """Every market day with a result of some step, ascending."""
    query = select(StageRow.day).where(StageRow.market == market).distinct().order_by(StageRow.day)
    with reading(store) as session:
        return list(session.scalars(query))


def stopped_days(store: Store, market: str, stage: str) -> list[date]:
    """The market days of which a step stands stopped, ascending."""
    query = (
        select(StageRow.day)
        .where(StageRow.market == market, StageRow.stage == stage, StageRow.status == "stopped")
        .order_by(StageRow.day)
    )
    with reading(store) as session:
        return list(session.scalars(query))


def held_days(store: Store, market: str, *, last: date) -> list[date]:
    """The market days up to `last` that nothing may be trained on, ascending.

    A day is held while its ingest stands stopped or its drift check stands held; it is free again when it
    was delivered anew (ingest done) and checked anew (drift done).
    """
    query = (
        select(StageRow.day)
        .where(StageRow.market == market, StageRow.day <= last)
        .where(
            or_(
                and_(StageRow.stage == "ingest", StageRow.status == "stopped"),
                and_(StageRow.stage == "drift", StageRow.status == "held"),
            )
        )
        .distinct()
        .order_by(StageRow.day)
    )
    with reading(store) as session:
        return list(session.scalars(query))


def _record(row: StageRow) -> StageRecord:
    return StageRecord(
        StageKey(row.market, row.stage, row.day), cast(Status, row.status), row.result, row.run_id, row.recorded_at
    )
