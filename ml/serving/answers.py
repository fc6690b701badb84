"""What a caller is told: the form of an answer, ranked, and its trace id."""

from __future__ import annotations

import os
from itertools import count

import msgspec
from msgspec import Struct

from ml.serving.messages import BidRequest, Reason, Scored

REASON_NAMES = tuple(reason.name.lower() for reason in Reason)


class Bid(Struct, frozen=True, gc=False):
    """The bid of one candidate: micros per click (0: no bid), what it was ranked by, and the reason."""

    id: str
    bid_micros: int
    score: float
    reason: str


class Answer(Struct, frozen=True, gc=False):
    """The bids of one request, the best candidate first.

    Attributes:
        trace_id: names the decision in the event log; `bidwright explain` takes it.
        version: first 12 characters of the bundle's digest; empty where no model answered.
        generation: of the champion.
        arm: stable, baseline or canary.
        step: how far down the ladder it came from: model, defaults, previous, table, no_bid.
        missing: features of all candidates that were missing.
        bids: one per candidate.
    """

    trace_id: str
    version: str
    generation: int
    arm: str
    step: str
    missing: int
    bids: list[Bid]


class Fault(Struct, frozen=True):
    """Why a request was refused, and what to do."""

    error: str
    next: str = ""


_encode = msgspec.json.Encoder().encode


class Traces:
    """Trace ids of one process: 32 hex digits, the first half of them drawn at its start."""

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._number = count(int.from_bytes(os.urandom(4)))

    def new(self) -> str:
        """An id that was not given before."""
        return f"{self._prefix}{next(self._number):016x}"


def encode_answer(
    request: BidRequest, scored: Scored, *, trace_id: str, version: str, generation: int, arm: str, step: str
) -> bytes:
    """The body of an answer; candidates of the same score stay in the order in which they were asked."""
    bids, scores, reasons = scored.bid_micros, scored.score, scored.reasons
    candidates = request.candidates
    ranked = [
        Bid(candidates[at].id, bids[at], scores[at], REASON_NAMES[reasons[at]])
        for at in sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    ]
    return _encode(Answer(trace_id, version, generation, arm, step, scored.missing, ranked))


def encode_fault(error: str, next: str = "") -> bytes:
    """The body of a refusal."""
    return _encode(Fault(error, next))


def no_bid(request: BidRequest) -> Scored:
    """Nothing for any candidate, and said so."""
    size = len(request.candidates)
    return Scored([0] * size, [0.0] * size, [int(Reason.NO_BID)] * size)
