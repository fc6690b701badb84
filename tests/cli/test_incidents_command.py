"""Incidents as a person handles them on the command line: what it says, what it keeps, and its exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.cli import app as command
from ml.cli.incidents import end_of
from ml.core.errors import UsageError
from ml.core.settings import load_settings
from ml.ledger import incidents, outbox
from ml.ledger.database import Database
from monitoring.alerts import raise_alert

AT = datetime.now(UTC) - timedelta(hours=2)


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        (line,) = self.err.strip().splitlines()
        assert line.startswith("bidwright: ")
        return line


Run = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_SMTP_PORT", "9")
    monkeypatch.setenv("LOGNAME", "tester")

    def go(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["bidwright", "incidents", *arguments])
        try:
            command.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return go


@pytest.fixture
def db(run: Run) -> Iterator[Database]:
    with closing(Database.open(load_settings().database)) as database:
        database.migrate()
        yield database


@pytest.fixture
def number(db: Database) -> int:
    settings = load_settings()
    return raise_alert(
        db, settings, market=settings.market_name, cause="drift", day=date(2026, 3, 4), severity="critical",
        title="rate <moved>", reasons=["rate moved"], at=AT, at_stake_micros=5_000_000,
    ).incident.id  # fmt: skip


def test_what_is_open_is_listed_and_shown_with_its_story_and_delivery(run: Run, number: int) -> None:
    (listed,) = run("list", "--json").json["incidents"]
    assert (listed["number"], listed["state"], listed["at_stake_micros"]) == (number, "open", 5_000_000)
    assert "rate <moved>" in run("list").out
    shown = run("show", str(number), "--json").json
    assert [note["kind"] for note in shown["notes"]] == ["opened"]
    assert [message["says"] for message in shown["messages"]] == ["waits to be sent"]
    assert shown["runbook"] == "docs/runbooks/drift.md"
    said = run("show", str(number)).out
    assert "opened: rate <moved>" in said and "last mail to bid-team@localhost: waits to be sent" in said


def test_an_incident_is_taken_commented_handed_over_snoozed_and_ended(run: Run, number: int, db: Database) -> None:
    n = str(number)
    assert run("ack", n, "--note", "on it", "--json").json["acknowledged_by"] == "tester"
    assert run("comment", n, "the feed\nwas late", "--by", "ben", "--json").json["by"] == "ben"
    assert run("assign", n, "anna", "--json").json["owner"] == "anna"
    until = datetime.fromisoformat(run("snooze", n, "--until", "8h", "--why", "known", "--json").json["snoozed_until"])
    assert timedelta(hours=7.9) < until - datetime.now(UTC) <= timedelta(hours=8)
    assert [one["state"] for one in run("list", "--json").json["incidents"]] == ["snoozed"]
    assert run("resolve", n, "--why", "mended", "--json").json["resolved_by"] == "tester"
    assert run("list", "--json").json["incidents"] == []
    assert [one["state"] for one in run("list", "--state", "all", "--json").json["incidents"]] == ["resolved"]
    notes = run("show", n, "--json").json["notes"]
    assert [(note["kind"], note["by"]) for note in notes[1:]] == [
        ("acknowledged", "tester"),
        ("comment", "ben"),
        ("assigned", "tester"),
        ("snoozed", "tester"),
        ("resolved", "tester"),
    ]
    market = load_settings().market_name
    assert incidents.open_on(db, market, date(2026, 3, 4)) != [], "the day stays one that stood under the incident"
    assert incidents.open_on(db, market, date(2026, 3, 5)) == []


def test_tending_escalates_and_tries_what_waits(run: Run, number: int, db: Database) -> None:
    tended = run("tend", "--json").json
    assert tended["escalated"] == [number]
    assert tended["mail"]["sent"] == 0 and tended["mail"]["errors"]
    assert [mail.subject.split("]")[0] for mail in outbox.pending(db)][:2] == ["[critical", "[critical"]
    assert run("tend", "--json").json["escalated"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["show"], ["ack"], ["assign", "anna"], ["comment", "text"],
        ["snooze", "--until", "1h"], ["resolve", "--why", "w"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
@pytest.mark.parametrize("unknown", ["99", "0", "99999999999999999999"])
def test_a_number_that_there_is_not_is_a_clear_error(arguments: list[str], unknown: str, run: Run, number: int) -> None:
    answer = run(arguments[0], unknown, *arguments[1:])
    assert answer.code == 1
    assert f"there is no incident {unknown} in simulator; nothing was changed; list them with" in answer.complaint


def test_a_comment_of_two_megabytes_is_refused_and_nothing_is_written(
    run: Run, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("x" * 2_000_000))
    answer = run("comment", str(number), "-")
    assert answer.code == 2
    assert "nothing was written; shorten it to 10,000" in answer.complaint
    assert len(run("show", str(number), "--json").json["notes"]) == 1


@pytest.mark.parametrize("until", ["yesterday", "0h", "8x", "2026-01-01", "31d", "9999d"])
def test_an_end_that_is_none_or_too_far_is_refused(until: str, run: Run, number: int) -> None:
    answer = run("snooze", str(number), "--until", until)
    assert answer.code == 2
    assert "nothing was changed" in answer.complaint
    assert run("list", "--json").json["incidents"][0]["state"] == "open"


def test_what_was_resolved_cannot_be_resolved_or_taken_again(run: Run, number: int) -> None:
    run("resolve", str(number), "--why", "mended")
    assert "is resolved already" in run("resolve", str(number), "--why", "again").complaint
    assert "it cannot be acknowledged" in run("ack", str(number)).complaint
    assert "with a person and a reason" in run("resolve", str(number), "--why", " ").complaint


def test_states_and_severities_that_there_are_not_are_named(run: Run, number: int) -> None:
    assert "'loud' is no state or severity" in run("list", "--state", "loud").complaint
    assert "'loud' is no state or severity" in run("list", "--severity", "loud").complaint
    assert "no such incident" in run("list", "--severity", "info").out


def test_ends_are_spans_or_instants_in_utc() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert [end_of(text, at) - at for text in ("30m", "8h", "2d")] == [
        timedelta(minutes=30),
        timedelta(hours=8),
        timedelta(days=2),
    ]
    assert end_of("2026-01-02T07:00", at) == datetime(2026, 1, 2, 7, tzinfo=UTC)
    assert end_of("2026-01-02T07:00+01:00", at) == datetime(2026, 1, 2, 6, tzinfo=UTC)
    with pytest.raises(UsageError, match="is no end of a snooze"):
        end_of("soon", at)
