"""Who may do what, on every route, asked of a real api-server with SimpleAuthManager's users; and what every answer carries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.platform import Platform
from tests.plugins.matrix import api_server, wrong_answers

WRITERS, READERS = ("admin", "op", "user"), ("viewer",)
ROLES = (*WRITERS, *READERS)


@pytest.fixture
def server(lived: Platform, airflow_db: None, tmp_path: Path) -> Iterator[str]:
    """With a user of each role, whose password is the role."""
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({role: role for role in ROLES}))
    options = {
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    with api_server(options, tmp_path / "api-server.log") as url:
        yield url


def test_every_route_answers_each_role_as_airflow_would_and_carries_the_headers(server: str, lived: Platform) -> None:
    assert wrong_answers(server, lived, ROLES, writers=WRITERS, answerers=WRITERS) == []
