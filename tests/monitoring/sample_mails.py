"""A mail of every kind, with the texts and numbers that the platform gives them: for tests and for pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from ml.core.digests import Digest as Sum
from ml.core.settings import Settings
from ml.core.verdict import Verdict
from ml.ledger.decisions import Decision
from ml.ledger.incidents import Incident, Severity
from monitoring.links import report_link
from monitoring.mail.digest import Against, Digest, Item, MarketLine, digest_subject, render_digest
from monitoring.mail.notice import Notice, subject_line
from monitoring.mail.render import Rendered, render
from monitoring.notices import approval_notice, decision_notice, incident_notice, resolved_notice
from monitoring.series import Series

DAY = date(2026, 3, 7)
AIRFLOW = "http://127.0.0.1:8080"
PAGE = f"{AIRFLOW}/plugin/bid-models"


def series(name: str, unit: str, level: float, moved: float, *, days: int = 56, width: float = 0.08) -> Series:
    """A series with weekdays that moves to `moved` times its level in the last three days."""
    dates = [DAY - timedelta(days=n) for n in range(days - 1, -1, -1)]
    usual = [
        level * (1 + 0.05 * math.sin(day.weekday() * 2 * math.pi / 7) + 0.02 * math.sin(3.1 * n))
        for n, day in enumerate(dates)
    ]
    values = [
        value * (moved if day > DAY - timedelta(days=3) else 1.0) for day, value in zip(dates, usual, strict=True)
    ]
    values_or_none: list[float | None] = [None if n == 20 else value for n, value in enumerate(values)]
    low, high = [value * (1 - width) for value in usual], [value * (1 + width) for value in usual]
    return Series(name, unit, dates, values_or_none, low, high, DAY)


def column(name: str, ratio: float, before: float, now: float) -> dict[str, object]:
    """A column of a drift report."""
    return {"name": name, "score": 0.3 * ratio, "limit": 0.3, "numeric": True, "before": before, "now": now, "window_days": 7}  # fmt: skip


COLUMNS = [
    column("traffic.relative_price", 3.6, 1.03, 1.10),
    column("traffic.p_click", 2.6, 0.14, 0.08),
    column("bookings.lead_days", 0.8, 36.76, 42.44),
    column("traffic.price_micros", 0.5, 94.07e6, 96.66e6),
]


SETTINGS = Settings(home=Path("no-such-folder"), mail_to="bid-team@localhost", airflow_url=AIRFLOW)


def incident(cause: str, severity: Severity, title: str, details: Mapping[str, Any], **given: Any) -> Incident:
    """An incident as the ledger keeps it."""
    at = datetime(DAY.year, DAY.month, DAY.day, 2, tzinfo=UTC)
    values: dict[str, Any] = {
        "id": 7, "market": "simulator", "cause": cause, "severity": severity, "title": title, "details": details,
        "first_day": DAY - timedelta(days=2), "last_day": DAY, "opened_at": at, "updated_at": at, "resolved_day": None,
        "resolved_at": None, "resolution": "",
    }  # fmt: skip
    return Incident(**(values | given))


def rivals(**given: Any) -> Incident:
    """Rivals cut their prices."""
    details = {
        "reasons": [
            "Rivals are 7 % cheaper than in the same weeks before; clicks fell, what our own feeds say did not.",
            "2 of 19 columns and predictions that matter were further from the weeks before than they ever went by "
            "themselves, two days in a row: traffic.relative_price, traffic.p_click.",
            "Evidently's second opinion on a sample of 20,000 rows: both columns drifted.",
        ],
        "columns": COLUMNS,
        "charts": [
            series("relative_price", "", 1.03, 1.12).as_json(),
            series("clicks", "a day", 2_140, 0.71, width=0.1).as_json(),
            series("profit", "EUR", 3_900, 0.62, width=0.12).as_json(),
        ],
        "facts": {"rows": "18,204", "reference": "same weekdays of the last four weeks"},
        "run_id": f"scheduled__{DAY}",
    }
    title = "relative_price and 1 more moved, up to 3.6 times the limit"
    given = {"owner": "bid-team", "at_stake_micros": 1_240_000_000} | given
    return incident("drift:rivals", given.pop("severity", "critical"), title, details, **given)


def drift(state: str = "opened", severity: Severity = "critical", lead: str = "") -> Notice:
    """Its mail while it is open."""
    links = [report_link(SETTINGS, DAY)]
    return incident_notice(rivals(severity=severity), SETTINGS, day=DAY, state=state, links=links, lead=lead)


def resolved() -> Notice:
    """The end of it."""
    why = "every column was within its limit two days in a row"
    return resolved_notice(rivals(resolved_day=DAY + timedelta(days=4), resolution=why), SETTINGS)


GATES = [
    ("evidence_gathered", "PASS", None, None, "nothing failed"),
    ("not_rejected", "PASS", None, None, "nobody refused this version"),
    ("contract_and_freshness", "PASS", 1.0, 7.0, "data and features reach 2026-03-06"),
    ("leakage", "PASS", 0.71, 0.85, "no column is too good to be true"),
    ("beats_baseline", "PASS", -0.03, 0.0, "lower log loss than the logistic regression on 14 days"),
    ("not_worse_than_champion", "PASS", 0.004, 0.02, "log loss within its margin on the same rows"),
    ("gains_on_champion", "PASS", -0.012, 0.0, "a gain by hotel and day at the alpha of this look"),
    ("calibration", "PASS", 1.02, 1.15, "promised over realised net value"),
    ("replay", "PASS", 0.034, -0.05, "profit of the same auctions, +3.4 %"),
    ("bid_change", "PASS", 0.18, 0.5, "the median bid moves by 18 %: a person is asked"),
    ("serving", "PASS", 0.9999, 0.999, "the bundle loaded in a process of its own answers the same"),
    ("shadow", "HOLD", None, None, "2 of 7 days in shadow"),
]


def judged(verdict: Verdict, gates: Sequence[tuple[Any, ...]]) -> Decision:
    """A decision as the ledger keeps it."""
    names = ("gate", "verdict", "number", "threshold", "reason")
    return Decision(
        market="simulator", day=DAY, candidate=Sum("3fa9c1d20b7e" + "0" * 52), champion=Sum("9d0011aa42ff" + "0" * 52),
        generation=4, verdict=verdict, gates=[dict(zip(names, one, strict=True)) for one in gates], id=17,
        policy_digest=Sum("ab" * 32), approval={"reasons": ["the median bid moves by 18 %, from 15 % on a person is asked"]},
    )  # fmt: skip


def approval() -> Notice:
    """Somebody has to answer."""
    return approval_notice(judged(Verdict.PASS, GATES[:-1]), SETTINGS, run_id=f"scheduled__{DAY}", hours=8)


def decision(outcome: str) -> Notice:
    """What became of a candidate."""
    verdict, gates, reason = {
        "promoted": (Verdict.PASS, GATES[:-1], "every gate passed, and anna approved"),
        "refused": (Verdict.FAIL, [*GATES, ("slices", "FAIL", 0.09, 0.05, "last-minute bookings lose 9 %")], "slices: last-minute bookings lose 9 %"),
        "held": (Verdict.HOLD, GATES, "shadow: 2 of 7 days in shadow"),
    }[outcome]  # fmt: skip
    title = f"candidate 3fa9c1d20b7e {outcome}"
    return decision_notice(judged(verdict, gates), SETTINGS, outcome=outcome, title=title, reason=reason)


def stopped() -> Notice:
    """A step of the pipeline failed: no chart, no money."""
    error = "MemoryError: Unable to allocate 3.1 GiB for an array with shape (1048576, 400) and data type float64"
    title = f"train_bid_model.train failed: {error}"
    details = {"reasons": [error], "run_id": "scheduled__2026-03-07", "task": "train", "try": "3 of 3"}
    return incident_notice(
        incident("task:train", "critical", title, details, id=8, first_day=DAY), SETTINGS, day=DAY, state="opened"
    )


def digest() -> Digest:
    """Two markets on one day."""

    def euros(amount: float) -> int:
        return round(amount * 1e6)

    link = ("Open the market", PAGE)
    return Digest(
        day=DAY,
        markets=[
            MarketLine(
                "simulator", "EUR", Against(euros(1_912), euros(1_850)), Against(euros(2_405), euros(3_900)), Against(88, 121),
                champion="9d0011aa42ff, 6 days old", link=link,
                charts=[series("spend", "EUR", 1_850, 1.03), series("profit", "EUR", 3_900, 0.62, width=0.12)],
            ),
            MarketLine(
                "hotel_bookings", "EUR", Against(euros(640), None), Against(None, None), Against(31, None),
                champion="none", note="Too little history to plan with: 12 of 28 days.", link=link,
            ),
        ],
        incidents=[
            Item("critical", "critical", "relative_price and 1 more moved, up to 3.6 times the limit", "simulator, since 2026-03-05, 1,240 EUR a day, bid-team", ("Open", f"{PAGE}/incidents/7")),
            Item("warning", "warning", "predicted / realised net value is 1.27", "hotel_bookings, since 2026-03-01, nobody has it", ("Open", f"{PAGE}/incidents/5")),
        ],
        decisions=[Item("refused", "warning", "candidate 77aa01bc93de: calibration 1.31, limit 1.15", "hotel_bookings", ("Open", f"{AIRFLOW}/bid-models/decisions/16"))],
        waiting=[Item("approval", "info", "candidate 3fa9c1d20b7e", "simulator, until 2026-03-08 08:00 UTC, else it is refused", ("Answer", f"{AIRFLOW}/dags/promote_bid_model/runs/r1/tasks/approve/required_actions"))],
        buttons=[("Overview", PAGE), ("Airflow", AIRFLOW)],
    )  # fmt: skip


def quiet_digest() -> Digest:
    """A day on which nothing asks for anybody."""
    full = digest()
    return replace(full, incidents=[], decisions=[], waiting=[], markets=full.markets[:1])


NOTICES: Mapping[str, Callable[[], Notice]] = {
    "opened": drift,
    "worsened": lambda: drift("worsened"),
    "reopened": lambda: drift("reopened", "warning"),
    "escalated": lambda: drift("escalated", lead="Not acknowledged for 60 minutes."),
    "resolved": resolved,
    "approval": approval,
    "promoted": lambda: decision("promoted"),
    "refused": lambda: decision("refused"),
    "held": lambda: decision("held"),
    "stopped": stopped,
}
DIGESTS: Mapping[str, Callable[[], Digest]] = {"digest": digest, "quiet-digest": quiet_digest}


def subject_and_mail(kind: str) -> tuple[str, Rendered]:
    """The subject of a kind of mail, and the mail."""
    if kind in DIGESTS:
        made = DIGESTS[kind]()
        return digest_subject(made), render_digest(made)
    notice = NOTICES[kind]()
    base = f"{notice.kind} in {notice.market} on {notice.day}: {notice.title}"
    return subject_line(notice.severity if notice.number else notice.state, base), render(notice)
