"""A candidate that decides too, off the answer: on a sample, only while nothing else is to be done, and only for the log."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence

from ml.serving.answers import Traces
from ml.serving.joints import Decision, EventLog, Live, Step
from ml.serving.messages import BidRequest
from ml.serving.metrics import Counters

log = logging.getLogger("bidwright.serve")

_KEPT = 64
_PAUSE_S = 0.001


class Shadow:
    """Tries a candidate on requests that were answered already.

    Args:
        loop: that everything runs on.
        events: where its decisions go, marked as those of a shadow.
        counters: of this worker.
        idle: whether nothing waits to be decided.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        events: EventLog,
        counters: Counters,
        *,
        idle: Callable[[], bool],
        draw: Callable[[], float] = random.random,  # noqa: S311  (a sample, no secret)
    ) -> None:
        self._loop, self._events, self._counters, self._idle, self._draw = loop, events, counters, idle, draw
        self._kept: deque[tuple[Live, BidRequest, bytes, int]] = deque(maxlen=_KEPT)
        self._traces = Traces()
        self._due = False
        self.failures = 0

    def offer(self, live: Live, requests: Sequence[BidRequest], bodies: Sequence[bytes], at_us: int) -> None:
        """Keep a sample of these for a quiet moment; where none comes, the newest push the oldest out."""
        for request, body in zip(requests, bodies, strict=True):
            if self._draw() < live.shadow_share:
                self._kept.append((live, request, body, at_us))
        if self._kept and not self._due:
            self._due = True
            self._loop.call_later(_PAUSE_S, self._try)

    def _try(self) -> None:
        """Decide one, if nothing waits; come back for the next."""
        if self._idle() and self._kept:
            self._decide(*self._kept.popleft())
        self._due = bool(self._kept)
        if self._due:
            self._loop.call_later(_PAUSE_S, self._try)

    def _decide(self, live: Live, request: BidRequest, body: bytes, at_us: int) -> None:
        slot = live.shadow
        if slot is None:
            return
        try:
            features = slot.engine.look_up([request])
            [scored] = slot.engine.decide([request], features, at_us=at_us, pacing=live.pacing)
        except Exception as error:  # noqa: BLE001  (a shadow may fail as it likes; nobody waits for it)
            self.failures += 1
            if self.failures == 1:
                log.warning("the shadow %s failed: %r", slot.version, error)
            return
        self._counters.shadowed += 1
        step = Step.DEFAULTS if scored.missing else Step.MODEL
        self._events.append(
            [
                Decision(
                    self._traces.new(),
                    at_us,
                    request,
                    body,
                    slot.engine.digest,
                    slot.engine.plan,
                    live.generation,
                    0,
                    slot.name,
                    live.shadow_share,
                    step,
                    live.pacing,
                    scored,
                    shadow=True,
                )
            ]
        )
