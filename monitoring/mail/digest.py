"""The daily digest: every market against its plan, what is open, what was decided, and what waits for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from ml.ledger.outbox import Attachment
from monitoring.links import Link
from monitoring.mail.bounds import MAIL_BYTES, cut, mail_bytes, safe_links
from monitoring.mail.charts import CHART_NOTE, Shown, shown
from monitoring.mail.notice import SEVERITIES, amount, subject_line
from monitoring.mail.render import COLOURS, LINE_LENGTH, LINES_SHOWN, TITLE_LENGTH, Rendered, page
from monitoring.series import Series

CHARTS_SHOWN, MARKETS_SHOWN, SUBJECT_MARKETS = 6, 20, 2


@dataclass(frozen=True)
class Against:
    """What was done against what was planned: micros of money or a count. None: not known, no plan."""

    done: int | None
    plan: int | None = None


@dataclass(frozen=True)
class MarketLine:
    """A market on the day. `note` is one sentence, such as why its day is held; empty for nothing to say."""

    market: str
    currency: str
    spend: Against
    profit: Against
    bookings: Against
    champion: str = ""
    note: str = ""
    link: Link | None = None
    charts: Sequence[Series] = ()


@dataclass(frozen=True)
class Item:
    """A line of a list: an open incident, a decision, or something that waits.

    Attributes:
        label: what stands in front, such as the severity or the outcome.
        tone: `critical`, `warning`, `info` or `resolved`; gives the label's colour.
        title: what it is, in a few words.
        detail: market, day, owner, money, in the order that they are to be read.
        link: where to open it.
    """

    label: str
    tone: str
    title: str
    detail: str = ""
    link: Link | None = None


@dataclass(frozen=True)
class Digest:
    """What a daily digest says. Lists are shown as they are ordered; what waits is said first."""

    day: date
    markets: Sequence[MarketLine]
    incidents: Sequence[Item] = ()
    decisions: Sequence[Item] = ()
    waiting: Sequence[Item] = ()
    buttons: Sequence[Link] = ()


def digest_subject(digest: Digest) -> str:
    """What, where, how bad, on one line.

    >>> digest_subject(Digest(date(2026, 3, 7), [], [Item("critical", "critical", "drift")]))
    '[digest] Bidwright on 2026-03-07: 1 incident open, 1 critical'
    """
    few = 1 <= len(digest.markets) <= SUBJECT_MARKETS
    place = " in " + " and ".join(cut(line.market, 40) for line in digest.markets) if few else ""
    return subject_line("digest", f"Bidwright{place} on {digest.day.isoformat()}: {_heading(digest)}")


def render_digest(digest: Digest) -> Rendered:
    """The digest as plain text, HTML and pictures, bounded and escaped as a notice is."""
    kept = _bounded(digest)
    rendered = _rendered(kept, drawn=True)
    return rendered if mail_bytes(*rendered) <= MAIL_BYTES else _rendered(kept, drawn=False)


def _rendered(digest: Digest, *, drawn: bool) -> Rendered:
    severity = _severity(digest)
    colour = COLOURS[severity]
    charts: list[Shown] = []
    markets = []
    for line in digest.markets:
        own = [
            shown(series, position=len(charts) + position, severity="info", about=digest.day, drawn=drawn)
            for position, series in enumerate(line.charts[: CHARTS_SHOWN - len(charts)], 1)
        ]
        charts += own
        markets.append({"line": line, "numbers": _numbers(line), "charts": own})
    heading = _heading(digest)
    values = {
        "digest": digest,
        "colour": colour,
        "heading": heading[:1].upper() + heading[1:],
        "preview": "; ".join(_spent(line) for line in digest.markets),
        "above": "Daily digest",
        "below": f"market day {digest.day.isoformat()}",
        "markets": markets,
        "lists": [
            ("Waits for you", digest.waiting),
            ("Open incidents", digest.incidents),
            ("Decided", digest.decisions),
        ],
        "colours": COLOURS,
        "chart_note": CHART_NOTE if any(chart.cid for chart in charts) else "",
    }
    attachments: list[Attachment] = [(chart.cid, "image/png", chart.png) for chart in charts if chart.png is not None]
    return page("digest.txt.j2", values), page("digest.html.j2", values), attachments


def _heading(digest: Digest) -> str:
    grave = sum(item.tone == "critical" for item in digest.incidents)
    open_ones = len(digest.incidents)
    said = [
        f"{len(digest.waiting)} waiting for a person" if digest.waiting else "",
        f"{open_ones} incident{'s' if open_ones != 1 else ''} open" if open_ones else "no incident open",
        f"{grave} critical" if grave else "",
    ]
    return ", ".join(part for part in said if part)


def _severity(digest: Digest) -> str:
    tones = {item.tone for item in [*digest.incidents, *digest.waiting]}
    return next((tone for tone in SEVERITIES if tone in tones), "resolved")


def _numbers(line: MarketLine) -> list[tuple[str, str, str]]:
    """Label, what was done, and how that compares with the plan."""
    money = [("Spend", line.spend), ("Profit", line.profit)]
    said = [(label, amount(pair.done, line.currency), amount(pair.plan, line.currency), pair) for label, pair in money]
    counts = line.bookings
    said.append(("Bookings", _count(counts.done), _count(counts.plan), counts))
    return [(label, done or "not known", _against(plan, pair)) for label, done, plan, pair in said]


def _against(plan: str, pair: Against) -> str:
    if not plan:
        return "no plan"
    if pair.done is None or not pair.plan:
        return f"plan {plan}"
    return f"{(pair.done - pair.plan) / abs(pair.plan):+.0%} of plan {plan}"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _spent(line: MarketLine) -> str:
    return ", ".join(f"{label.lower()} {done}" for label, done, _ in _numbers(line)).join([f"{line.market}: ", ""])


def _bounded(digest: Digest) -> Digest:
    return replace(
        digest,
        markets=[_line(line) for line in digest.markets[:MARKETS_SHOWN]],
        incidents=_items(digest.incidents),
        decisions=_items(digest.decisions),
        waiting=_items(digest.waiting),
        buttons=safe_links(digest.buttons),
    )


def _line(line: MarketLine) -> MarketLine:
    return replace(
        line,
        market=cut(line.market, TITLE_LENGTH),
        currency=cut(line.currency, 8),
        champion=cut(line.champion, TITLE_LENGTH),
        note=cut(line.note, LINE_LENGTH),
        link=next(iter(safe_links([line.link] if line.link else [])), None),
    )


def _items(items: Sequence[Item]) -> list[Item]:
    kept = [
        replace(
            item,
            label=cut(item.label, 40),
            title=cut(item.title, TITLE_LENGTH),
            detail=cut(item.detail, TITLE_LENGTH),
            link=next(iter(safe_links([item.link] if item.link else [])), None),
        )
        for item in items[:LINES_SHOWN]
    ]
    left = len(items) - len(kept)
    return [*kept, Item("", "info", f"… and {left} more")] if left > 0 else kept
