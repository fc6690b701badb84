"""A step that runs in Airflow records the version of the DAG bundle that its task was read from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from ml.core.code_version import DAG_VERSION


@pytest.fixture(autouse=True)
def _as_before() -> Any:
    token = DAG_VERSION.set("")
    yield
    DAG_VERSION.reset(token)


def ran(context: dict[str, Any] | None) -> str:
    """What the step saw of it."""
    from lifecycle import stages

    seen = []
    run = SimpleNamespace(dag_id="ingest_market", run_id="r", partition_key="2026-03-02")
    with patch.object(stages, "open_platform", lambda **_: None):
        if context is None:
            stages.run_stage(lambda *_, **__: seen.append(DAG_VERSION.get()) or {}, run)
        else:
            with patch("airflow.sdk.get_current_context", lambda: context):
                stages.run_stage(lambda *_, **__: seen.append(DAG_VERSION.get()) or {}, run)
    return seen[0]


def test_it_is_the_bundles_commit() -> None:
    assert ran({"ti": SimpleNamespace(bundle_instance=SimpleNamespace(version="fedcba98"))}) == "fedcba98"


@pytest.mark.parametrize("ti", [SimpleNamespace(bundle_instance=SimpleNamespace(version=None)), SimpleNamespace()])
def test_files_in_a_folder_have_none(ti: Any) -> None:
    assert ran({"ti": ti}) == ""


def test_a_step_outside_of_a_task_has_none() -> None:
    assert ran(None) == ""
