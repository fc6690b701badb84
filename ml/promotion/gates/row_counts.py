"""Gate 1b: about as many rows came as the season lets expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence, RowCount
from ml.promotion.gates.base import Gate, GateResult, need, severest


@dataclass(frozen=True)
class RowCounts(Gate):
    """Rows of the last days over the expected ones lie within `max_change` of 1, beyond twice the error of counting.

    Beyond it the gate holds: a holiday looks like an outage, and a day more tells them apart. Beyond `lost` it fails: a model that is judged on a
    tracking outage is judged on nothing. A table too young or too small for a forecast is reported, and does not hold. Clicks and the bookings of
    clicks follow our own bids, so that they are not counted where there are auctions.
    """

    name: ClassVar[str] = "row_counts"
    reads: ClassVar[tuple[str, ...]] = ("row_counts",)
    max_change: float = 0.30
    lost: float = 0.70
    min_expected: float = 200.0

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: rows over expected rows less 1, of the table that is worst off."""
        counts = need(evidence.row_counts, "the number of rows of each table")
        return severest((self._table(count) for count in counts), missing="the number of rows of any table")

    def _table(self, count: RowCount) -> GateResult:
        if count.expected is not None:
            need(count.expected, f"the number of rows to expect of {count.table}")
        if count.expected is None or count.rows is None or count.expected < self.min_expected:
            reason = f"{count.table}: too few rows or weeks to expect a number"
            return self.say(Verdict.PASS, reason, number=0.0, threshold=self.max_change, sample=count.rows or 0)
        change = count.rows / count.expected - 1
        noise = 2 / count.expected**0.5
        reason = f"{count.table}: {count.rows} rows in {count.days} days, {count.expected:.0f} expected ({change:+.0%})"
        verdict = Verdict.PASS
        if abs(change) - noise > self.max_change:
            verdict = Verdict.FAIL if change < -self.lost else Verdict.HOLD
        return self.say(verdict, reason, number=change, threshold=self.max_change, sample=count.rows)
