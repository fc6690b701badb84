"""From nothing to a running stack with its history imported: Airflow starts and the history is read side by side."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from local import screen
from local.days import DAG_OF_STAGE
from local.scenario import Scenario
from local.stack import Stack
from local.supervisor import Service
from ml.core.errors import PermanentError, StoreUnavailable

_POLL_S = 0.2


def bring_up(stack: Stack, scenario: Scenario) -> None:
    """Start the services and import the history beside them; returns when both are ready."""
    stack.start_stores()
    migrating = stack.start_migration()
    history = _history(stack, scenario)
    stack.supervisor.start(history)
    progress_file = stack.home / "run" / "history.json"
    deadline = time.monotonic() + stack.start_limit_s
    airflow_started = ready = imported = False
    with screen.StartProgress() as progress, stack.client() as client:
        while not (ready and imported):
            if not airflow_started and (not migrating or stack.migration_ended()):
                stack.start_airflow()
                airflow_started = True
            elif airflow_started and not ready:
                stack.check_started()
                waiting = client.unhealthy()
                ready = not waiting and _all_parsed(stack)
                progress.waiting_for([part.replace("_", "-") for part in waiting] or ["the DAG files"])
            if not imported:
                imported = _history_ended(stack, history)
                progress.imported(**_read_progress(progress_file))
            if time.monotonic() > deadline:
                raise StoreUnavailable("Airflow did not come up in time", next=f"read the logs in {stack.logs}")
            time.sleep(_POLL_S)


def _all_parsed(stack: Stack) -> bool:
    with stack.client() as client:
        errors = client.import_errors()
        if errors:
            raise PermanentError("Airflow could not import a DAG file", next=errors[0].strip().splitlines()[-1])
        return set(DAG_OF_STAGE.values()) <= set(client.dags())


def _history(stack: Stack, scenario: Scenario) -> Service:
    argv = [sys.executable, "-m", "local.history", "--last", scenario.history_last.isoformat()]
    argv += ["--progress", str(stack.home / "run" / "history.json")]
    if scenario.history_first:
        argv += ["--first", scenario.history_first.isoformat()]
    return Service("history", argv, stack.environment(), stack.logs / "history.log")


def _history_ended(stack: Stack, history: Service) -> bool:
    code = stack.supervisor.exit_code("history")
    if code is None:
        return False
    if code != 0:
        reason = history.log.read_text().strip().splitlines()[-1:] or ["no reason was given"]
        raise PermanentError(f"the history was not imported: {reason[0]}", next=f"read {history.log}")
    return True


def _read_progress(file: Path) -> dict[str, int]:
    try:
        numbers: dict[str, int] = json.loads(file.read_text())
    except FileNotFoundError:
        return {"done": 0, "of": 1}
    return numbers
