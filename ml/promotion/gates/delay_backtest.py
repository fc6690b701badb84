"""Gate 2b: what was foretold of late bookings some days ago has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import ModelEvidence
from ml.promotion.gates.base import GateResult, ModelGate, need


@dataclass(frozen=True)
class DelayBacktest(ModelGate):
    """The completion factors' error is not shown to be above `max_error`: two standard errors of counting are allowed for.

    Above it the gate holds, above `failed` it fails. Under `min_bookings` the error is reported and does not hold: it would be noise, and
    `label_maturity` holds where rows are too few.
    """

    name: ClassVar[str] = "delay_backtest"
    model_fields: ClassVar[tuple[str, ...]] = ("delay",)
    max_error: float = 0.03
    failed: float = 0.15
    min_bookings: int = 100

    def examine_model(self, model: ModelEvidence) -> GateResult:
        """Number: foretold over known by now, less 1."""
        delay = need(model.delay, "the error of its completion factors")
        if not delay.applies:
            return self.say(Verdict.PASS, "its labels are not late", number=0.0, threshold=self.max_error)
        bookings = need(delay.bookings, "the number of bookings of its backtest")
        if bookings < self.min_bookings:
            reason = f"{bookings} bookings are too few to judge completion factors by"
            return self.say(Verdict.PASS, reason, number=0.0, threshold=self.max_error, sample=bookings)
        error, spread = need(delay.error, "the error"), need(delay.spread, "the spread of the error")
        shown = math.copysign(max(abs(error) - 2 * spread, 0.0), error)
        reason = f"{error:+.1%} more bookings foretold of clicks {delay.age_days} days old than came, standard error {spread:.1%}"
        verdict = Verdict.PASS
        if abs(shown) > self.max_error:
            verdict = Verdict.FAIL if abs(shown) > self.failed else Verdict.HOLD
        return self.say(verdict, reason, number=error, threshold=self.max_error, sample=bookings)
