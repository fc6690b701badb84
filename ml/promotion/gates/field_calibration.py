"""Gate 6: what is promised comes in every part of the market, not only in the sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.slices import FALSE_SHARE, discoveries
from ml.promotion.evidence import FieldEvidence, ModelEvidence
from ml.promotion.gates.base import GateResult, MissingEvidence, ModelGate, need


@dataclass(frozen=True)
class FieldCalibration(ModelGate):
    """Predicted over realised lies within `low` and `high` in every slice with at least `min_events` expected events.

    The limits are those of `calibration`: a value 0.8 times the truth costs about as much profit as one 1.15 times. Errors of different slices cancel in a sum and not in bids. A slice that is shown to be outside fails, with the share of false findings
    held at `false_share`. One whose estimate is outside, and whose interval leaves out 1, holds. The errors of all slices of a field together,
    each less what chance may do (1.6 standard errors), are held against `max_shown_error` of what came: half of the slices 10 % too high and half too low
    is no calibration. Slices with fewer events are told and decide nothing.
    """

    name: ClassVar[str] = "field_calibration"
    model_fields: ClassVar[tuple[str, ...]] = ("fields",)
    low: float = 0.80
    high: float = 1.15
    max_shown_error: float = 0.05
    min_events: float = 200.0
    min_days: int = 7
    false_share: float = FALSE_SHARE

    def examine_model(self, model: ModelEvidence) -> GateResult:
        """Number: predicted over realised of the slice furthest off."""
        fields = finite(need(model.fields, "its calibration by field"))
        judged = [one for one in fields if one.events >= self.min_events and one.ratio.days >= self.min_days]
        if not judged:
            reason = f"none of {len(fields)} slices has {self.min_events:g} expected events"
            return self.say(Verdict.PASS, reason, number=1.0, sample=0)
        for one in judged:
            if not one.ratio.finite:
                raise MissingEvidence(f"predicted over realised in {one.field} {one.label} is not finite")
        outside = discoveries(
            [min(2 * min(one.ratio.p_above(self.high), one.ratio.p_below(self.low)), 1.0) for one in judged],
            share=self.false_share,
        )
        failed = [one for one, found in zip(judged, outside, strict=True) if found]
        likely = [one for one in judged if not self.low <= one.ratio.mid <= self.high and not _holds_one(one)]
        error, field = max((_shown_error(judged, name), name) for name in {one.field for one in judged})
        worst = max(failed or likely or judged, key=lambda one: abs(math.log(max(one.ratio.mid, 1e-9))))
        reason = f"{worst.field} {worst.label} {worst.ratio.mid:.3f}; error shown over {field} {error:.1%}"
        verdict = Verdict.FAIL if failed else Verdict.HOLD if likely or error > self.max_shown_error else Verdict.PASS
        return self.say(
            verdict,
            f"{reason}, of {len(judged)} slices with support",
            number=worst.ratio.mid,
            threshold=self.high if worst.ratio.mid > 1 else self.low,
            interval=worst.ratio.interval(),
            sample=worst.rows,
        )


def finite(fields: tuple[FieldEvidence, ...]) -> tuple[FieldEvidence, ...]:
    """The slices, if their sums are numbers: one that is none would count as a slice without support."""
    for one in fields:
        for name in ("events", "predicted", "realised"):
            need(getattr(one, name), f"{name} in {one.field} {one.label}")
    return fields


def _holds_one(one: FieldEvidence) -> bool:
    interval = one.ratio.interval()
    return interval.low <= 1 <= interval.high


def _shown_error(judged: list[FieldEvidence], field: str) -> float:
    """Of what came in a field's slices, the share that was promised too much or too little beyond chance."""
    own = [one for one in judged if one.field == field]
    came = sum(one.realised for one in own)
    wrong = sum(max(abs(one.ratio.mid - 1) - 1.645 * one.ratio.error, 0.0) * one.realised for one in own)
    return wrong / came if came > 0 else math.nan
