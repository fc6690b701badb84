"""What three days in a real Airflow say and write, searched for the secrets of the installation."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local import airflow
from ml.promotion.keyring import development_key_file
from tests.e2e.conftest import SERVE_TOKEN

HOLDERS = {"secrets.json", "passwords.json", "development.key"}
"""The files that a secret is kept in, each of which only its owner may read."""

PAGES = ("", "days", "model", "drift", "bids", "incidents", "approvals", "experiments", "features")


@pytest.fixture(scope="module")
def secrets(demo: Any) -> dict[str, bytes]:
    """Every secret of the demo, by name."""
    kept = airflow.keep_secrets(demo.home / "airflow")
    named = {name: getattr(kept, name) for name in ("jwt", "fernet", "session", "password")}
    named |= {"signing key": development_key_file(demo.home).read_text().strip(), "serve token": SERVE_TOKEN}
    return {name: value.encode() for name, value in named.items()}


def found_in(text: bytes, secrets: dict[str, bytes]) -> list[str]:
    """The names of the secrets that the text contains."""
    return [name for name, secret in secrets.items() if secret in text]


def written(home: Path) -> Iterator[Path]:
    """Every file of the working folder but those that hold the secrets."""
    yield from (path for path in home.rglob("*") if path.is_file() and path.name not in HOLDERS)


def test_no_file_that_a_demo_writes_has_a_secret_in_it_but_those_that_keep_it(
    demo: Any, secrets: dict[str, bytes]
) -> None:
    """Logs of every service and task, the lake, MLflow, mails, reports, and the databases with all of their pages."""
    searched = {path: found_in(path.read_bytes(), secrets) for path in written(demo.home)}
    assert {str(path): names for path, names in searched.items() if names} == {}
    assert sum(path.suffix == ".log" for path in searched) > 20
    holders = [path for path in demo.home.rglob("*") if path.name in HOLDERS]
    assert {found for path in holders for found in found_in(path.read_bytes(), secrets)} == set(secrets) - {
        "serve token"
    }
    assert {path.stat().st_mode & 0o077 for path in holders} == {0}


def test_no_value_that_tasks_hand_to_one_another_is_a_secret(demo: Any, secrets: dict[str, bytes]) -> None:
    with closing(sqlite3.connect(f"file:{demo.home / 'airflow' / 'airflow.db'}?mode=ro", uri=True)) as db:
        values = [str(value).encode() for (value,) in db.execute("SELECT value FROM xcom")]
        rendered = [
            str(value).encode() for (value,) in db.execute("SELECT rendered_fields FROM rendered_task_instance_fields")
        ]
    assert len(values) > 10
    assert rendered
    assert [found_in(value, secrets) for value in (*values, *rendered) if found_in(value, secrets)] == []


def test_no_page_and_no_answer_of_its_api_shows_a_secret(demo: Any, secrets: dict[str, bytes]) -> None:
    with demo.client() as client:
        client.runs("2026-03-02")  # signs in
        for path in (*PAGES, *(f"api/{page}".rstrip("/") for page in PAGES)):
            answer = client._http.get(f"/bid-models/{path}", headers={"Authorization": f"Bearer {client._token}"})
            assert answer.status_code == 200, (path, answer.status_code)
            assert found_in(answer.content, secrets) == [], path
