"""What answers a batch of requests: the arm's model, else another warm bundle, else the last published bids, else nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from ml.serving.answers import no_bid
from ml.serving.engine_protocol import Engine
from ml.serving.joints import STABLE, Live, Slot, Step
from ml.serving.messages import BidRequest, Reason, Scored

log = logging.getLogger("bidwright.serve")

_OWN = (Reason.BID, Reason.DEFAULTS)
_MOST_MICROS = 10**12


class Outcome(NamedTuple):
    """How a request was decided: by which arm's right, by whom, from which step; whether the arm's own model failed."""

    scored: Scored
    arm: int
    slot: Slot | None
    step: Step
    failed: bool = False


class Breaker:
    """Stops asking an engine that fails again and again, and tries it once more after a while.

    Args:
        failures: so many in a row open it.
        pause_s: for so long it stays open.
    """

    def __init__(self, *, failures: int = 5, pause_s: float = 1.0) -> None:
        self._most, self._pause_s = failures, pause_s
        self._row = 0
        self._until = 0.0

    def lets(self, now: float) -> bool:
        """Whether the engine is to be asked."""
        return now >= self._until

    def succeeded(self) -> None:
        """It answered."""
        self._row = 0

    def failed(self, now: float) -> None:
        """It did not."""
        self._row += 1
        if self._row >= self._most:
            self._until = now + self._pause_s
            self._row = self._most - 1


class Ladder:
    """Decides batches; keeps a breaker per engine and arm that asks it.

    Per arm, because one engine may answer several: the champion those whose own model failed, and the champion before may be the canary
    again. Requests of one arm that no model can answer must not close an engine to another arm, nor count as errors of the canary's.

    An engine that is slow has not failed: what came too late is counted as late by whoever knows the deadline. To go round it
    would spare no request that is late already, and a machine whose processor is taken away would look like a broken model.

    Attributes:
        failures: of each arm's engine, and of the table.
    """

    def __init__(self) -> None:
        self._breakers: dict[tuple[int, int], tuple[Engine, Breaker]] = {}
        self.failures: dict[str, int] = {}

    def decide(
        self,
        live: Live,
        requests: Sequence[BidRequest],
        *,
        at_us: int,
        give_up_at: Sequence[float],
        pacing: Sequence[float],
    ) -> list[Outcome]:
        """One outcome per request, in order; never raises.

        Args:
            live: what serves now.
            requests: of one batch.
            at_us: the instant of the decision, microseconds since 1970, UTC.
            give_up_at: per request the end of its deadline, seconds of the monotonic clock: once it has passed, no
                further model is tried for it.
            pacing: per request the multiplier of its bids, 0 to 1.
        """
        if not live.arms:
            return [
                self._other(live, STABLE, request, at_us, until, pace)
                for request, until, pace in zip(requests, give_up_at, pacing, strict=True)
            ]
        if live.split is None or len(live.arms) == 1:
            return self._of_arm(live, STABLE, requests, at_us, give_up_at, pacing)
        arm_of, arms = live.split.arm, len(live.arms)
        chosen = [arm if 0 <= (arm := arm_of(request.key)) < arms else STABLE for request in requests]
        first = chosen[0]
        if chosen.count(first) == len(chosen):
            return self._of_arm(live, first, requests, at_us, give_up_at, pacing)
        outcomes: list[Outcome | None] = [None] * len(requests)
        for arm in {*chosen}:
            places = [place for place, own in enumerate(chosen) if own == arm]
            some = [requests[place] for place in places]
            until, paces = [give_up_at[place] for place in places], [pacing[place] for place in places]
            found = self._of_arm(live, arm, some, at_us, until, paces)
            for place, outcome in zip(places, found, strict=True):
                outcomes[place] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def forget(self, live: Live) -> None:
        """Keep breakers only of the engines that can still be asked."""
        kept = {id(slot.engine) for slot in live.slots}
        self._breakers = {key: found for key, found in self._breakers.items() if key[0] in kept}

    def _of_arm(
        self,
        live: Live,
        arm: int,
        requests: Sequence[BidRequest],
        at_us: int,
        give_up_at: Sequence[float],
        pacing: Sequence[float],
    ) -> list[Outcome]:
        slot = live.arms[arm]
        found = self._asked(slot, arm, requests, at_us, pacing)
        if None not in found:
            return [
                Outcome(scored, arm, slot, Step.DEFAULTS if scored.missing else Step.MODEL)
                for scored in found
                if scored is not None
            ]
        return [
            Outcome(scored, arm, slot, Step.DEFAULTS if scored.missing else Step.MODEL)
            if scored is not None
            else self._other(live, arm, request, at_us, until, pace)
            for scored, request, until, pace in zip(found, requests, give_up_at, pacing, strict=True)
        ]

    def _asked(
        self, slot: Slot, arm: int, requests: Sequence[BidRequest], at_us: int, pacing: Sequence[float]
    ) -> list[Scored | None]:
        """What an engine says; where it fails on several together, on each alone, so that one spoils none of the others."""
        breaker = self._breaker(slot.engine, arm)
        if not breaker.lets(monotonic()):
            return [None] * len(requests)
        try:
            found = ask(slot.engine, requests, at_us, pacing)
        except Exception as error:  # noqa: BLE001  (whatever a model does, the next step answers)
            self._note(slot, error, breaker)
        else:
            breaker.succeeded()
            return list(found)
        if len(requests) == 1:
            return [None]
        return [
            self._asked(slot, arm, [request], at_us, [pace])[0] for request, pace in zip(requests, pacing, strict=True)
        ]

    def _other(self, live: Live, arm: int, request: BidRequest, at_us: int, until: float, pace: float) -> Outcome:
        """The other warm bundles in turn: the champion, where the arm is not its, then the champion before."""
        own = live.arms[arm] if live.arms else None
        for slot in (live.arms[STABLE] if live.arms else None, live.previous):
            if slot is None or slot is own or monotonic() >= until:
                continue
            scored = self._asked(slot, arm, [request], at_us, [pace])[0]
            if scored is not None:
                scored.reasons = [Reason.FALLBACK_MODEL if reason in _OWN else reason for reason in scored.reasons]
                return Outcome(scored, arm, slot, Step.PREVIOUS, failed=own is not None)
        return self._below(live, request, arm, pace, failed=own is not None)

    def _below(self, live: Live, request: BidRequest, arm: int, pace: float, *, failed: bool) -> Outcome:
        """The last published bids, else no bid."""
        if live.table is not None:
            try:
                scored = _paced(live.table.bids(request), pace)
                _check(scored, len(request.candidates))
            except Exception as error:  # noqa: BLE001  (no bid is always left)
                self._count("table")
                log.warning("the last published bids could not be read: %r", error)
            else:
                return Outcome(scored, arm, None, Step.TABLE, failed)
        return Outcome(no_bid(request), arm, None, Step.NO_BID, failed)

    def _breaker(self, engine: Engine, arm: int) -> Breaker:
        key = (id(engine), arm)
        found = self._breakers.get(key)
        if found is None or found[0] is not engine:
            self._breakers[key] = found = (engine, Breaker())
        return found[1]

    def _note(self, slot: Slot, error: Exception, breaker: Breaker) -> None:
        breaker.failed(monotonic())
        self._count(slot.name)
        if self.failures[slot.name] in _TOLD or self.failures[slot.name] % 1000 == 0:
            log.warning(
                "the model %s of arm %s failed, %d times by now: %r",
                slot.version,
                slot.name,
                self.failures[slot.name],
                error,
            )

    def _count(self, name: str) -> None:
        self.failures[name] = self.failures.get(name, 0) + 1


_TOLD = {1, 10, 100}
"""Of so many failures each is logged; a broken model must not fill the disk with its complaints."""


def ask(engine: Engine, requests: Sequence[BidRequest], at_us: int, pacing: Sequence[float]) -> list[Scored]:
    """What an engine says, if it has the form of an answer; ValueError otherwise. `pacing`: one multiplier per request."""
    features, first = engine.look_up(requests), pacing[0]
    together = first if pacing.count(first) == len(pacing) else pacing
    found = engine.decide(requests, features, at_us=at_us, pacing=together)
    if len(found) != len(requests):
        raise ValueError(f"{len(found)} answers to {len(requests)} requests")
    for scored, request in zip(found, requests, strict=True):
        _check(scored, len(request.candidates))
    return found


def _check(scored: Scored, size: int) -> None:
    bids, scores, reasons = scored.bid_micros, scored.score, scored.reasons
    if not len(bids) == len(scores) == len(reasons) == size:
        raise ValueError("an answer does not have one entry per candidate")
    if min(bids) < 0 or max(bids) > _MOST_MICROS:
        raise ValueError("a bid is not within its range")
    total = sum(scores)
    if total - total != 0:
        raise ValueError("a score is not finite")
    if min(reasons) < 0 or max(reasons) >= _REASONS:
        raise ValueError("a reason is not known")


def _paced(scored: Scored, pace: float) -> Scored:
    """Published bids, as much of them as the day's budget has left."""
    if not pace < 1:
        return scored
    scored.reasons = [
        int(Reason.PACED) if bid > 0 and int(bid * pace) == 0 else reason
        for bid, reason in zip(scored.bid_micros, scored.reasons, strict=True)
    ]
    scored.bid_micros = [int(bid * pace) for bid in scored.bid_micros]
    scored.score = [score * pace for score in scored.score]
    return scored


_REASONS = len(Reason)
