"""The daily check: judge a market day, keep its report, tell people what they should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from ml.core.settings import Settings
from ml.ledger import reports
from ml.ledger.database import Database, Store
from ml.ledger.reports import DriftReport
from monitoring.alerts import raise_alert, resolve_alerts
from monitoring.judgement import DriftVerdict, Explanation, Limits, judge_day
from monitoring.links import report_link
from monitoring.observed import Observed
from monitoring.parity import Served
from monitoring.signals import Signal, signals
from monitoring.subject import Subject

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore

MEMORY_DAYS = 4
"""A shift is confirmed by reports of so many days that judged drift; older ones have nothing to say."""

_REPORTS_SEEN = 60


def check_day(
    blobs: BlobStore,
    db: Database,
    settings: Settings,
    *,
    market: str,
    day: date,
    subjects: Sequence[Subject],
    matured: pd.DataFrame | None = None,
    served: Served | None = None,
    observed: Observed | None = None,
    limits: Limits | None = None,
    run_id: str = "",
    report: bool = True,
    at: datetime,
) -> dict[str, Any]:
    """Judge a market day, keep its HTML and its numbers, and open, update or end incidents.

    The report goes to the blob store first; then the verdict, the incidents and their mails are written in one
    transaction. The same day again overwrites its report and mails nothing twice. A day older than the newest
    one checked is judged and recorded, and moves no incident: what is known since counts.

    Args:
        blobs: where the HTML goes, under `reports/<market>/<day>.html`; further subjects have a name of their own.
        db: the ledger.
        settings: seed, who gets mail, where Airflow is.
        market: name of the market.
        day: the market day.
        subjects: the rows to watch, the most important first.
        matured: see `monitoring.calibration.calibration`.
        served: see `monitoring.parity.parity`.
        observed: what the watchers of daily series found, with its likely cause and what it costs; None where nothing
            is watched.
        limits: what numbers are held against.
        run_id: the Airflow run, for the link in a mail.
        report: whether Evidently's report is made.
        at: the present instant.

    Returns:
        `verdict`, `held` (nothing may be learned from the day: it is not whole, or its conversions are lost), `blind_since`
        (the first day of which that is so; empty where none is), `causes` (likely ones of what moved), `parts`, `reasons`, `confirmed` and `exceeding`
        (names of columns), `notes` (on the references), `report` (key of the HTML, or empty), `opened` and `resolved` (causes), `calibration`.
    """
    earlier = _reports_before(db, market, day)
    exceeded_before = _exceeded_before(earlier, day, limits or Limits())
    verdict = judge_day(
        subjects,
        day=day,
        exceeded_before=exceeded_before,
        matured=matured,
        served=served,
        watched=observed.told if observed else (),
        explain=partial(_explanation, observed) if observed else None,
        limits=limits,
        seed=settings.seed,
        report=report,
    )
    keys = _keep(blobs, market, day, verdict)
    said_before = _said_before(earlier, day)
    before = frozenset(exceeded_before)
    found = signals(verdict, exceeded_before=before, observed=observed, said_before=said_before)
    cost = observed.impact.as_json() if observed and observed.impact else None
    blind = observed.blind_since if observed else None
    with db.session() as session:
        newest = reports.latest(session, market, 1)
        _record(session, market, day, verdict, keys, at, impact=cost)
        told: Mapping[str, list[str]] = {"opened": [], "resolved": []}
        if not newest or newest[0].day <= day:
            told = _tell(session, settings, found, market=market, day=day, keys=keys, run_id=run_id, at=at)
    numbers = verdict.numbers()
    return {
        "verdict": verdict.verdict.value,
        "held": verdict.held or blind is not None,
        "blind_since": blind.isoformat() if blind else "",
        "causes": [one["cause"] for one in numbers["diagnosis"]],
        "parts": numbers["parts"],
        "reasons": verdict.reasons,
        "confirmed": numbers["confirmed"],
        "exceeding": numbers["exceeding"],
        "notes": numbers["notes"],
        "calibration": numbers["calibration"],
        "report": next(iter(keys.values()), ""),
        **told,
    }


def _reports_before(db: Database, market: str, day: date) -> list[DriftReport]:
    return [report for report in reports.latest(db, market, _REPORTS_SEEN) if report.day < day]


def _exceeded_before(earlier: Sequence[DriftReport], day: date, limits: Limits) -> list[str]:
    """What exceeded its limit on the last recent days that judged drift: a name for each of them on which it did."""
    judged = [report for report in earlier if "drift" in report.numbers.get("parts", {})]
    recent = [report for report in judged if (day - report.day).days <= MEMORY_DAYS]
    last = recent[: limits.windows.confirm_of - 1]
    return [name for report in last for name in report.numbers.get("exceeding", [])]


def _said_before(earlier: Sequence[DriftReport], day: date) -> list[str]:
    """The likely causes that the last report named, if that is recent."""
    recent = [report for report in earlier[:1] if (day - report.day).days <= MEMORY_DAYS]
    return [str(one.get("cause", "")) for report in recent for one in report.numbers.get("diagnosis") or ()]


def _explanation(observed: Observed, verdict: DriftVerdict) -> Explanation:  # noqa: ARG001  (the signature of `Explain`)
    """What the watchers say of the day, whatever columns moved."""
    return Explanation([one.as_json() for one in observed.diagnoses])


def _keep(blobs: BlobStore, market: str, day: date, verdict: DriftVerdict) -> dict[str, str]:
    keys = {}
    for position, (subject, html) in enumerate(verdict.reports.items()):
        name = day.isoformat() if position == 0 else f"{day.isoformat()}-{subject}"
        keys[subject] = f"reports/{market}/{name}.html"
        blobs.put(keys[subject], html)
    return keys


def _record(
    store: Store,
    market: str,
    day: date,
    verdict: DriftVerdict,
    keys: Mapping[str, str],
    at: datetime,
    *,
    impact: Mapping[str, Any] | None,
) -> None:
    report = DriftReport(
        market=market,
        day=day,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        report_key=next(iter(keys.values()), ""),
        numbers={**verdict.numbers(), "impact": impact, "reports": dict(keys)},
    )
    reports.record(store, report, at)


def _tell(
    store: Store,
    settings: Settings,
    found: Sequence[Signal],
    *,
    market: str,
    day: date,
    keys: Mapping[str, str],
    run_id: str,
    at: datetime,
) -> dict[str, list[str]]:
    opened, ended = [], []
    for signal in found:
        if signal.severity is None:
            gone = resolve_alerts(
                store, settings, market=market, causes=[signal.cause], day=day, reason=signal.title, at=at
            )
            ended += [incident.cause for incident in gone]
            continue
        alert = raise_alert(
            store,
            settings,
            market=market,
            cause=signal.cause,
            day=day,
            severity=signal.severity,
            title=signal.title,
            reasons=signal.reasons,
            details={
                "columns": list(signal.columns),
                "charts": [chart.as_json() for chart in signal.charts],
                "run_id": run_id,
                **({"noticed_at": signal.noticed_at} if signal.noticed_at else {}),
            },
            at_stake_micros=signal.at_stake_micros,
            links=[report_link(settings, day)] if keys else [],
            at=at,
        )
        opened += [signal.cause] if alert.opened else []
    return {"opened": opened, "resolved": ended}
