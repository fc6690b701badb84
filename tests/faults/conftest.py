"""A ledger with a market per trial, and child processes that are killed or stopped at a fault point."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.common import memory_folder
from benchmarks.promotion_world import OPERATIONS, prepare
from ml.core.faultpoints import VARIABLE
from ml.ledger.database import Database

MARKET = "trial"
STALE, FAILED = 7, 1


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("faults") / "prepared.db"
    with closing(Database.open(f"sqlite:///{file}")) as db:
        db.migrate()
        prepare(db, MARKET)
    return file


@pytest.fixture
def db(template: Path) -> Iterator[Database]:
    # In memory where that is: thousands of transactions would wait for the disk.
    with tempfile.TemporaryDirectory(prefix="bidwright-faults-", dir=memory_folder()) as folder:
        file = Path(folder) / "ledger.db"
        shutil.copyfile(template, file)
        with closing(Database.open(f"sqlite:///{file}")) as database:
            yield database


@pytest.fixture
def child() -> Iterator[Callable[..., int]]:
    """Begin an operation in a process of its own, with a fault; its pid. What is left at the end is killed."""
    begun: list[int] = []

    def begin(db: Database, operation: str, fault: str = "") -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(_work(db, operation, fault))
        begun.append(pid)
        return pid

    yield begin
    for pid in begun:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def ended(pid: int) -> int:
    """Wait for a child's end: its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _work(db: Database, operation: str, fault: str) -> int:
    from ml.core.errors import StaleGeneration

    if fault:
        os.environ[VARIABLE] = fault
    else:
        os.environ.pop(VARIABLE, None)
    try:
        OPERATIONS[operation](db, MARKET)
    except StaleGeneration:
        return STALE
    except BaseException:  # noqa: BLE001  (the exit code tells)
        traceback.print_exc()
        return FAILED
    return 0
