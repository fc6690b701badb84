"""Spans of requests whose callers ask for one: they send a sampled `traceparent`, and traces are on (`ml.core.tracing`)."""

from __future__ import annotations

from ml.core import tracing
from ml.serving.joints import STEP_NAMES, Decision

NAME = "POST /v1/bids"


def tell(traceparent: bytes, decision: Decision, *, seconds: float) -> None:
    """A span of a decided request, from the last byte of its head to its answer.

    Args:
        traceparent: as the caller sent it; what is none leaves no span.
        decision: what was decided, and when.
        seconds: that it took.
    """
    parent = traceparent.decode("ascii", "replace")
    if not tracing.sampled(parent):
        return
    tracing.finished(
        NAME,
        parent=parent,
        start_us=decision.at_us,
        end_us=decision.at_us + int(seconds * 1e6),
        attributes={
            "decision": decision.trace_id,
            "arm": decision.arm_name,
            "step": STEP_NAMES[decision.step],
            "generation": decision.generation,
            "version": decision.digest[:12],
            "candidates": len(decision.scored.bid_micros),
        },
    )
