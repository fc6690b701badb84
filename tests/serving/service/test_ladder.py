"""The ladder: model, defaults, another warm bundle, the last published bids, no bid; each when those above fail."""

# ruff: noqa: ARG002  (a stand-in takes what the joint gives it, and needs little of it)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from ml.serving.joints import Live, Slot, Step
from ml.serving.ladder import Breaker, Ladder, Outcome
from ml.serving.messages import BidRequest, Candidate, Reason, Scored
from tests.serving.service.stubs import B, C, Matrix, StubEngine, StubSplit, StubTable

NEVER = math.inf


def asked(*keys: str) -> list[BidRequest]:
    return [BidRequest(key, [Candidate("x"), Candidate("y")]) for key in keys or ("u",)]


def live(*engines: StubEngine, **more: Any) -> Live:
    """The engines as arms; the first is the champion."""
    arms = tuple(Slot(f"arm{n}", engine, 1) for n, engine in enumerate(engines))
    return Live(arms=arms, split=StubSplit(), generation=1, **more)


def decide(
    state: Live, requests: Sequence[BidRequest], ladder: Ladder | None = None, until: float = NEVER
) -> list[Outcome]:
    return (ladder or Ladder()).decide(
        state, requests, at_us=0, give_up_at=[until] * len(requests), pacing=[1.0] * len(requests)
    )


def reasons(outcome: Outcome) -> set[Reason]:
    return {Reason(reason) for reason in outcome.scored.reasons}


def test_the_model_answers() -> None:
    [found] = decide(live(StubEngine()), asked())
    assert (found.step, found.scored.bid_micros, found.failed) == (Step.MODEL, [1000, 2000], False)


def test_missing_features_take_defaults_and_are_flagged() -> None:
    [found] = decide(live(StubEngine(missing=3)), asked())
    assert (found.step, found.scored.missing, reasons(found)) == (Step.DEFAULTS, 3, {Reason.DEFAULTS})


def test_when_the_model_fails_the_champion_before_answers_and_says_so() -> None:
    state = live(StubEngine(fails=True), previous=Slot("previous", StubEngine(B), 1), table=StubTable())
    [found] = decide(state, asked())
    assert (found.step, reasons(found), found.failed) == (Step.PREVIOUS, {Reason.FALLBACK_MODEL}, True)
    assert found.slot is not None
    assert found.slot.engine.digest == B


def test_when_the_canary_fails_the_champion_answers_and_the_failure_is_the_canarys() -> None:
    state = live(StubEngine(), StubEngine(B, fails=True), previous=Slot("previous", StubEngine(C), 1))
    [found] = decide(state, asked("1-key"))
    assert (found.arm, found.step, found.failed) == (1, Step.PREVIOUS, True)
    assert found.slot is state.arms[0]


def test_when_no_model_answers_the_last_published_bids_do() -> None:
    broken = StubEngine(fails=True)
    [found] = decide(live(broken, previous=Slot("previous", broken, 1), table=StubTable()), asked())
    assert (found.step, reasons(found), found.scored.bid_micros) == (Step.TABLE, {Reason.FALLBACK_TABLE}, [7, 7])


def test_when_nothing_answers_there_is_an_explicit_no_bid() -> None:
    class Broken:
        def bids(self, request: BidRequest) -> Scored:
            raise OSError("gone")

    for table in (None, Broken()):
        [found] = decide(live(StubEngine(fails=True), table=table), asked())
        assert (found.step, reasons(found), found.scored.bid_micros) == (Step.NO_BID, {Reason.NO_BID}, [0, 0])


def test_without_any_champion_the_one_before_answers() -> None:
    [found] = decide(Live(previous=Slot("previous", StubEngine(B), 1)), asked())
    assert found.step is Step.PREVIOUS
    [found] = decide(Live(), asked())
    assert found.step is Step.NO_BID


def test_one_request_that_breaks_the_model_spoils_none_of_the_others() -> None:
    state = live(StubEngine(fails_on="bad"), table=StubTable())
    steps = [found.step for found in decide(state, asked("a", "bad", "b"))]
    assert steps == [Step.MODEL, Step.TABLE, Step.MODEL]


def test_each_request_is_decided_by_its_arm_and_answers_keep_their_order() -> None:
    first, second = StubEngine(), StubEngine(B)
    found = decide(live(first, second), asked("0a", "1a", "0b", "1b", "9x"))
    assert [outcome.arm for outcome in found] == [0, 1, 0, 1, 0]
    assert [outcome.slot.engine for outcome in found if outcome.slot] == [first, second, first, second, first]
    assert (first.calls, second.calls) == ([3], [2])


class Odd(StubEngine):
    """Answers in a form that is no answer."""

    def __init__(self, scored: list[Scored]) -> None:
        super().__init__()
        self._scored_all = scored

    def decide(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: float) -> list[Scored]:
        return self._scored_all


@pytest.mark.parametrize(
    "scored",
    [
        [],
        [Scored([1, 2], [1.0, 2.0], [0, 0])] * 2,
        [Scored([1], [1.0], [0])],
        [Scored([1, 2], [1.0], [0, 0])],
        [Scored([-1, 2], [1.0, 2.0], [0, 0])],
        [Scored([1, 10**13], [1.0, 2.0], [0, 0])],
        [Scored([1, 2], [1.0, math.nan], [0, 0])],
        [Scored([1, 2], [1.0, math.inf], [0, 0])],
        [Scored([1, 2], [1.0, 2.0], [0, 99])],
        [Scored([1, 2], [1.0, 2.0], [0, -1])],
    ],
    ids=range(10),
)
def test_what_has_not_the_form_of_an_answer_counts_as_a_failure_and_is_never_told(scored: list[Scored]) -> None:
    [found] = decide(live(Odd(scored), table=StubTable()), asked())
    assert (found.step, found.failed) == (Step.TABLE, True)


def test_after_the_deadline_no_further_model_is_tried() -> None:
    previous = StubEngine(B)
    state = live(StubEngine(fails=True), previous=Slot("previous", previous, 1), table=StubTable())
    [found] = decide(state, asked(), until=0.0)
    assert (found.step, previous.calls) == (Step.TABLE, [])


def test_a_model_that_fails_again_and_again_is_not_asked_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("ml.serving.ladder.monotonic", lambda: now[0])
    broken = StubEngine(fails=True)
    state, ladder = live(broken, table=StubTable()), Ladder()
    for _ in range(20):
        decide(state, asked(), ladder)
    assert len(broken.calls) == 5
    now[0] += 1.0
    broken.fails = False
    [found] = decide(state, asked(), ladder)
    assert found.step is Step.MODEL


def test_requests_that_no_model_can_answer_are_not_held_against_a_canary_that_is_the_champion_before() -> None:
    """It is asked for each that failed with the champion; five of them in a row would close it to its own callers."""
    champion, again = StubEngine(fails_on="0-bad"), StubEngine(B, fails_on="0-bad")
    state, ladder = live(champion, again, previous=Slot("previous", again, 1), table=StubTable()), Ladder()
    bad = decide(state, asked(*["0-bad"] * 12), ladder)
    assert {(found.arm, found.step, found.failed) for found in bad} == {(0, Step.TABLE, True)}
    assert 5 <= sum(again.calls) < 12, "not injected: it was not asked until it was left alone"
    own = decide(state, asked("1-good", "1-more"), ladder)
    assert [(found.arm, found.step, found.failed) for found in own] == [(1, Step.MODEL, False)] * 2


def test_requests_of_a_canary_that_no_model_can_answer_close_the_champion_to_nobody_else() -> None:
    champion, canary = StubEngine(fails_on="1-bad"), StubEngine(B, fails=True)
    state, ladder = live(champion, canary, table=StubTable()), Ladder()
    decide(state, asked(*["1-bad"] * 12), ladder)
    assert 5 <= sum(champion.calls) < 12, "not injected: it was not asked until it was left alone"
    [own] = decide(state, asked("0-good"), ladder)
    assert (own.arm, own.step, own.failed) == (0, Step.MODEL, False)


def test_a_model_that_is_slow_has_not_failed_and_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("ml.serving.ladder.monotonic", lambda: now[0])

    class Slow(StubEngine):
        def decide(
            self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: float
        ) -> list[Scored]:
            now[0] += 1.0
            return super().decide(requests, features, at_us=at_us, pacing=pacing)

    state, ladder = live(Slow(), table=StubTable()), Ladder()
    found = [decide(state, asked(), ladder)[0] for _ in range(12)]
    assert [(one.step, one.failed) for one in found] == [(Step.MODEL, False)] * 12
    assert ladder.failures == {}


def test_a_new_engine_starts_without_the_failures_of_the_one_before() -> None:
    ladder = Ladder()
    for _ in range(5):
        decide(live(StubEngine(fails=True)), asked(), ladder)
    ladder.forget(state := live(StubEngine()))
    assert decide(state, asked(), ladder)[0].step is Step.MODEL


def test_a_breaker_that_was_tried_in_vain_opens_at_once_again() -> None:
    breaker = Breaker(failures=2, pause_s=1.0)
    breaker.failed(0.0)
    assert breaker.lets(0.0)
    breaker.failed(0.0)
    assert not breaker.lets(0.9)
    assert breaker.lets(1.0)
    breaker.failed(1.0)
    assert not breaker.lets(1.9)
    breaker.succeeded()
    breaker.failed(3.0)
    assert breaker.lets(3.0)
