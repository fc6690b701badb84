"""What a mail says, before it looks like anything: the same facts for HTML and for plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ml.core.units import from_micros
from monitoring.links import Link
from monitoring.series import Series

SUBJECT_LENGTH = 160
"""Characters of a subject line; what reads it on a phone shows far fewer."""

SEVERITIES = ("critical", "warning", "info", "resolved")
"""The worst first."""

REASONS_SHOWN, BARS_SHOWN, BARS_AT_LEAST = 6, 6, 4
SCALE = 3.0
"""A bar ends at so many times its limit."""


@dataclass(frozen=True)
class Bar:
    """One number against its limit, drawn on a scale of three limits.

    `within` and `beyond` are the lengths up to the limit and past it, in percent of the whole scale. `change`
    says in words what moved.
    """

    name: str
    number: str
    limit: str
    times: str
    change: str
    within: int
    beyond: int

    @property
    def exceeds(self) -> bool:
        """Whether the number is past its limit."""
        return self.beyond > 0


@dataclass(frozen=True)
class Gate:
    """One gate of a decision, as a line of a table."""

    name: str
    verdict: str
    number: str
    limit: str
    reason: str


@dataclass(frozen=True)
class Notice:
    """Everything that a mail says.

    Attributes:
        state: what became of it: `opened`, `worsened`, `reopened`, `escalated`, `resolved`, `approval wanted`, or the
            outcome of a decision.
        severity: `critical`, `warning`, `info` or `resolved`; gives the colour.
        kind: what sort of thing it is, such as `Drift`.
        title: how bad, in a few words.
        market, day: where and when.
        since: first day of an incident; None for anything else.
        summary: one sentence that a list of mails shows under the subject.
        reasons: what happened, most important first.
        did: what the platform did by itself.
        todo: what the reader should do; empty when nothing.
        buttons: what to open, the most useful first; on the first screen.
        runbook: the page that says what to do step by step, or None.
        at_stake: what it costs, in words, such as `1,240 EUR a day`; empty where that is not known.
        owner: who has it; empty for nobody.
        charts: what moved, by day, the most telling first; drawn in the mail.
        bars, gates, facts: what was measured.
        links: further addresses, at the foot.
        number: the incident's number; None for anything else.
    """

    state: str
    severity: str
    kind: str
    title: str
    market: str
    day: date
    since: date | None
    summary: str
    reasons: Sequence[str]
    did: str
    todo: str
    buttons: Sequence[Link] = ()
    runbook: Link | None = None
    at_stake: str = ""
    owner: str = ""
    charts: Sequence[Series] = ()
    bars: Sequence[Bar] = ()
    gates: Sequence[Gate] = ()
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)
    links: Sequence[Link] = ()
    number: int | None = None

    @property
    def foot(self) -> str:
        """Why the reader got this mail, and which others come."""
        if self.number is not None:
            return (
                f"Incident {self.number}. One mail when it opens, gets worse, returns or ends, and when nobody answers; all "
                "of them are one conversation."
            )
        return "Sent once for this decision." if self.gates else "Sent once."


def subject_line(tag: str, base: str) -> str:
    """`[tag] base` on one line.

    What changes stands in brackets: mail readers leave that out when they group mails (RFC 5256, base subject).

    >>> subject_line("resolved", "hotels 2016-10-05: rate\\n moved")
    '[resolved] hotels 2016-10-05: rate moved'
    """
    line = " ".join(f"[{tag}] {base}".split())
    return line if len(line) <= SUBJECT_LENGTH else line[: SUBJECT_LENGTH - 1].rstrip() + "…"


def bar(column: Any) -> Bar | None:
    """The bar of a column as a drift report keeps it; None where it has no score or no limit, or was kept in another form.

    >>> bar({"name": "b.rate", "score": 0.3, "limit": 0.2, "before": 100.0, "now": 130.0, "numeric": True}).times
    '1.5 times the limit'
    """
    if not isinstance(column, Mapping):
        return None
    score, limit = column.get("score"), column.get("limit")
    if score is None or not limit:
        return None
    ratio = score / limit
    return Bar(
        name=str(column["name"]),
        number=f"{score:.2f}",
        limit=f"{limit:.2f}",
        times=f"{ratio:.1f} times the limit",
        change=_change(column),
        within=round(100 * min(ratio, 1.0) / SCALE),
        beyond=0 if ratio <= 1 else max(1, round(100 * (min(ratio, SCALE) - 1.0) / SCALE)),
    )


def gate(result: Mapping[str, Any]) -> Gate:
    """A line of the gate table from a decision's JSON."""
    return Gate(
        name=str(result.get("gate", "")).replace("_", " "),
        verdict=str(result.get("verdict", "HOLD")),
        number=number_text(result.get("number")),
        limit=number_text(result.get("threshold")),
        reason=str(result.get("reason", "")),
    )


def _change(column: Mapping[str, Any]) -> str:
    before, now = column.get("before"), column.get("now")
    days = column.get("window_days")
    span = "" if not days else " today" if days == 1 else f", last {days} days"
    if before is None or now is None:
        return span.removeprefix(", ").strip()
    if column.get("numeric"):
        if "micros" in str(column["name"]):
            before, now = from_micros(before), from_micros(now)
        return f"mean {number_text(before)} → {number_text(now)}{span}"
    return f"{column.get('category', '')}: {before:.0%} → {now:.0%}{span}"


def number_text(value: Any) -> str:
    """A number for people; empty for a missing one.

    >>> number_text(1234.5), number_text(0.5), number_text(0.9991), number_text(None)
    ('1,234', '0.50', '0.9991', '')
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return ""
    if 0.995 <= abs(value) < 1:  # a share of nearly all
        return f"{value:.4f}"
    if value == 0 or 0.01 <= abs(value) < 100:
        return f"{value:.2f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"


def amount(micros: int | None, currency: str) -> str:
    """Money for people; empty for a missing amount.

    >>> amount(1_240_400_000, "EUR"), amount(2_345_000, "EUR"), amount(None, "EUR")
    ('1,240 EUR', '2.35 EUR', '')
    """
    if micros is None:
        return ""
    value = from_micros(micros)
    return f"{value:,.0f} {currency}" if abs(value) >= 100 else f"{value:,.2f} {currency}"
