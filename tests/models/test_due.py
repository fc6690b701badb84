"""Whether a retrain is due, from the ledger alone, and the same answer for a day that is asked again."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ml.core.digests import digest_bytes
from ml.core.settings import Settings, load_settings
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, incidents, versions
from ml.ledger.database import Database
from ml.models.due import retrain_due

DAY = date(2016, 10, 10)
AT = datetime(2016, 10, 11, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.migrate()
    return database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, retrain_every_days=7)


def days_ago(count: int) -> date:
    return DAY - timedelta(days=count)


def register(db: Database, day: date) -> versions.Version:
    digest = digest_bytes(day.isoformat().encode())
    return versions.register(db, versions.Version(digest, "m", day, "uri", digest, day, {}, ""), AT)


def promote(db: Database, day: date) -> None:
    digest = register(db, day).digest
    decision = decisions.Decision("m", day, digest, None, 0, Verdict.PASS, [], digest, None)
    decision_id = decisions.record(db, decision, AT)
    champion.move(db, "m", digest=digest, expected_generation=0, decision_id=decision_id, day=day, at=AT)


def open_incident(db: Database, cause: str, day: date) -> None:
    incidents.raise_incident(db, "m", cause, day=day, severity="warning", title="t", details={}, at=AT)


def test_without_a_champion_it_is_due(db: Database, settings: Settings) -> None:
    register(db, days_ago(1))
    due = retrain_due(db, settings, market="m", day=DAY)
    assert (due.due, due.reason) == (True, "there is no champion yet")


@pytest.mark.ml_test_score("monitor4")
@pytest.mark.parametrize(("age", "expected"), [(1, False), (6, False), (7, True), (8, True)])
def test_it_is_due_when_the_newest_version_is_old_enough(
    db: Database, settings: Settings, age: int, expected: bool
) -> None:
    promote(db, days_ago(age))
    due = retrain_due(db, settings, market="m", day=DAY)
    assert due.due is expected
    assert f"{age} day" in due.reason


def test_the_newest_version_counts_even_when_it_was_not_promoted(db: Database, settings: Settings) -> None:
    promote(db, days_ago(20))
    register(db, days_ago(3))
    assert not retrain_due(db, settings, market="m", day=DAY).due


@pytest.mark.parametrize(
    ("cause", "opened", "expected"),
    [
        ("drift", 0, True),
        ("calibration", 1, True),
        ("drift", 2, False),  # the version of that day was trained with the incident known
        ("drift", 3, False),
        ("drift:rivals", 0, True),
        ("drift:tracking", 0, False),  # a model trained on lost conversions would believe that nobody books
        ("drift:feed", 0, False),
        ("drift:parity", 0, False),
        ("ingest:schema", 0, False),
    ],
)
def test_an_incident_that_no_version_answers_makes_it_due(
    db: Database, settings: Settings, cause: str, opened: int, expected: bool
) -> None:
    promote(db, days_ago(2))
    open_incident(db, cause, days_ago(opened))
    due = retrain_due(db, settings, market="m", day=DAY)
    assert due.due is expected
    assert (cause in due.reason) is expected


def test_a_resolved_incident_asks_for_nothing(db: Database, settings: Settings) -> None:
    promote(db, days_ago(2))
    open_incident(db, "drift", DAY)
    incidents.resolve(db, "m", "drift", day=DAY, at=AT, reason="gone")
    assert not retrain_due(db, settings, market="m", day=DAY).due


def test_a_day_that_has_its_candidate_builds_it_again(db: Database, settings: Settings) -> None:
    """A task that died after it registered must find its candidate when it runs again."""
    promote(db, days_ago(3))
    register(db, DAY)
    assert retrain_due(db, settings, market="m", day=DAY).due


def test_later_versions_do_not_count_for_a_day_that_is_run_again(db: Database, settings: Settings) -> None:
    promote(db, days_ago(7))
    register(db, DAY + timedelta(days=2))
    assert retrain_due(db, settings, market="m", day=DAY).due


def test_asking_needs_no_heavy_import() -> None:
    """Most days nothing is due, and the task should not pay for what it does not use."""
    program = (
        "import sys; import ml.models.due;"
        "print([name for name in ('lightgbm', 'pandas', 'numpy', 'sklearn', 'mlflow', 'ibis') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
