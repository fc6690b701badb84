"""Incidents on the command line: list, show, and what people do with them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from ml.cli import output
from ml.cli.killswitch import By, user
from ml.cli.options import Json, open_platform
from ml.core.errors import UsageError

app = typer.Typer(
    help="What a person should know: list incidents, read one, take it, quiet it, hand it over, end it.",
    epilog="Example: bidwright incidents list",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Number = Annotated[int, typer.Argument(help="of the incident, as in its mail", metavar="N")]

_SPAN = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command("list", epilog="Example: bidwright incidents list --state all --severity critical --json")
def list_(
    state: Annotated[str, typer.Option(help="open, acknowledged, snoozed, resolved or all")] = "open",
    severity: Annotated[str, typer.Option(help="critical, warning or info; else each")] = "",
    limit: Annotated[int, typer.Option(help="the newest so many")] = 50,
    json: Json = False,
) -> None:
    """Show the incidents of the market, newest first."""
    from ml import incidents

    found = incidents.listed(open_platform(), state=state, severity=severity, limit=limit)
    if json:
        output.show_json(found)
        return
    rows = [
        (one["number"], one["severity"], one["state"], one["cause"], one["last_day"], one["owner"], one["title"])
        for one in found["incidents"]
    ]
    if rows:
        output.show_table(
            f"incidents of {found['market']}",
            ["number", "severity", "state", "cause", "last day", "owner", "title"],
            rows,
        )
    else:
        output.show_line(f"no such incident in {found['market']}")


@app.command(epilog="Example: bidwright incidents show 12 --json")
def show(number: Number, json: Json = False) -> None:
    """Show one incident with its story, what it costs, and what became of its last messages."""
    from ml import incidents

    found = incidents.shown(open_platform(), number)
    if json:
        output.show_json(found)
        return
    story, messages = found.pop("notes"), found.pop("messages")
    output.show_mapping(f"incident {number}", found)
    output.show_line("story")
    for note in story:
        text = note["text"].replace("\n", "\n      ")
        output.show_line(f"  {note['at'][:16]}  {note['by']}: {note['kind']}{f': {text}' if text else ''}")
    for message in messages:
        output.show_line(f"last {message['channel']} to {message['to']}: {message['says']}")


@app.command(epilog='Example: bidwright incidents ack 12 --note "looking at the feed"')
def ack(
    number: Number,
    note: Annotated[str, typer.Option(help="what you are going to do", metavar="TEXT")] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Take an incident, so that nobody else is called."""
    from ml.ledger import incidents

    platform = open_platform()
    incident = incidents.acknowledge(
        platform.db, platform.market, number, by=by or user(), at=platform.clock.now(), note=note
    )
    done = {"number": number, "acknowledged_by": incident.acknowledged_by, "acknowledged_at": incident.acknowledged_at}
    _show("acknowledged", done, json=json)


@app.command(epilog='Example: bidwright incidents snooze 12 --until 8h --why "known outage of the partner"')
def snooze(
    number: Number,
    until: Annotated[str, typer.Option("--until", help="its end: 30m, 8h, 2d, or an instant in UTC", metavar="END")],
    why: Annotated[str, typer.Option("--why", help="for the record", metavar="TEXT")] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Keep an incident quiet until an end, 30 days ahead at most; it mails before only if it becomes critical."""
    from ml.ledger import incidents

    platform = open_platform()
    at = platform.clock.now()
    incident = incidents.snooze(
        platform.db, platform.market, number, until=end_of(until, at), by=by or user(), at=at, why=why
    )
    _show("snoozed", {"number": number, "snoozed_until": incident.snoozed_until}, json=json)


@app.command(epilog='Example: bidwright incidents comment 12 "the feed was late, it is mended"')
def comment(
    number: Number,
    text: Annotated[str, typer.Argument(help="at most 10,000 characters; - reads it from standard input")],
    by: By = "",
    json: Json = False,
) -> None:
    """Say something of an incident, for whoever reads it next."""
    import sys

    from ml.ledger import incidents
    from ml.ledger.incident_work import LONGEST_TEXT

    # One character more than fits is enough to be refused; what is piped in may have no end.
    words = sys.stdin.read(LONGEST_TEXT * 8) if text == "-" else text
    platform = open_platform()
    note = incidents.comment(platform.db, platform.market, number, by=by or user(), at=platform.clock.now(), text=words)
    _show("commented", {"number": number, "by": note.by, "text": note.text}, json=json)


@app.command(epilog="Example: bidwright incidents assign 12 anna")
def assign(
    number: Number,
    owner: Annotated[str, typer.Argument(help="a person or a role")],
    by: By = "",
    json: Json = False,
) -> None:
    """Hand an incident over."""
    from ml.ledger import incidents

    platform = open_platform()
    incident = incidents.assign(
        platform.db, platform.market, number, owner=owner, by=by or user(), at=platform.clock.now()
    )
    _show("assigned", {"number": number, "owner": incident.owner}, json=json)


@app.command(epilog='Example: bidwright incidents resolve 12 --why "the partner mended its feed"')
def resolve(
    number: Number,
    why: Annotated[str, typer.Option("--why", help="for the mail and the record", metavar="TEXT")],
    by: By = "",
    json: Json = False,
) -> None:
    """End an incident by hand and mail it; if its cause is still there, the next check opens it again."""
    from ml import incidents

    result = incidents.end_by_hand(open_platform(), number, by=by or user(), why=why)
    _show("resolved", result, json=json)


@app.command(epilog="Example: bidwright incidents tend --json")
def tend(json: Json = False) -> None:
    """Escalate what nobody took, end snoozes, write the digest, send what waits; for cron where there is no Airflow."""
    from ml import incidents

    _show("incidents tended", incidents.tend(open_platform()), json=json)


def end_of(text: str, at: datetime) -> datetime:
    """The instant that `30m`, `8h`, `2d` from now or an ISO instant means; one without a zone is UTC.

    >>> end_of("2d", datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    '2026-01-03T00:00:00+00:00'
    """
    span = _SPAN.fullmatch(text.strip())
    if span:
        return at + timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no end of a snooze",
            left="nothing was changed",
            next="write 30m, 8h, 2d, or an instant such as 2026-03-04T07:00",
        ) from error
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


def _show(title: str, result: dict[str, Any], *, json: bool) -> None:
    output.show_json(result) if json else output.show_mapping(title, result)
