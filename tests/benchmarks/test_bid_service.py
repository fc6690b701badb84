"""The benchmark of the bid service counts goodput, recovery, lost events and old answers as it says it does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks import bid_service, bid_service_faults
from benchmarks.bid_service import PARTS, recovered
from benchmarks.bid_service_canary import FailingEngine
from benchmarks.bid_service_faults import Moves, last_answers
from benchmarks.bid_service_peers import HERE, PEERS, DoesNotRun, Work, serving, stop
from benchmarks.bid_service_world import Asked, World, make_world
from benchmarks.common import Figure, figure, run
from benchmarks.load import Load, cores
from benchmarks.load_wire import post
from ml.serving.engine_protocol import Engine
from ml.serving.messages import BidRequest, Candidate, Layout, Scored

NOT_HERE = cast("World", None)


def asked(**changes: Any) -> Asked:
    given = Asked(NOT_HERE, None, 5, quick=False, scratch=Path("/none"), peers=(), bodies=10)
    return replace(given, **changes)


def load(due: list[float], latency_ms: list[float], status: list[int]) -> Load:
    at = np.array(due)
    return Load(at, at + np.array(latency_ms) / 1000, np.array(status), seconds=10.0)


def test_recovery_is_when_two_seconds_begin_in_which_all_are_answered_in_time() -> None:
    due = [number / 10 for number in range(100)]
    late = [40.0 if at < 5.75 else 1.0 for at in due]
    assert recovered(load(due, late, [200] * 100), 5.0, 25.0) == 1.0
    assert recovered(load(due, [1.0] * 100, [200] * 100), 5.0, 25.0) == 0.0


def test_what_never_recovers_takes_until_the_end() -> None:
    due = [number / 10 for number in range(100)]
    assert recovered(load(due, [1.0] * 100, [429] * 100), 5.0, 25.0) == 5.0
    shed_once_a_second = [429 if number % 10 == 9 else 200 for number in range(100)]
    assert recovered(load(due, [1.0] * 100, shed_once_a_second), 5.0, 25.0) == 5.0


def test_the_last_old_answer_counts_from_the_move_and_only_until_the_next() -> None:
    moves = Moves(["b", "a"], np.array([10.0, 20.0]))
    seen = [(9.0, "a"), (10.5, "a"), (11.25, "a"), (11.2, "b"), (15.0, ""), (19.0, "b"), (20.75, "b"), (21.0, "a")]
    assert last_answers(moves, seen) == [1.25, 0.75]
    assert last_answers(Moves(["b"], np.array([10.0])), [(9.0, "a"), (10.1, "b")]) == [0.0]


def test_a_figure_is_the_median_and_lists_its_runs() -> None:
    assert figure([3.0, 1.0, 2.0], "ms", limit=5.0) == Figure(2.0, "ms", limit=5.0, runs=(3.0, 1.0, 2.0))


def test_a_run_lasts_as_long_as_it_was_asked_to() -> None:
    assert asked().lasts(10) == 10
    assert asked(quick=True).lasts(10) == 1
    assert asked(quick=True, seconds=4.0).lasts(10) == 4


def test_parts_are_run_alone_and_in_the_order_in_which_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    came: list[str] = []

    def part(name: str) -> Any:
        def measured(given: Asked) -> Mapping[str, Figure]:
            came.append(f"{name} {given.repeats} {given.bodies}")
            return {name: Figure(1.0, "s")}

        return measured

    monkeypatch.setattr(bid_service, "PARTS", {name: part(name) for name in PARTS})
    monkeypatch.setattr(bid_service, "make_world", lambda *_given, **_more: NOT_HERE)
    argv = ["--json", "--only", "rate", "hostile", "--repeats", "3", "--bodies", "7"]
    assert run("bid_service", bid_service.measure, arguments=bid_service._arguments, argv=argv) == 0
    assert list(json.loads(capsys.readouterr().out)["figures"]) == ["rate", "hostile"]
    assert came == ["rate 3 7", "hostile 3 7"]


def test_faults_are_left_out_and_named_where_nobody_measures_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bid_service_faults.importlib.util, "find_spec", lambda _name: None)
    assert PARTS["faults"](asked()) == {}
    assert "not measured: faults" in capsys.readouterr().err


def test_every_peer_has_its_own_file_and_none_is_asked_for_less_than_the_ids(tmp_path: Path) -> None:
    work = Work(tmp_path, np.array([[3, 1, 4]]), np.zeros((1, 3)))
    for name in PEERS:
        assert list(HERE.glob(f"{name}_*.py"))
        (body,) = work.bodies(name)
        assert b"[3, 1, 4]" in body


def test_a_peer_that_does_not_come_up_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(PEERS["starlette"], command=lambda _port, _folder: ("-c", "raise SystemExit('no such thing')"))
    monkeypatch.setitem(cast("dict[str, Any]", PEERS), "starlette", broken)
    work = Work(tmp_path, np.array([[1]]), np.zeros((1, 1)))
    peer = serving("starlette", Path(sys.executable), work, tmp_path, core=cores()[0])
    with pytest.raises(DoesNotRun, match=r"starlette did not come up: .*no such thing"), peer:
        pass


def test_stopping_ends_the_children_too(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('up', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdin, process.stdout:
        process.stdout.readline()
        stop(process, patience=0.2)
    assert process.returncode is not None


def test_the_world_has_a_bundle_a_view_and_requests_that_name_its_entities(tmp_path: Path) -> None:
    world = make_world(tmp_path, entities=50, trees=2)
    assert set(world.digests) == {"main", "first", "second", "twin"}
    assert len(set(world.digests.values())) == 4
    ids = {one["id"] for body in world.bodies for one in json.loads(body)["candidates"]}
    assert ids <= {str(number) for number in range(50)}
    (tmp_path / "scratch").mkdir()
    work = world.work(tmp_path / "scratch")
    assert work.scores.shape == world.ids.shape
    assert post(("127.0.0.1", 1), "/", world.bodies[0]).endswith(world.bodies[0])


class Inner:
    """An engine that bids nothing and counts how often it was asked."""

    digest, plan, layout = "d" * 64, "", Layout("<f4", ())

    def __init__(self) -> None:
        self.decided = 0

    def look_up(self, requests: Sequence[BidRequest]) -> Any:
        return np.zeros((len(requests), 0))

    def decide(self, requests: Sequence[BidRequest], *_given: Any, **_more: Any) -> list[Scored]:
        self.decided += len(requests)
        return [Scored([0], [0.0], [0]) for _ in requests]

    def intermediates(self, *_given: Any, **_more: Any) -> list[Mapping[str, float]]:
        return []


def test_a_failing_engine_fails_for_its_share_of_requests_and_for_the_same_ones_when_asked_again() -> None:
    engine = FailingEngine(cast("Engine", Inner()), 0.2)
    requests = [BidRequest(f"user-{number}", [Candidate("1")]) for number in range(1_000)]

    def fails(request: BidRequest) -> bool:
        try:
            engine.decide([request], np.zeros((1, 0)), at_us=7, pacing=1.0)
        except RuntimeError:
            return True
        return False

    failing = [fails(request) for request in requests]
    assert 0.1 < np.mean(failing) < 0.3
    assert [fails(request) for request in requests] == failing
    with pytest.raises(RuntimeError, match="planted"):
        engine.decide(requests, np.zeros((1_000, 0)), at_us=7, pacing=1.0)
    none = FailingEngine(cast("Engine", inner := Inner()), 0.0)
    none.decide(requests, none.look_up(requests), at_us=7, pacing=1.0)
    assert inner.decided == 1_000
