"""The hot path: requests that arrived in the same turn of the loop are decided together, answered, logged and counted.

Nothing here waits for anything, and nothing is done by another thread. A batch is what has arrived: when the loop has read
every connection that had something, the flush runs; an idle service decides a single request at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

import msgspec

from ml.core import tracing
from ml.serving.answers import Traces, encode_answer, encode_fault, no_bid
from ml.serving.counting import count, expected_spend
from ml.serving.exchange import Exchange, head
from ml.serving.joints import STABLE, STEP_NAMES, Decision, EventLog, Live, Slot, Step
from ml.serving.ladder import Ladder, Outcome
from ml.serving.limits import Limits
from ml.serving.messages import BidRequest, decode_request
from ml.serving.metrics import Counters
from ml.serving.shadow import Shadow
from ml.serving.shedding import PlainRequests, Shedding
from ml.serving.spans import tell
from ml.serving.spending import Spending

BUSY = encode_fault("more is asked than can be answered in time", "ask again after Retry-After, or start more workers")
_AGAIN = b"Retry-After: 1\r\n"
_BUSY_ANSWER = head(429, len(BUSY), more=_AGAIN) + b"\r\n" + BUSY
_START = b"POST /v1/bids HTTP/1.1\r\n"


class Batcher:
    """Decides what was asked.

    Args:
        loop: that everything runs on.
        limits: deadline, queue and batch among them.
        counters: of this worker.
        events: the event log.
        now_us: the present instant, microseconds since 1970, UTC.
        spending: what each partner's bids cost today, and how much of them is made; None: all of every bid.

    Attributes:
        live: what serves; exchanged by assignment, between two batches.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limits: Limits,
        counters: Counters,
        events: EventLog,
        now_us: Callable[[], int],
        spending: Spending | None = None,
    ) -> None:
        self.spending = spending or Spending(None)
        self.live = Live()
        self.ladder = Ladder()
        self.shadow = Shadow(loop, events, counters, idle=lambda: not self._queue, deadline_s=limits.deadline_s)
        self.shedding = Shedding(limits)
        self._loop = loop
        self._limits = limits
        self._counters = counters
        self._events = events
        self._now_us = now_us
        self._queue: deque[Exchange] = deque()
        self._due = False
        self._before: tuple[int, float] | None = None
        self._plain = PlainRequests(_START)
        self._traces = Traces()
        self._traced = tracing.on()

    @property
    def waiting(self) -> int:
        """How many requests wait to be decided."""
        return len(self._queue)

    def submit(self, exchange: Exchange) -> None:
        """Take a request to be decided in this turn of the loop; 429 at once when it would wait too long."""
        queue = self._queue
        if not self.shedding.admits(len(queue), exchange.head_at):
            self._counters.shed += 1
            self._counters.answered(429)
            exchange.reply(429, BUSY, more=_AGAIN)
            return
        queue.append(exchange)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush)

    def early(self, data: bytes, now: float) -> bytes | None:
        """The refusal of a request that came while nothing more may wait, before it is parsed; None where it may be.

        Nobody is asked for credentials here: who has none learns only that there is much to do.
        """
        if self.shedding.admits(len(self._queue), now) or not self._plain.is_one(data):
            return None
        self._counters.shed += 1
        self._counters.answered(429)
        return _BUSY_ANSWER

    def _flush(self) -> None:
        queue = self._queue
        began = monotonic()
        if self._before is not None:
            # Who waits, waits for what was read and refused between two batches, too.
            self.shedding.decided(self._before[0], began - self._before[1])
        batch = [queue.popleft() for _ in range(min(len(queue), self._limits.batch))]
        decided = 0
        try:
            decided = self._decide(batch, began)
        finally:
            if queue:
                # The loop reads the connections in between: what came meanwhile may be shed at once.
                self._before = (decided, began) if decided else None
                self._loop.call_soon(self._flush)
            else:
                self._due, self._before = False, None
                if decided:
                    self.shedding.decided(decided, monotonic() - began)
                self.shedding.empty(began)

    def _decide(self, batch: list[Exchange], began: float) -> int:
        """Decide, log and answer; how many were decided."""
        live, deadline_s = self.live, self._limits.deadline_s
        asked: list[tuple[Exchange, BidRequest]] = []
        requests: list[BidRequest] = []
        until: list[float] = []
        late: list[tuple[Exchange, BidRequest]] = []
        for exchange in batch:
            if exchange.gone:
                continue
            try:
                request = decode_request(exchange.body)
            except (ValueError, RecursionError, OverflowError) as error:
                self._counters.answered(400)
                exchange.reply(400, encode_fault(_said(error), "see /openapi.json"))
                continue
            give_up_at = exchange.head_at + deadline_s
            if began >= give_up_at:
                late.append((exchange, request))
                continue
            asked.append((exchange, request))
            requests.append(request)
            until.append(give_up_at)
        at_us = self._now_us()
        self.spending.turn(at_us)
        pace_of = self.spending.of
        answers: list[tuple[Exchange, bytes]] = []
        decisions: list[Decision] = []
        if requests:
            pacing = [pace_of(request.user.partner) for request in requests]
            outcomes = self.ladder.decide(live, requests, at_us=at_us, give_up_at=until, pacing=pacing)
            done = monotonic()
            for (exchange, request), outcome, pace in zip(asked, outcomes, pacing, strict=True):
                told = outcome if done < exchange.head_at + deadline_s else _too_late(outcome, request)
                decisions.append(self._told(live, exchange, request, told, at_us, pace, done, answers))
            self._counters.batch(len(requests))
        for exchange, request in late:
            told = _too_late(Outcome(no_bid(request), _arm(live, request), None, Step.NO_BID), request)
            pace = pace_of(request.user.partner)
            decisions.append(self._told(live, exchange, request, told, at_us, pace, began, answers))
        if decisions:
            # The log has a decision before its caller has the answer, so that it can say after a crash what it lost.
            self._events.append(decisions)
        for exchange, body in answers:
            exchange.reply(200, body)
        if requests and live.shadow is not None:
            self.shadow.offer(live, decisions[: len(requests)])
        return len(requests)

    def _told(
        self,
        live: Live,
        exchange: Exchange,
        request: BidRequest,
        outcome: Outcome,
        at_us: int,
        pace: float,
        done: float,
        answers: list[tuple[Exchange, bytes]],
    ) -> Decision:
        """Add the answer to `answers`, count it, and say what is to be logged."""
        scored, arm, slot, step = outcome.scored, outcome.arm, outcome.slot, outcome.step
        trace_id = self._traces.new()
        own = live.arms[arm] if live.arms else None
        name = own.name if own else "none"
        body = encode_answer(
            request,
            scored,
            trace_id=trace_id,
            version=slot.version if slot else "",
            generation=live.generation,
            arm=name,
            step=STEP_NAMES[step],
        )
        answers.append((exchange, body))
        seconds = done - exchange.head_at
        late = seconds >= self._limits.deadline_s
        counters = self._counters
        counters.answered(200)
        counters.late += late
        counters.decided(seconds, step, scored.reasons, name, scored.missing)
        spend = expected_spend(scored, step)
        self.spending.add(request.user.partner, scored, spend, step)
        if live.counters is not None and own is not None:
            count(live.counters, arm, scored, spend, step, seconds, late=late, failed=outcome.failed)
        decision = Decision(
            trace_id,
            at_us,
            request,
            exchange.body,
            slot.engine.digest if slot else "",
            slot.engine.plan if slot else live.plan if step is Step.TABLE else "",
            live.generation,
            arm,
            name,
            own.share if own else 0.0,
            step,
            pace,
            scored,
        )
        if exchange.traceparent and self._traced:
            tell(exchange.traceparent, decision, seconds=seconds)
        return decision


def _too_late(outcome: Outcome, request: BidRequest) -> Outcome:
    """The caller has given up: what it hears is that there is no bid."""
    slot: Slot | None = None
    return Outcome(no_bid(request), outcome.arm, slot, Step.NO_BID, outcome.failed)


def _arm(live: Live, request: BidRequest) -> int:
    if live.split is None or len(live.arms) < 2:
        return STABLE
    arm = live.split.arm(request.key)
    return arm if 0 <= arm < len(live.arms) else STABLE


def _said(error: Exception) -> str:
    """What is wrong with a body, without the body."""
    if isinstance(error, msgspec.MsgspecError):
        return str(error)
    return "the body is not UTF-8" if isinstance(error, UnicodeError) else "the body cannot be read"
