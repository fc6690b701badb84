"""Whoever dies while promoting, rolling out or rolling back, at whatever point: the ledger is whole, and a rerun finishes."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.promotion_world import DONE, FIRST, SECOND, THIRD, invariants, operation_of
from ml.core.faultpoints import POINTS, STOP
from ml.ledger import champion, rollbacks, rollouts
from ml.ledger.database import Database
from tests.faults.conftest import MARKET, STALE, ended

ROOT = Path(__file__).parents[2]
OUTSIDE = [point for point in POINTS if ".in_" not in point and point != "rollback.before"]
"""Points outside of transactions: a stopped process holds no lock there."""


def test_every_fault_point_in_the_code_is_listed_and_every_listed_one_is_in_the_code() -> None:
    found = [
        name
        for path in (ROOT / "ml").rglob("*.py")
        for name in re.findall(r'faultpoint\("([a-z_.]+)"\)', path.read_text())
    ]
    assert sorted(set(found)) == sorted(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_point_twice_leaves_the_ledger_whole_and_a_rerun_completes(
    point: str, db: Database, child: Callable[..., int]
) -> None:
    operation = operation_of(point)
    assert ended(child(db, operation, point)) == -signal.SIGKILL
    assert invariants(db, MARKET) == []
    live = champion.current(db, MARKET)
    assert live is not None
    assert live.digest in {SECOND, DONE[operation][0]}
    # What is behind an effect that happened is not reached again.
    assert ended(child(db, operation, point)) in {-signal.SIGKILL, 0}
    assert invariants(db, MARKET) == []
    assert ended(child(db, operation)) == 0
    _is_done_once(db, operation)


@pytest.mark.parametrize("point", OUTSIDE)
def test_a_zombie_that_wakes_after_another_did_its_work_changes_nothing(
    point: str, db: Database, child: Callable[..., int]
) -> None:
    operation = operation_of(point)
    zombie = child(db, operation, STOP + point)
    assert os.WIFSTOPPED(os.waitpid(zombie, os.WUNTRACED)[1])
    assert ended(child(db, operation)) == 0
    _is_done_once(db, operation)
    os.kill(zombie, signal.SIGCONT)
    assert ended(zombie) in {0, STALE}
    _is_done_once(db, operation)


@pytest.mark.parametrize("second", ["take_back", "stop_canary", "roll_out"])
@pytest.mark.parametrize("point", ["promote.before_move", "rollout.before_promote", "rollout.before_step"])
def test_a_zombie_that_wakes_after_something_else_happened_does_not_undo_it(
    point: str, second: str, db: Database, child: Callable[..., int]
) -> None:
    zombie = child(db, operation_of(point), STOP + point)
    assert os.WIFSTOPPED(os.waitpid(zombie, os.WUNTRACED)[1])
    assert ended(child(db, second)) in {0, STALE}
    after = champion.current(db, MARKET)
    os.kill(zombie, signal.SIGCONT)
    # It may fail for good: its candidate was barred, or waits to be judged against another champion.
    ended(zombie)
    assert invariants(db, MARKET) == []
    live = champion.current(db, MARKET)
    if second == "take_back" and live != after:
        # What was taken back stays so. A rollout may go on, but from zero, judged against the champion that was restored.
        ended_well = rollouts.newest(db, MARKET, 1)[0]
        assert live is not None
        assert (live.digest, ended_well.candidate, ended_well.state) == (THIRD, THIRD, "promoted")
        assert any("begins again" in event.reason for event in rollouts.events(db, ended_well.id))


def _is_done_once(db: Database, operation: str) -> None:
    digest, generation = DONE[operation]
    live = champion.current(db, MARKET)
    assert live is not None
    assert (live.digest, live.generation) == (digest, generation)
    assert invariants(db, MARKET) == []
    kinds = [(one.rollout_id is not None, one.failed, one.restored) for one in rollbacks.newest(db, MARKET, 9)]
    states = [one.state for one in rollouts.newest(db, MARKET, 9)]
    expected: dict[str, tuple[list[object], list[str]]] = {
        "promote": ([], []),
        "roll_out": ([], ["promoted"]),
        "stop_canary": ([(True, THIRD, SECOND)], ["rolled_back"]),
        "take_back": ([(False, SECOND, FIRST)], []),
    }
    assert (kinds, states) == expected[operation]
