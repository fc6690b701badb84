"""Each mistake and each fault gets one clear sentence with what to do, the right exit code, and no traceback."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ml.cli import app

ROOT = Path(__file__).parents[2]


def bidwright(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, file_limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in a process of its own."""

    def limit() -> None:
        if file_limit is not None:
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    kept = ("BIDWRIGHT_SMTP_PORT",)  # where nobody listens
    base = {k: v for k, v in os.environ.items() if k in kept or not k.startswith(("BIDWRIGHT_", "AIRFLOW"))}
    return subprocess.run(
        [sys.executable, "-m", "ml.cli", *arguments],
        cwd=ROOT,
        env={**base, "BIDWRIGHT_HOME": str(home), "BIDWRIGHT_SIMULATOR_OPPORTUNITIES_PER_DAY": "500", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limit,
        check=False,
    )


def one_sentence(run: subprocess.CompletedProcess[str], *, code: int) -> str:
    assert run.returncode == code, run.stderr
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("bidwright: ")
    assert "Traceback" not in run.stderr
    return lines[0]


def test_a_wrong_date_is_a_usage_error_that_shows_the_form(tmp_path: Path) -> None:
    said = one_sentence(bidwright(tmp_path, "ingest", "--day", "1.10.2016"), code=2)
    assert "'1.10.2016' is not a market day" in said
    assert "YYYY-MM-DD" in said


def test_a_wrong_source_names_those_there_are(tmp_path: Path) -> None:
    said = one_sentence(bidwright(tmp_path, "ingest", "--day", "2026-01-01", "--source", "trivia"), code=2)
    assert "trivia" in said
    assert "simulator" in said
    assert "hotel_bookings" in said


def test_a_missing_data_folder_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "not-there"
    run = bidwright(tmp_path, "ingest", "--day", "2016-10-01", "--source", "hotel_bookings", "--data", str(gone))
    assert "not-there" in one_sentence(run, code=1)


def test_a_day_without_data_says_which_days_there_are(tmp_path: Path) -> None:
    said = one_sentence(bidwright(tmp_path, "ingest", "--day", "1999-01-01"), code=1)
    assert "1999-01-01" in said


def test_an_unreadable_database_is_named_and_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "bidwright.db"
    database.write_bytes(b"this is no database, but a letter to the editor" * 100)
    before = database.read_bytes()
    said = one_sentence(bidwright(tmp_path, "status"), code=1)
    assert "bidwright.db" in said
    assert database.read_bytes() == before


def test_a_full_disk_lands_nothing_half_and_the_same_command_works_afterwards(tmp_path: Path) -> None:
    assert bidwright(tmp_path, "migrate").returncode == 0
    full = bidwright(tmp_path, "ingest", "--day", "2026-01-01", file_limit=30_000)
    assert one_sentence(full, code=1)
    with sqlite3.connect(tmp_path / "bidwright.db") as db:
        landed = db.execute("select count(*) from partitions").fetchone()[0]
    assert landed == 0, "the fault happened before anything was logged as landed"
    again = bidwright(tmp_path, "ingest", "--day", "2026-01-01", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["accepted"] > 0


def test_a_wrong_setting_names_the_variable(tmp_path: Path) -> None:
    said = one_sentence(bidwright(tmp_path, "status", env={"BIDWRIGHT_SEED": "seven"}), code=2)
    assert "BIDWRIGHT_SEED" in said


def test_mail_waits_while_the_server_is_down_and_the_command_does_not_fail(tmp_path: Path) -> None:
    env = {"BIDWRIGHT_SMTP_PORT": "9"}  # the discard port: nobody listens there
    assert bidwright(tmp_path, "ingest", "--day", "1999-01-01", env=env).returncode == 1
    run = bidwright(tmp_path, "mail", "--json", env=env)
    assert run.returncode == 0, run.stderr
    with sqlite3.connect(tmp_path / "bidwright.db") as db:
        waiting = db.execute("select count(*) from outbox where sent_at is null").fetchone()[0]
    assert waiting == 1, "the mail about the missing day is kept"


def test_a_version_nobody_knows_is_a_usage_error(tmp_path: Path) -> None:
    assert "abcdef" in one_sentence(bidwright(tmp_path, "explain", "abcdef"), code=2)


@pytest.mark.parametrize("every", ["weekly", "0d", "-7d"])
def test_a_wrong_interval_shows_the_form(tmp_path: Path, every: str) -> None:
    run = bidwright(tmp_path, "backtest", "--from", "2016-07-01", "--to", "2016-08-01", "--every", every)
    assert "7d" in one_sentence(run, code=2)


def test_the_doctor_finds_the_silent_mail_server_and_says_what_to_do(tmp_path: Path) -> None:
    run = bidwright(tmp_path, "doctor", "--json", env={"BIDWRIGHT_SMTP_PORT": "9"})
    checks = {check["name"]: check for check in json.loads(run.stdout)["checks"]}
    assert run.returncode == 1
    assert checks["mail server"]["ok"] is False
    assert "BIDWRIGHT_SMTP_HOST" in checks["mail server"]["remedy"]
    assert checks["package feast"]["ok"] is True
    assert checks["platform database"]["ok"] is True


def test_help_of_every_command_ends_with_an_example(tmp_path: Path) -> None:
    run = bidwright(tmp_path, "backtest", "--help")
    assert "Example: bidwright backtest --source hotel_bookings" in " ".join(run.stdout.split())


@pytest.mark.parametrize(
    ("number", "what", "remedy"),
    [
        (errno.ENOSPC, "the disk refused a write", "free space"),
        (errno.EROFS, "the disk refused a write", "mount it for writing"),
        (errno.EACCES, "this user has no right to it", "correct the permissions"),
        (errno.EPERM, "this user has no right to it", "correct its owner, or become it"),
    ],
)
def test_what_the_system_refuses_is_said_with_its_own_remedy(
    number: int, what: str, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the refusal was no write: a program that may not be run, a key that may not be read."""

    def refuse() -> None:
        raise OSError(number, os.strerror(number), "/a/file")

    monkeypatch.setattr(app, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith(f"bidwright: {what}: {os.strerror(number)} (/a/file); nothing was half written; {remedy}")
    assert said.count("\n") == 1
