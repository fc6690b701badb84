"""A notice as HTML, as plain text that says the same, and as the pictures that the HTML shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.ledger.outbox import Attachment
from monitoring.mail.bounds import MAIL_BYTES, cut, mail_bytes, safe_links
from monitoring.mail.charts import CHART_NOTE, shown
from monitoring.mail.notice import Bar, Gate, Notice

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

COLOURS = {"critical": "#b42318", "warning": "#b54708", "info": "#175cd3", "resolved": "#067647"}
"""Of the band at the top; white text on each has a contrast of 5 to 1 or more."""

FIRST_CHARTS, CHARTS_SHOWN, LINES_SHOWN = 2, 4, 40
FIRST_REASONS_LENGTH = 200
"""Characters of reasons on the first screen, beyond the first reason."""

TITLE_LENGTH, LINE_LENGTH, TEXT_LENGTH = 300, 600, 1_500

Rendered = tuple[str, str, list[Attachment]]
"""Plain text, HTML, and attachments as the outbox takes them."""


def render(notice: Notice) -> Rendered:
    """A notice as a mail of at most `MAIL_BYTES`: long texts are cut, and pictures are left out before that is exceeded.

    Whatever a name or an error contains is escaped in the HTML.
    """
    kept = _bounded(notice)
    rendered = _rendered(kept, drawn=True)
    return rendered if mail_bytes(*rendered) <= MAIL_BYTES else _rendered(kept, drawn=False)


def page(template: str, values: dict[str, Any]) -> str:
    """One of the templates, filled in."""
    return _environment().get_template(template).render(values)


def _rendered(notice: Notice, *, drawn: bool) -> Rendered:
    colour = COLOURS.get(notice.severity, COLOURS["info"])
    charts = [
        shown(series, position=position, severity=notice.severity, about=notice.day, drawn=drawn)
        for position, series in enumerate(notice.charts, 1)
    ]
    lengths = list(accumulate(len(reason) for reason in notice.reasons))
    first = max(1, sum(length <= FIRST_REASONS_LENGTH for length in lengths))
    place = f"{notice.market}, market day {notice.day.isoformat()}"
    since = f", since {notice.since.isoformat()}" if notice.since and notice.since != notice.day else ""
    values = {
        "notice": notice,
        "colour": colour,
        "heading": notice.title,
        "preview": notice.summary,
        "above": " · ".join(_each_once([notice.kind, notice.state, notice.severity])),
        "below": place + since,
        "first_reasons": notice.reasons[:first],
        "more_reasons": notice.reasons[first:],
        "charts": charts,
        "first_charts": charts[:FIRST_CHARTS],
        "more_charts": charts[FIRST_CHARTS:],
        "cost": "It cost" if notice.severity == "resolved" else "At stake",
        "chart_note": CHART_NOTE if any(chart.cid for chart in charts) else "",
        "buttons": [*notice.buttons, *([notice.runbook] if notice.runbook else [])],
    }
    attachments = [(chart.cid, "image/png", chart.png) for chart in charts if chart.png is not None]
    return page("notice.txt.j2", values), page("notice.html.j2", values), attachments


def _reasons(notice: Notice) -> list[str]:
    """What happened, and the summary before it where nothing else says that: a list of mails shows it, the mail has to."""
    said = [notice.title, *notice.reasons]
    told = any(notice.summary.casefold() in one.casefold() for one in said)
    return [*notice.reasons] if told else [notice.summary, *notice.reasons]


def _each_once(words: Sequence[str]) -> list[str]:
    """Those that say something new, whatever their case; as they are written first."""
    said: dict[str, str] = {}
    for word in words:
        said.setdefault(word.casefold(), word)
    return list(said.values())


def _bounded(notice: Notice) -> Notice:
    """The same notice without anything that is endlessly long."""
    return replace(
        notice,
        state=cut(notice.state, LINE_LENGTH),
        kind=cut(notice.kind, LINE_LENGTH),
        title=cut(notice.title, TITLE_LENGTH),
        market=cut(notice.market, LINE_LENGTH),
        summary=cut(notice.summary, LINE_LENGTH),
        reasons=[cut(reason, LINE_LENGTH) for reason in _reasons(notice)[:LINES_SHOWN]],
        did=cut(notice.did, TEXT_LENGTH),
        todo=cut(notice.todo, TEXT_LENGTH),
        buttons=safe_links(notice.buttons),
        runbook=next(iter(safe_links([notice.runbook] if notice.runbook else [])), None),
        at_stake=cut(notice.at_stake, TITLE_LENGTH),
        owner=cut(notice.owner, TITLE_LENGTH),
        charts=notice.charts[:CHARTS_SHOWN],
        bars=[_bar(bar) for bar in notice.bars[:LINES_SHOWN]],
        gates=[_gate(gate) for gate in sorted(notice.gates, key=_first_what_stops)[:LINES_SHOWN]],
        facts=[(cut(label, TITLE_LENGTH), cut(value, LINE_LENGTH)) for label, value in notice.facts[:LINES_SHOWN]],
        links=safe_links(notice.links),
    )


def _first_what_stops(gate: Gate) -> int:
    return {"FAIL": 0, "PASS": 2}.get(gate.verdict, 1)


def _bar(bar: Bar) -> Bar:
    return Bar(
        name=cut(bar.name, TITLE_LENGTH),
        number=cut(bar.number, TITLE_LENGTH),
        limit=cut(bar.limit, TITLE_LENGTH),
        times=cut(bar.times, TITLE_LENGTH),
        change=cut(bar.change, TITLE_LENGTH),
        within=bar.within,
        beyond=bar.beyond,
    )


def _gate(gate: Gate) -> Gate:
    said = {name: cut(getattr(gate, name), TITLE_LENGTH) for name in ("name", "verdict", "number", "limit")}
    return replace(gate, **said, reason=cut(gate.reason, LINE_LENGTH))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), disabled_extensions=("txt.j2",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
