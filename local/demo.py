"""`make demo`: from an empty folder to a deployed bid model, through a real scheduler, one market day after another."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from local import screen
from local.days import DAG_OF_STAGE, DayRunner, StageResults, missing_stages
from local.scenario import Scenario
from local.stack import ONLINE_STORE_POOL, Stack
from local.supervisor import Service
from ml.core.errors import BidwrightError, PermanentError, StoreUnavailable, UsageError
from ml.platform import Platform

_POLL_S = 0.2
_START_LIMIT_S = 240.0


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: everything that runs is to be ended."""


def run(home: Path, scenario: Scenario, *, once: bool) -> int:
    """Tell the story from where it stands.

    Args:
        home: the working folder.
        scenario: the story.
        once: stop everything at the end; the exit code then says whether every step of the lifecycle happened.

    Returns:
        The exit code: 0, or 1 where a step did not happen.
    """
    stack = Stack(home)
    with _alone(home), _ending_on_interrupt(stack):
        try:
            missing = _tell(stack, scenario)
        except BidwrightError:
            if once:
                stack.supervisor.stop()
            raise
        if once:
            stack.supervisor.stop()
            screen.say("everything was stopped again")
    return 1 if missing and once else 0


def _tell(stack: Stack, scenario: Scenario) -> list[str]:
    """The story itself; returns the steps of the lifecycle that did not happen."""
    began = time.monotonic()
    stack.claim(scenario.toml())
    os.environ["BIDWRIGHT_HOME"] = str(stack.home)
    screen.opening(stack.home, scenario)
    _bring_up(stack, scenario)
    platform = Platform.from_environment()
    with stack.client() as client:
        client.keep_pool(ONLINE_STORE_POOL, slots=1, description="The writer of the online feature store.")
        with screen.DayProgress(scenario.days) as progress:
            runner = DayRunner(
                client,
                results=lambda day: stage_results(platform, day),
                revive=stack.revive,
                logs=stack.home / "airflow" / "logs",
                notice=progress.at_work,
            )
            for day in scenario.days:
                if missing_stages(stage_results(platform, day)):
                    progress.begin(day)
                    runner.run(day)
                progress.finish(day, day_row(platform, day))
    screen.table([day_row(platform, day) for day in scenario.days])
    missing = missing_steps({day: stage_results(platform, day) for day in scenario.days}, mails=_mails(platform))
    screen.closing(stack, missing=missing, seconds=time.monotonic() - began)
    return missing


def stage_results(platform: Platform, day: date) -> StageResults:
    """The results of the stages that ended well on a day; a stage that stopped counts as not run."""
    from ml.ledger import stages

    records = stages.for_day(platform.db, platform.market, day)
    return {stage: record.result for stage, record in records.items() if record.status != "stopped"}


def day_row(platform: Platform, day: date) -> Mapping[str, Any]:
    """The row of a day in the closing table."""
    from ml.status import day_row as row

    return row(platform, day)


def missing_steps(days: Mapping[date, StageResults], *, mails: int) -> list[str]:
    """The steps of the lifecycle that did not happen in these days: each by the name a person knows it by."""
    missing = [f"{DAG_OF_STAGE[stage]} on {day}" for day, results in days.items() for stage in missing_stages(results)]
    happened = {
        "a retrain": any(r.get("train", {}).get("candidate") for r in days.values()),
        "a gate decision": any(r.get("promote", {}).get("verdict") for r in days.values()),
        "a promotion": any(r.get("promote", {}).get("moved") for r in days.values()),
        "published bids": any(r.get("publish", {}).get("published") for r in days.values()),
        "a mail": mails > 0,
    }
    return missing + [name for name, done in happened.items() if not done]


def _mails(platform: Platform) -> int:
    from ml.ledger import outbox

    return len(outbox.sent(platform.db))


def _bring_up(stack: Stack, scenario: Scenario) -> None:
    """Start the services and import the history beside them; returns when both are ready."""
    stack.start_mailbox()
    migrating = stack.start_migration()
    history = _history(stack, scenario)
    stack.supervisor.start(history)
    progress_file = stack.home / "run" / "history.json"
    deadline = time.monotonic() + _START_LIMIT_S
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


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two of these commands cannot start the same things twice."""
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise UsageError(
                f"another `make demo` is at work in {home} (pid {lock.read().strip()})",
                left="nothing was started",
                next="wait for it, or end it with Ctrl-C in its terminal",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _ending_on_interrupt(stack: Stack) -> Iterator[None]:
    """On Ctrl-C, SIGTERM or a closed terminal: end every service, then leave."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except Interrupted:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
        screen.say("stopping; what is recorded stays, and `make demo` goes on from there")
        stack.supervisor.stop()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def down(home: Path) -> int:
    """Stop what `make demo` started in this working folder."""
    stopped = Stack(home).supervisor.stop()
    screen.say(f"stopped: {', '.join(stopped)}" if stopped else f"nothing runs for {home}")
    return 0
