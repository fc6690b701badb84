"""The drift verdict of each market day, its numbers, and where its HTML report lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select

from ml.core.verdict import Verdict
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import upsert
from ml.ledger.tables import DriftReportRow


@dataclass(frozen=True)
class DriftReport:
    """What the drift check of a day concluded; `report_key` names a blob, or is empty when there is no report.

    `recorded_at` is filled in by the ledger.
    """

    market: str
    day: date
    verdict: Verdict
    reasons: Sequence[str]
    report_key: str
    numbers: Mapping[str, Any]
    recorded_at: datetime | None = None


def record(store: Store, report: DriftReport, at: datetime) -> None:
    """Write the report of a day over its former one."""
    with writing(store) as session:
        upsert(
            session,
            DriftReportRow,
            {"market": report.market, "day": report.day},
            {
                "verdict": report.verdict.value,
                "reasons": list(report.reasons),
                "report_key": report.report_key,
                "numbers": dict(report.numbers),
                "recorded_at": at,
            },
        )


def get(store: Store, market: str, day: date) -> DriftReport | None:
    """The report of a market day; None when it was not checked."""
    with reading(store) as session:
        row = session.get(DriftReportRow, (market, day), populate_existing=True)
        return None if row is None else _report(row)


def latest(store: Store, market: str, n: int) -> list[DriftReport]:
    """The reports of the last `n` checked market days, newest day first."""
    query = select(DriftReportRow).where(DriftReportRow.market == market).order_by(DriftReportRow.day.desc()).limit(n)
    with reading(store) as session:
        return [_report(row) for row in session.scalars(query)]


def _report(row: DriftReportRow) -> DriftReport:
    return DriftReport(
        market=row.market,
        day=row.day,
        verdict=Verdict(row.verdict),
        reasons=row.reasons,
        report_key=row.report_key,
        numbers=row.numbers,
        recorded_at=row.recorded_at,
    )
