"""The same with Flask-AppBuilder's roles, as a cluster has them, and with `bid-approver`, who may answer and change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ml.platform import Platform
from tests.plugins.matrix import api_server, client, wrong_answers

pytest.importorskip("airflow.providers.fab", reason="the lock has Airflow's provider fab, this environment not yet")

WRITERS, ANSWERERS = ("User", "Op", "Admin"), ("User", "Op", "Admin", "bid-approver")
ROLES = ("Viewer", *ANSWERERS)

USERS = """
import sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from local import prepare

prepare.make_roles("another")
prepare.make_roles("Admin")  # again: nothing is doubled, and the administrator's password is this one
with get_application_builder() as builder:
    for name in set(sys.argv[1:]) - {"Admin"}:  # names are told apart whatever their case
        assert builder.sm.add_user(name, name, name, f"{name}@localhost", builder.sm.find_role(name), name)
    held = [(one.action.name, one.resource.name) for one in builder.sm.find_role(prepare.APPROVER).permissions]
    assert len(held) == len(set(held))
    assert {right for right in held if right[0] not in {"can_read", "menu_access"}} == {
        ("can_edit", "HITL Detail"), ("can_edit", "DAG:promote_bid_model"), ("can_edit", "My Password"),
        ("can_edit", "My Profile"),
    }, held
"""


@pytest.fixture
def server(lived: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """With a user of each role, whose password is the role, and an Airflow database of its own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path / 'airflow.db'}")
    manager = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for argv in (["-m", "airflow", "db", "migrate"], ["-c", USERS, *ROLES]):
        done = subprocess.run([sys.executable, *argv], env=env, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    with api_server({}, tmp_path / "api-server.log") as url:
        yield url


def test_every_route_answers_each_role_as_airflow_would_and_an_approver_answers_and_changes_nothing(
    server: str, lived: Platform
) -> None:
    assert wrong_answers(server, lived, ROLES, writers=WRITERS, answerers=ANSWERERS) == []
    # Airflow's own API, which the pages ask: the approver answers the promotion's question, and no other DAG's.
    with closing(client(server, "bid-approver")) as approver:

        def answered(dag: str) -> int:
            url = f"/api/v2/dags/{dag}/dagRuns/nothing/taskInstances/approve/-1/hitlDetails"
            return approver.patch(url, json={"chosen_options": ["Approve"], "params_input": {}}).status_code

        assert (answered("promote_bid_model"), answered("train_bid_model")) == (404, 403)
        run = {"logical_date": None, "partition_key": "2026-03-02"}
        for dag in ("promote_bid_model", "train_bid_model"):
            refused = {
                "trigger": approver.post(f"/api/v2/dags/{dag}/dagRuns", json=run),
                "mark": approver.patch(f"/api/v2/dags/{dag}/dagRuns/nothing", json={"state": "success"}),
                "clear": approver.post(f"/api/v2/dags/{dag}/clearTaskInstances", json={}),
                "remove": approver.delete(f"/api/v2/dags/{dag}"),
            }
            assert {name: answer.status_code for name, answer in refused.items()} == dict.fromkeys(refused, 403)
        assert approver.get("/api/v2/connections").status_code == 403
        assert approver.get("/api/v2/variables").status_code == 403
