"""A candidate that decides too, off the answer: on a sample of requests, only while nothing else is to be done.

Candidate and champion (loaded afresh, so that cold caches cancel) decide the same requests one after the other, in turns first. What
they did is counted as the canary's and the baseline's, by the rules of what is answered, so that the judge of a rollout can tell
before any traffic is at stake. Nothing of it is an answer: in this state only the stable arm's counts are.

Beside a small canary the candidate is tried alone, on requests that others answered, and only whether it failed is counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from ml.serving.answers import Traces, no_bid
from ml.serving.arms import Arm
from ml.serving.counting import count, expected_spend
from ml.serving.joints import Decision, EventLog, Live, Slot, Step
from ml.serving.ladder import ask
from ml.serving.messages import Scored
from ml.serving.metrics import Counters

log = logging.getLogger("bidwright.serve")

_KEPT = 64
_PAUSE_S = 0.001
_REST = 4.0
"""It rests so many times as long as it worked: a slow candidate delays few requests, and is counted as late all the same."""

_ANSWERED = (Step.MODEL, Step.DEFAULTS, Step.PREVIOUS)


@dataclass(frozen=True)
class _Tried:
    """What an engine said of a request, None where it failed, and how long it took."""

    scored: Scored | None
    seconds: float


class Shadow:
    """Tries a candidate on requests that were answered already.

    Args:
        loop: that everything runs on.
        events: where its decisions go, marked as those of a shadow.
        counters: of this worker.
        idle: whether nothing waits to be decided.
        deadline_s: what takes longer is counted as late.
        draw: from 0 to 1, for the sample.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        events: EventLog,
        counters: Counters,
        *,
        idle: Callable[[], bool],
        deadline_s: float,
        draw: Callable[[], float] = random.random,  # noqa: S311  (a sample, no secret)
    ) -> None:
        self._loop, self._events, self._counters, self._idle, self._draw = loop, events, counters, idle, draw
        self._deadline_s = deadline_s
        self._kept: deque[tuple[Live, Decision]] = deque(maxlen=_KEPT)
        self._traces = Traces()
        self._due = False
        self._candidate_first = False
        self.failures = 0

    def offer(self, live: Live, decisions: Sequence[Decision]) -> None:
        """Keep a sample of these for a quiet moment; where none comes, the newest push the oldest out."""
        for decision in decisions:
            if decision.arm != Arm.CANARY and self._draw() < live.shadow_share:
                self._kept.append((live, decision))
        if self._kept and not self._due:
            self._due = True
            self._loop.call_later(_PAUSE_S, self._try)

    def forget(self) -> None:
        """Another state serves: what was kept belongs to the counters of the one before."""
        self._kept.clear()

    def _try(self) -> None:
        """Decide one, if nothing waits; come back for the next."""
        began = monotonic()
        if self._idle() and self._kept:
            self._decide(*self._kept.popleft())
        self._due = bool(self._kept)
        if self._due:
            self._loop.call_later(max(_PAUSE_S, _REST * (monotonic() - began)), self._try)

    def _decide(self, live: Live, answered: Decision) -> None:
        candidate, champion = live.shadow, live.shadow_baseline
        if candidate is None:
            return
        self._candidate_first = not self._candidate_first
        first = self._ask(candidate, answered) if self._candidate_first else None
        if champion is not None:
            compared = self._ask(champion, answered)
            self._count(live, Arm.BASELINE, compared, answered)
        tried = first or self._ask(candidate, answered)
        if champion is not None:
            self._count(live, Arm.CANARY, tried, answered)
        elif live.split is not None and live.counters is not None:
            live.counters.tried(failed=tried.scored is None)
        if tried.scored is not None:
            self._counters.shadowed += 1
            self._log(live, candidate, tried.scored, answered)

    def _ask(self, slot: Slot, answered: Decision) -> _Tried:
        began = monotonic()
        try:
            [scored] = ask(slot.engine, [answered.request], answered.at_us, [answered.pacing])
        except Exception as error:  # noqa: BLE001  (a shadow may fail as it likes; nobody waits for it)
            self.failures += 1
            if self.failures == 1:
                log.warning("the %s %s failed off the answer: %r", slot.name, slot.version, error)
            return _Tried(None, monotonic() - began)
        return _Tried(scored, monotonic() - began)

    def _count(self, live: Live, arm: Arm, tried: _Tried, answered: Decision) -> None:
        """As if it had been asked first: where it failed, what was answered instead counts; what is late is no bid."""
        if live.counters is None:
            return
        late, failed = tried.seconds >= self._deadline_s, tried.scored is None
        told = Step(answered.step)
        if tried.scored is not None:
            scored, step = tried.scored, Step.DEFAULTS if tried.scored.missing else Step.MODEL
        else:
            scored, step = answered.scored, Step.PREVIOUS if told in _ANSWERED else told
        if late:
            scored, step = no_bid(answered.request), Step.NO_BID
        spend = expected_spend(scored, step)
        count(live.counters, arm, scored, spend, step, tried.seconds, late=late, failed=failed)

    def _log(self, live: Live, slot: Slot, scored: Scored, answered: Decision) -> None:
        self._events.append(
            [
                Decision(
                    self._traces.new(),
                    answered.at_us,
                    answered.request,
                    answered.body,
                    slot.engine.digest,
                    slot.engine.plan,
                    live.generation,
                    0,
                    slot.name,
                    live.shadow_share,
                    Step.DEFAULTS if scored.missing else Step.MODEL,
                    answered.pacing,
                    scored,
                    shadow=True,
                )
            ]
        )
