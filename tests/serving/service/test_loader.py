"""What serves follows the ledger: swaps, refusals, a dead database, small arms, what stays warm."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from ml.core.errors import StoreUnavailable
from ml.serving import loader as module
from ml.serving.joints import Live, Wanted, WantedArm
from ml.serving.loader import Loader, models
from tests.serving.service.stubs import A, B, C, StubEngine, StubSource, StubTable


class Loading:
    """A loader whose steps a test makes."""

    def __init__(self, source: StubSource, kept: Path | None = None) -> None:
        self.source, self.live, self.swaps = source, Live(), 0
        self.loader = Loader(source, self._swap, now_us=lambda: 0, kept=kept)

    def _swap(self, live: Live) -> None:
        self.live, self.swaps = live, self.swaps + 1

    def step(self, now: Wanted | None = None) -> Live:
        if now is not None:
            self.source.now = now
        asyncio.run(self.loader.step())
        return self.live

    def digests(self) -> list[str]:
        return [slot.engine.digest for slot in self.live.arms]


def wanted(*digests: Any, generation: int = 1, **more: Any) -> Wanted:
    names = ("stable", "baseline", "canary")
    arms = tuple(WantedArm(name, digest) for name, digest in zip(names, digests, strict=False))
    return Wanted(generation, arms, **more)


def test_a_champion_is_loaded_warmed_and_put_into_service_once() -> None:
    loading = Loading(StubSource())
    loading.step(wanted(A))
    loading.step()
    assert (loading.digests(), loading.swaps, loading.live.generation) == ([A], 1, 1)
    [engine] = loading.source.made
    assert engine.calls, "it answered before anybody depended on it"


def test_a_new_champion_takes_over_and_the_one_before_stays_warm_so_that_going_back_loads_nothing() -> None:
    loading = Loading(StubSource())
    loading.step(wanted(A))
    first = loading.live.arms[0].engine
    loading.step(wanted(B, generation=2, previous=A))
    assert loading.live.previous is not None
    assert loading.live.previous.engine is first
    loading.step(wanted(A, generation=3, previous=B))
    assert loading.live.arms[0].engine is first
    assert len(loading.source.made) == 2


def test_what_is_garbage_when_the_champion_changes_is_not_kept_for_ever() -> None:
    class Circle:
        def __init__(self) -> None:
            self.itself = self

    loading = Loading(StubSource())
    loading.step(wanted(A))
    gc.disable()
    try:
        gone = weakref.ref(Circle())
        assert gone() is not None, "it waits for the collector"
        loading.step(wanted(B, generation=2))
    finally:
        gc.enable()
    gc.collect()
    assert gone() is None


def test_a_refused_bundle_is_named_and_what_served_goes_on(monkeypatch: Any) -> None:
    loading = Loading(StubSource())
    before = loading.step(wanted(A))
    loading.source.refuses = {B}
    assert loading.step(wanted(B, generation=2, previous=A)) is before
    told = models(loading.live, loading.loader, {})
    assert told["refused"] == [{"digest": B, "why": "the bundle is refused: it is not signed"}]
    assert [arm["digest"] for arm in told["arms"]] == [A]
    loading.source.refuses = set()
    loading.step()
    assert loading.digests() == [A], "it is not tried again at once"
    monkeypatch.setattr(module, "monotonic", lambda: float("inf"))
    loading.step()
    assert (loading.digests(), loading.loader.refused) == ([B], {})


def test_a_champion_that_cannot_answer_is_refused_like_one_that_cannot_be_read() -> None:
    class Broken(StubSource):
        def engine(self, digest: Any, plan: str) -> StubEngine:
            made = super().engine(digest, plan)
            made.fails = digest == B
            return made

    loading = Loading(Broken())
    loading.step(wanted(A))
    loading.step(wanted(B, generation=2))
    assert loading.digests() == [A]
    assert "RuntimeError" in loading.loader.refused[B].why


def test_at_a_start_with_a_refused_champion_the_one_before_answers() -> None:
    source = StubSource()
    source.refuses = {B}
    loading = Loading(source)
    live = loading.step(wanted(B, generation=2, previous=A))
    assert live.arms == ()
    assert live.previous is not None
    assert live.previous.engine.digest == A
    assert "not signed" in live.why_not


def test_a_dead_database_freezes_the_version_and_nothing_else() -> None:
    loading = Loading(StubSource())
    before = loading.step(wanted(A))
    loading.source.dead = True
    assert loading.step(wanted(B, generation=2)) is before
    assert "cannot be reached" in models(loading.live, loading.loader, {})["ledger"]
    loading.source.dead = False
    loading.step()
    assert (loading.digests(), loading.loader.trouble) == ([B], "")


def test_a_worker_that_starts_while_the_database_is_dead_serves_what_was_served_last(tmp_path: Path) -> None:
    kept = tmp_path / "serving" / "m.json"
    Loading(StubSource(), kept).step(wanted(A, generation=4))
    source = StubSource()
    source.dead = True
    loading = Loading(source, kept)
    loading.step()
    assert (loading.digests(), loading.live.generation) == ([A], 4)
    kept.write_text("{half")
    again = Loading(source, kept)
    assert again.step().arms == ()


def test_a_ledger_that_lost_its_champion_stops_nobody() -> None:
    loading = Loading(StubSource())
    before = loading.step(wanted(A))
    assert loading.step(Wanted()) is before


def test_the_baseline_is_the_champion_loaded_afresh_and_the_canary_its_own() -> None:
    loading = Loading(StubSource())
    loading.step(wanted(A))
    live = loading.step(wanted(A, A, B, rollout=1))
    assert loading.digests() == [A, A, B]
    assert live.arms[0].engine is not live.arms[1].engine
    assert live.split is not None
    assert len(loading.source.made) == 3


def test_a_canary_that_is_refused_gets_no_request_and_the_champion_serves_alone() -> None:
    source = StubSource()
    source.refuses = {B}
    loading = Loading(source)
    live = loading.step(wanted(A, A, B, rollout=1))
    assert (loading.digests(), live.split, live.arms[0].share) == ([A], None, 1.0)
    assert B in loading.loader.refused


def test_a_new_plan_makes_new_engines_and_a_new_table() -> None:
    source = StubSource()
    source.tables = StubTable()
    loading = Loading(source)
    loading.step(wanted(A, plan="p1"))
    loading.step(wanted(A, plan="p2"))
    assert [engine.plan for engine in source.made] == ["p1", "p2"]
    assert (loading.live.plan, loading.live.table) == ("p2", source.tables)


class Counting:
    """Counters that say whether they are closed, and what they were told of the candidate."""

    def __init__(self) -> None:
        self.closed = False
        self.told: list[str] = []

    def record(self, arm: int, **row: Any) -> None: ...

    def tried(self, *, failed: bool) -> None: ...

    def refuse(self, why: str) -> None:
        self.told.append(why)

    def beat(self, at_us: int) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_counters_are_new_for_a_new_state_of_affairs_and_the_old_are_closed_after_the_swap() -> None:
    source = StubSource()
    loading = Loading(source)
    source.counting = first = Counting()
    loading.step(wanted(A))
    source.counting = second = Counting()
    loading.step(wanted(A, salt="another"))
    assert loading.live.counters is first
    loading.step(wanted(B, generation=2))
    assert loading.live.counters is second
    assert (first.closed, second.closed) == (True, False)


@pytest.mark.parametrize("now", [{"shadow": B, "shadow_share": 0.1}, {}], ids=["shadow", "canary"])
def test_the_judge_is_told_of_a_candidate_that_cannot_be_loaded_and_when_it_can(
    now: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = StubSource()
    source.counting = told = Counting()
    source.refuses = {B}
    loading = Loading(source)
    asked = wanted(A, rollout=1, **now) if now else wanted(A, A, B, rollout=1)
    loading.step(asked)
    assert told.told == ["the bundle is refused: it is not signed"]
    source.refuses = set()
    monkeypatch.setattr(module, "monotonic", lambda: float("inf"))
    loading.step()
    assert told.told[-1] == ""


def test_what_is_not_the_candidates_fault_is_not_held_against_it() -> None:
    class Unreachable(StubSource):
        def engine(self, digest: Any, plan: str) -> StubEngine:
            if digest == B:
                raise StoreUnavailable("the blob store cannot be reached")
            return super().engine(digest, plan)

    source = Unreachable()
    source.counting = told = Counting()
    loading = Loading(source)
    loading.step(wanted(A, A, B, rollout=1))
    assert B in loading.loader.refused
    assert told.told == [""]


def test_a_shadow_is_warm_beside_what_serves() -> None:
    loading = Loading(StubSource())
    live = loading.step(wanted(A, shadow=C, shadow_share=0.1))
    assert live.shadow is not None
    assert (live.shadow.engine.digest, live.shadow_share) == (C, 0.1)
    assert live.shadow_baseline is not None
    assert live.shadow_baseline.engine is not live.arms[0].engine
    assert [slot["arm"] for slot in models(live, loading.loader, {})["warm"]] == ["shadow", "baseline"]


def test_a_canary_that_is_tried_beside_its_share_is_one_engine_and_has_its_baseline_among_the_arms() -> None:
    loading = Loading(StubSource())
    live = loading.step(wanted(A, A, B, rollout=1, shadow=B, shadow_share=0.1))
    assert live.shadow is not None
    assert (live.shadow.engine, live.shadow_baseline) == (live.arms[2].engine, None)


def test_what_was_tried_in_the_shadow_answers_as_the_canary_and_the_champion_without_being_loaded_again() -> None:
    loading = Loading(StubSource())
    shadow = loading.step(wanted(A, rollout=1, shadow=B, shadow_share=0.1))
    canary = loading.step(wanted(A, A, B, rollout=1, analysis=1))
    assert shadow.shadow is not None
    assert shadow.shadow_baseline is not None
    assert [slot.engine for slot in canary.arms[1:]] == [shadow.shadow_baseline.engine, shadow.shadow.engine]
    promoted = loading.step(wanted(B, generation=2, previous=A))
    assert promoted.previous is not None
    assert [promoted.arms[0].engine, promoted.previous.engine] == [shadow.shadow.engine, shadow.arms[0].engine]
    assert len(loading.source.made) == 3
