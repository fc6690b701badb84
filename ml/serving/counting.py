"""How a decided request is counted for its arm: one definition for what is answered and for what a shadow tries."""

from __future__ import annotations

from ml.serving.joints import ArmCounters, Flag, Step
from ml.serving.messages import Reason, Scored

_MODEL, _TABLE = Step.MODEL, Step.TABLE
_FALLBACK = (Step.PREVIOUS, Step.TABLE, Step.NO_BID)
_OUT_OF_RANGE, _SAID_SO = int(Reason.OUT_OF_RANGE), Flag.OUT_OF_RANGE


def count(
    counters: ArmCounters,
    arm: int,
    scored: Scored,
    spend_micros: int,
    step: Step,
    seconds: float,
    *,
    late: bool,
    failed: bool,
) -> None:
    """Count a request of an arm.

    Args:
        counters: that the judge of a rollout reads.
        arm: that the request belongs to.
        scored: what was decided.
        spend_micros: what it is expected to cost, of `expected_spend`.
        step: of the ladder that decided it.
        seconds: that it took.
        late: whether its deadline was missed.
        failed: whether the arm's own model failed.
    """
    bids = scored.bid_micros
    flags: list[Flag] = []
    if step is not _MODEL or late or failed:
        flags = _flags(step, late=late, failed=failed)
    if _OUT_OF_RANGE in scored.reasons:
        flags.append(_SAID_SO)
    counters.record(
        arm,
        latency_us=int(seconds * 1e6),
        candidates=len(bids),
        bids=len(bids) - bids.count(0),
        bid_micros=sum(bids),
        spend_micros=spend_micros,
        flags=tuple(flags),
    )


def expected_spend(scored: Scored, step: Step) -> int:
    """What the bids are expected to cost: their scores, which are p_click x bid, or the bid without a click model.

    The last published bids have no probability of a click, and a bid for each would outweigh all others: not known, so 0.
    """
    total = sum(scored.bid_micros)
    if not total or step is _TABLE:
        return 0
    # A click is no more than certain, whatever a damaged model makes of it.
    return min(max(int(sum(scored.score)), 0), total)


def _flags(step: Step, *, late: bool, failed: bool) -> list[Flag]:
    true = {
        Flag.ERROR: failed,
        Flag.LATE: late,
        Flag.DEFAULTS: step is Step.DEFAULTS,
        Flag.FALLBACK: step in _FALLBACK,
        Flag.FALLBACK_MODEL: step is Step.PREVIOUS,
        Flag.FALLBACK_TABLE: step is Step.TABLE,
    }
    return [flag for flag, holds in true.items() if holds]
