"""Rows about PostgreSQL: killed in the middle of a transaction, and a commit whose answer is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psycopg

from benchmarks.promotion_world import DONE, OPERATIONS, SECOND, invariants, operation_of, prepare
from ml.core.errors import BidwrightError, RetryableError
from ml.core.faultpoints import POINTS, STOP, VARIABLE
from ml.ledger import champion
from ml.ledger.database import Database
from tests.faults.campaign.asking import Callers
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.stand import Stand, no_postgres
from tests.faults.proxy import DropReply

IN_TRANSACTIONS = tuple(point for point in POINTS if ".in_" in point)
ENDS = ("kill -9", "immediate", "fast")
STORE_LOST, BROKE = 9, 1
_FAR = 1_000_000


def killed_in_transactions(ask: Ask, tally: Tally) -> None:
    """R4: a child stops itself within a transaction, PostgreSQL is killed under it and started again; the bid service is asked on."""
    stand = ask.stand
    db, world = stand.ledger, stand.world
    with world.service("first", environment=stand.world_settings) as service, Callers(service, count=2) as callers:
        for number in range(ask.repeats):
            for at, point in enumerate(IN_TRANSACTIONS):
                how = ENDS[(number + at) % len(ENDS)]
                with tally.trial(f"{how} in a transaction") as trial:
                    _kill_at(stand, db, point, how, trial, tally)
        answers = len(callers.answers)
    with tally.trial("bids meanwhile") as trial:
        trial.proof("the bid service was asked while PostgreSQL was down", answers)
        trial.expect(f"{callers.errors()} of {answers} requests failed: {callers.statuses}", not callers.errors())
    tally.totals["bids answered meanwhile"] = answers
    tally.totals["bids answered after more than 100 ms"] = callers.late()


def _kill_at(stand: Stand, db: Database, point: str, how: str, trial: Trial, tally: Tally) -> None:
    market, operation = stand.market(), operation_of(point)
    prepare(db, market)
    child = begin(lambda: OPERATIONS[operation](db, market), STOP + point)
    stopped = os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    trial.expect(f"the child did not come to {point}", stopped)
    said = stand.postgres.crash(how)
    trial.proof(said if stopped else "", stopped)
    began = time.monotonic()
    stand.postgres.again()
    tally.worst("PostgreSQL back after, s", time.monotonic() - began)
    if stopped:
        os.kill(child, signal.SIGCONT)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # A lost transaction is told as a store that is not there; it may also have been rolled back and begun again.
    trial.expect(f"{point}: the child ended with {code} and not with StoreUnavailable", code == STORE_LOST)
    trial.expect(f"{point}: {invariants(db, market)}", not invariants(db, market))
    live = champion.current(db, market)
    trial.expect(
        f"{point}: half a promotion is visible", live is not None and live.digest in {SECOND, DONE[operation][0]}
    )
    finish(db, market, operation, trial)


def finish(db: Database, market: str, operation: str, trial: Trial) -> None:
    """Run an operation again, twice: it completes, and once."""
    for _ in range(2):
        OPERATIONS[operation](db, market)
        live = champion.current(db, market)
        found = (live.digest, live.generation) if live else None
        trial.expect(f"{operation} run again ended with {found}", found == DONE[operation])
        trial.expect(f"{operation} run again: {invariants(db, market)}", not invariants(db, market))


def begin(work: Callable[[], object], fault: str = "") -> int:
    """Do something in a forked child, with a fault point in its environment; its pid. Its exit code says how it ended."""
    pid = os.fork()
    if pid:
        return pid
    code = BROKE
    try:
        os.environ[VARIABLE] = fault
        work()
        code = 0
    except RetryableError:
        code = STORE_LOST
    except BaseException as error:  # noqa: BLE001  (the exit code tells)
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def commit_without_answer(ask: Ask, tally: Tally) -> None:
    """R5: the answer to each commit of each operation is lost in turn; the caller tries again by its key."""
    db, proxy = ask.stand.ledger, ask.stand.postgres_proxy
    for operation in OPERATIONS:
        proxy.toxics = [count := DropReply(seen=b"COMMIT", nth=_FAR)]
        market = ask.stand.market()
        prepare(db, market)
        before = proxy.asked(count)
        OPERATIONS[operation](db, market)
        commits = proxy.asked(count) - before
        proxy.toxics = []
        numbers = range(1, commits + 1) if ask.full else sorted({1, commits, *range(2, commits, max(1, commits // 8))})
        for number in numbers:
            for _ in range(ask.repeats):
                with tally.trial(f"{operation}: answer to a commit lost") as trial:
                    _lose(ask.stand, db, operation, number, trial)
    tally.totals["transactions of the server that ended well"] = _committed(ask.stand)


def _lose(stand: Stand, db: Database, operation: str, number: int, trial: Trial) -> None:
    proxy, market = stand.postgres_proxy, stand.market()
    prepare(db, market)
    dropped = proxy.counts["drop_reply"]
    proxy.toxics = [DropReply(seen=b"COMMIT", nth=number)]
    told = "nothing"
    try:
        OPERATIONS[operation](db, market)
    except BidwrightError as error:
        told = type(error).__name__
        trial.expect(f"commit {number}: told as {told}: {error}", isinstance(error, RetryableError))
    finally:
        proxy.toxics = []
    trial.proof("the server answered a COMMIT and the answer was dropped", proxy.counts["drop_reply"] == dropped + 1)
    trial.expect(f"commit {number}: {invariants(db, market)}", not invariants(db, market))
    finish(db, market, operation, trial)


def _committed(stand: Stand) -> int:
    with psycopg.connect(stand.postgres.dsn("ledger")) as connection:
        row = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = 'ledger'").fetchone()
    return int(row[0]) if row else 0


ROWS = {
    "R4": Row(
        "PostgreSQL is killed during each transaction",
        "a child is stopped within the transaction; kill -9, immediate stop or fast stop; start again",
        "no commit lost, none doubled, the rerun completes once; the bid service answers every request",
        "200 of 200, 0 bid errors",
        killed_in_transactions,
        short=1,
        full=23,
        needs=no_postgres,
    ),
    "R5": Row(
        "The connection to PostgreSQL is cut after COMMIT, before its answer",
        "the proxy waits for the server's answer to the COMMIT and drops it",
        "the caller is told that it may try again, and by its key that has one effect",
        "500 of 500",
        commit_without_answer,
        short=1,
        full=12,
        needs=no_postgres,
    ),
}
