"""The hot path: what is decided together, what is too late, what is shed, what is counted and tried in the shadow."""

# ruff: noqa: ARG002  (a stand-in takes what the joint gives it, and needs little of it)

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any, cast

import pytest

from ml.serving.arms import Arm
from ml.serving.batcher import Batcher
from ml.serving.exchange import Exchange
from ml.serving.joints import Flag, Live, Slot
from ml.serving.limits import Limits
from ml.serving.messages import BidRequest, Scored
from ml.serving.metrics import Counters
from tests.serving.service.conftest import Served, body, limited, raw, until
from tests.serving.service.stubs import B, StubEngine, StubLog, StubSplit, StubTable


class Turn:
    """Takes what is to be done in this turn of the loop, and does it when told."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, work: Callable[[], None]) -> None:
        self.due.append(work)

    def call_later(self, seconds: float, work: Callable[[], None]) -> None:
        self.due.append(work)

    def run(self) -> None:
        due, self.due = self.due, []
        for work in due:
            work()


class Asked:
    """An exchange without a connection."""

    def __init__(self, content: bytes | None = None, *, age_s: float = 0.0, key: str = "u") -> None:
        self.body = json.dumps(body("x", "y", key=key)).encode() if content is None else content
        self.head_at = monotonic() - age_s
        self.gone = False
        self.traceparent = b""
        self.status = 0
        self.answer: dict[str, Any] = {}

    def reply(self, status: int, body: bytes, **more: Any) -> None:
        self.status, self.answer, self.more = status, json.loads(body), more


class Counting:
    """Counters of arms, in memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.failed_when_tried: list[bool] = []

    def record(self, arm: int, **row: Any) -> None:
        self.rows.append({"arm": arm, **row})

    def tried(self, *, failed: bool) -> None:
        self.failed_when_tried.append(failed)

    def beat(self, at_us: int) -> None: ...

    def close(self) -> None: ...


class Bench:
    """A batcher without sockets, whose turns a test makes."""

    def __init__(self, engine: StubEngine | None = None, **limits: Any) -> None:
        self.turn, self.counters, self.log = Turn(), Counters(), StubLog()
        self.engine = engine or StubEngine()
        self.batcher = Batcher(
            cast("asyncio.AbstractEventLoop", self.turn),
            limits=Limits(**({"deadline_s": 30.0} | limits)),
            counters=self.counters,
            events=self.log,
            now_us=lambda: 1_000_000,
        )
        self.arms = Counting()
        self.live = Live(arms=(Slot("stable", self.engine, 1),), generation=1, counters=self.arms)
        self.batcher.live = self.live

    def ask(self, *asked: Asked) -> None:
        for one in asked:
            self.batcher.submit(cast("Exchange", one))

    def finish(self) -> None:
        while self.turn.due:
            self.turn.run()


def test_what_came_in_the_same_turn_is_decided_together_and_nothing_waits_for_more() -> None:
    bench = Bench()
    asked = [Asked() for _ in range(5)]
    bench.ask(*asked)
    assert len(bench.turn.due) == 1
    bench.turn.run()
    assert bench.engine.calls == [5]
    assert [one.status for one in asked] == [200] * 5
    bench.ask(Asked())
    bench.turn.run()
    assert bench.engine.calls == [5, 1]
    assert bench.turn.due == []


def test_no_batch_is_larger_than_the_limit_and_the_rest_is_decided_in_the_next_turn() -> None:
    bench = Bench(batch=4)
    asked = [Asked() for _ in range(10)]
    bench.ask(*asked)
    bench.finish()
    assert bench.engine.calls == [4, 4, 2]
    assert all(one.status == 200 for one in asked)


def test_a_request_whose_deadline_has_passed_gets_no_bid_at_once_and_no_model_is_asked_for_it() -> None:
    bench = Bench(deadline_s=10.0)
    late, good = Asked(age_s=10.1, key="late"), Asked(key="good")
    bench.ask(late, good)
    bench.finish()
    assert (late.status, late.answer["step"], late.answer["bids"][0]["reason"]) == (200, "no_bid", "no_bid")
    assert good.answer["step"] == "model"
    assert bench.engine.calls == [1]
    assert bench.counters.late == 1
    assert {decision.request.key: decision.step for decision in bench.log.taken} == {"good": 0, "late": 4}


def test_an_answer_that_comes_too_late_is_told_and_logged_as_no_bid(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(deadline_s=10.0)
    asked = Asked()
    bench.ask(asked)
    began = monotonic()
    times = iter([began])
    monkeypatch.setattr("ml.serving.batcher.monotonic", lambda: next(times, began + 11.0))
    bench.finish()
    assert asked.answer["step"] == "no_bid"
    assert bench.log.taken[0].scored.bid_micros == [0, 0]
    assert bench.arms.rows[0]["flags"] == (Flag.LATE, Flag.FALLBACK)


def test_who_has_gone_is_not_decided_for() -> None:
    bench = Bench()
    gone = Asked()
    bench.ask(gone)
    gone.gone = True
    bench.finish()
    assert (bench.engine.calls, bench.log.taken) == ([], [])


def test_a_body_that_is_no_request_does_not_disturb_those_beside_it() -> None:
    bench = Bench()
    bad, good = Asked(b"{"), Asked()
    bench.ask(bad, good)
    bench.finish()
    assert (bad.status, good.status) == (400, 200)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    bench = Bench(queue=20)
    asked = [Asked() for _ in range(25)]
    bench.ask(*asked)
    assert [one.status for one in asked] == [0] * 20 + [429] * 5
    assert asked[-1].more["more"] == b"Retry-After: 1\r\n"
    bench.finish()
    assert [one.status for one in asked] == [200] * 20 + [429] * 5
    assert bench.counters.shed == 5


def test_while_nothing_more_may_wait_a_request_is_refused_and_probes_are_answered(make: Callable[..., Served]) -> None:
    served = make(limits=limited(queue=0, batch=0)).ready()
    for _ in range(3):
        found = served.client.post("/v1/bids", json=body("x"))
        assert (found.status_code, found.headers["Retry-After"]) == (429, "1")
        assert found.json()["next"].startswith("ask again")
    content = json.dumps(body("x")).encode()
    parsed = served.talk(raw(content=content, more="Connection: close\r\n"))
    assert parsed.startswith(b"HTTP/1.1 429")
    assert served.client.get("/readyz").status_code == 200
    assert served.worker.counters.status[429] == served.worker.counters.shed == 4


def test_each_request_is_counted_for_its_arm_with_what_is_true_of_it() -> None:
    bench = Bench()
    bench.batcher.live = Live(
        arms=(bench.live.arms[0], Slot("canary", StubEngine(B, fails=True), 1, 0.05)),
        split=StubSplit(),
        generation=1,
        counters=bench.arms,
    )
    bench.ask(Asked(key="0"), Asked(key="1"))
    bench.finish()
    rows = {row["arm"]: row for row in bench.arms.rows}
    assert (rows[0]["candidates"], rows[0]["bids"], rows[0]["bid_micros"], rows[0]["flags"]) == (2, 2, 3000, ())
    assert rows[1]["flags"] == (Flag.ERROR, Flag.FALLBACK, Flag.FALLBACK_MODEL)
    assert {decision.arm_name: decision.share for decision in bench.log.taken} == {"stable": 1.0, "canary": 0.05}


def shadowing(bench: Bench, candidate: StubEngine, champion: StubEngine | None = None) -> None:
    """Try a candidate beside the champion loaded afresh, on every request."""
    bench.batcher.live = replace(
        bench.live,
        shadow=Slot("shadow", candidate, 1),
        shadow_baseline=Slot("baseline", champion or StubEngine(), 1),
        shadow_share=1.0,
    )


def test_a_shadow_decides_off_the_answer_and_is_logged_as_one() -> None:
    bench, shadow = Bench(), StubEngine(B)
    shadowing(bench, shadow)
    asked = Asked()
    bench.ask(asked)
    bench.turn.run()
    assert asked.status == 200
    assert shadow.calls == []
    bench.finish()
    assert shadow.calls == [1]
    assert [(decision.digest, decision.shadow) for decision in bench.log.taken] == [
        (bench.engine.digest, False),
        (B, True),
    ]
    assert asked.answer["version"] == bench.engine.digest[:12]


def test_candidate_and_champion_are_counted_for_the_same_requests_of_the_shadow_and_the_stable_arm_for_answers() -> (
    None
):
    bench, champion, candidate = Bench(), StubEngine(), StubEngine(B, missing=1)
    shadowing(bench, candidate, champion)
    bench.ask(*[Asked(key=f"u{number}") for number in range(6)])
    bench.finish()
    assert (candidate.calls, champion.calls) == ([1] * 6, [1] * 6)
    arms = [row["arm"] for row in bench.arms.rows]
    assert [arms.count(arm) for arm in Arm] == [6, 6, 6]
    assert {row["flags"] for row in bench.arms.rows if row["arm"] == Arm.CANARY} == {(Flag.DEFAULTS,)}
    assert {row["bid_micros"] for row in bench.arms.rows} == {3000}
    assert {row["spend_micros"] for row in bench.arms.rows} == {1}
    assert sum(bench.counters.steps) == 6, "what was only tried is no traffic"


@pytest.mark.parametrize("fails", [False, True])
def test_a_canary_is_tried_on_what_the_other_arms_answered_and_only_its_failures_are_counted(fails: bool) -> None:
    bench, candidate = Bench(), StubEngine(B, fails=fails)
    arms = (bench.live.arms[0], Slot("baseline", StubEngine(), 1, 0.05), Slot("canary", candidate, 1, 0.05))
    bench.batcher.live = Live(
        arms=arms, split=StubSplit(), generation=1, counters=bench.arms, shadow=Slot("shadow", candidate, 1),
        shadow_share=1.0,
    )  # fmt: skip
    bench.ask(Asked(key="0"), Asked(key="1"), Asked(key="2"))
    bench.finish()
    assert bench.arms.failed_when_tried == [fails, fails], "the canary's own requests tell of it already"
    assert [row["arm"] for row in bench.arms.rows] == [0, 1, 2], "what was tried is no request of any arm"


def test_where_the_shadow_fails_its_error_is_counted_with_what_was_answered_instead() -> None:
    bench = Bench()
    shadowing(bench, StubEngine(B, fails=True))
    bench.ask(Asked())
    bench.finish()
    [row] = [row for row in bench.arms.rows if row["arm"] == Arm.CANARY]
    assert (row["bid_micros"], row["flags"]) == (3000, (Flag.ERROR, Flag.FALLBACK, Flag.FALLBACK_MODEL))


def test_a_shadow_that_takes_longer_than_the_deadline_is_counted_as_late_without_a_bid() -> None:
    bench = Bench(deadline_s=10.0)
    shadowing(bench, StubEngine(B))
    bench.ask(Asked())
    bench.turn.run()
    bench.batcher.shadow._deadline_s = 0.0
    bench.finish()
    [row] = [row for row in bench.arms.rows if row["arm"] == Arm.CANARY]
    assert (row["bids"], row["flags"]) == (0, (Flag.LATE, Flag.FALLBACK))


def test_a_shadow_waits_while_others_do_and_its_failure_is_nobodys() -> None:
    bench, shadow = Bench(), StubEngine(B, fails=True)
    shadowing(bench, shadow)
    bench.ask(Asked())
    bench.turn.run()
    [tried] = bench.turn.due
    bench.turn.due = []
    bench.ask(Asked())
    tried()
    assert shadow.calls == []
    bench.finish()
    assert len(shadow.calls) == 2
    assert [decision.shadow for decision in bench.log.taken] == [False, False]


def test_what_was_kept_for_a_shadow_is_not_counted_under_the_next_state_of_affairs() -> None:
    bench, shadow = Bench(), StubEngine(B)
    shadowing(bench, shadow)
    bench.ask(Asked())
    bench.turn.run()
    bench.batcher.shadow.forget()
    bench.finish()
    assert (shadow.calls, len(bench.arms.rows)) == ([], 1)


def test_over_a_socket_the_requests_of_many_callers_are_decided_together(served: Served) -> None:
    content = json.dumps(body("x")).encode()
    assert (
        served.talk(raw(content=content) * 15 + raw(content=content, more="Connection: close\r\n")).count(b"200 OK")
        == 16
    )
    engine = served.worker.batcher.live.arms[0].engine
    assert isinstance(engine, StubEngine)
    assert engine.calls[-1] == 16


def test_the_deadline_counts_from_the_head_of_the_request(make: Callable[..., Served]) -> None:
    served = make(limits=limited(deadline_s=0.05)).ready()
    content = json.dumps(body("x")).encode()
    whole = raw(content=content, more="Connection: close\r\n")
    with served.connect() as made:
        made.sendall(whole[:-1])
        [connection] = until(lambda: [*served.worker.service.connections])
        until(lambda: connection._exchange is not None and monotonic() - connection._exchange.head_at > 0.05)
        made.sendall(whole[-1:])
        answer = b"".join(iter(lambda: made.recv(65_536), b""))
    assert b'"step":"no_bid"' in answer


def test_what_is_expected_to_be_spent_is_the_sum_of_scores_and_never_more_than_the_bids() -> None:
    class Scores(StubEngine):
        def _scored(self, request: BidRequest) -> Scored:
            return Scored([1000, 0], [by[request.key], 0.0], [0, 0])

    by = {"usual": 250.9, "damaged": 1e300, "negative": -5.0}
    bench = Bench(Scores())
    bench.ask(*[Asked(key=key) for key in by])
    bench.finish()
    assert [row["spend_micros"] for row in bench.arms.rows] == [250, 1000, 0]


def test_last_published_bids_are_expected_to_cost_what_is_not_known() -> None:
    bench = Bench(StubEngine(fails=True))
    bench.batcher.live = replace(bench.live, table=StubTable())
    bench.ask(Asked())
    bench.finish()
    assert [(row["bid_micros"], row["spend_micros"]) for row in bench.arms.rows] == [(14, 0)]


def test_a_batch_that_takes_too_long_is_late_and_no_failure_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(deadline_s=10.0)
    now = [1000.0]
    for module in ("batcher", "ladder"):
        monkeypatch.setattr(f"ml.serving.{module}.monotonic", lambda: now[0])

    class Slow(StubEngine):
        def decide(self, *given: Any, **more: Any) -> list[Scored]:
            now[0] += 11.0
            return super().decide(*given, **more)

    bench.batcher.live = replace(bench.live, arms=(Slot("stable", Slow(), 1),))
    for _ in range(12):
        asked = Asked()
        asked.head_at = now[0]
        bench.ask(asked)
        bench.finish()
    assert [row["flags"] for row in bench.arms.rows] == [(Flag.LATE, Flag.FALLBACK)] * 12
    assert bench.batcher.ladder.failures == {}
