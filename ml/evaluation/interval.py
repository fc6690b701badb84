"""What a bootstrap interval allows one to say: PASS, FAIL or HOLD.

Each rule asks for a claim to be *shown*, not to be likely. With an interval of level 0.90 (the default of
`ml.evaluation.paired`) every bound is one-sided at 5 %:

| rule | PASS | FAIL | HOLD |
|---|---|---|---|
| `better` | the whole interval lies below 0 | it lies at or above 0 | it straddles 0 |
| `not_worse` | it lies at or below the margin | it lies above the margin | it straddles the margin |
| `within` | inside the wide limits, and the estimate inside the narrow | outside the narrow limits | else |

and whatever the interval says, too few blocks or rows, or a bound that is not finite, is HOLD.

Error rates, at level 0.90 and whatever the size of the sample:

* `better` passes a model that gains nothing, and `not_worse` one that is worse by the margin exactly, with
  probability 5 % at most; anything worse still, less often.
* `not_worse` fails a model that is worse by no more than the margin with probability 5 % at most; one that is
  as good as the other (an A/A pair) far less often, because its interval has to clear the whole margin.
* `within` passes a value at a wide limit, or beyond, with probability 5 % at most, and one at a narrow limit half
  of the time at most; it fails a value inside the narrow limits with probability 5 % at most.
* HOLD takes what is left. It is no coin toss: it becomes rarer as blocks are added, and it leaves things as
  they are. An A/A pair is passed once the half width of its interval is below the margin.

Measured on days whose mean difference has heavy tails (Student's t with 4 degrees of freedom) and makes half
of the variance, 6,000 simulated pairs each (`tests/evaluation/test_paired.py` repeats it in small):

| blocks | worse by the margin: PASS | FAIL | A/A: PASS | FAIL | worse by 3 margins: PASS | FAIL |
|---|---|---|---|---|---|---|
| 7 | 6.0 % | 5.6 % | 30 % | 0.5 % | 0 % | 69 % |
| 14 | 4.8 % | 5.6 % | 49 % | 0.1 % | 0 % | 92 % |
| 28 | 4.7 % | 5.3 % | 76 % | 0 % | 0 % | 99.6 % |
| 56 | 5.2 % | 4.9 % | 95 % | 0 % | 0 % | 100 % |

(The margin there is 1.7 standard errors at 14 blocks; the last four columns depend on that.) The limit of the
claim: days are taken as independent. Where the day effects have correlation 0.3 with the next day's, the 5 %
become 8 to 9 %, whatever the number of days.

`not_worse` asks about one step; a chain of steps that each lose less than the margin can lose more in sum,
which is why a policy also compares with a baseline that does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ml.core.verdict import Verdict

LEVEL = 0.90
"""Two-sided level of an interval, so that each bound is one-sided at 5 %."""


@dataclass(frozen=True)
class Interval:
    """An estimate `mid` and its bounds, from `rows` rows in `blocks` blocks that were resampled together.

    `low` and `high` are infinite where one block or none was there, and NaN where the data held a number that
    is not finite. `level` is the two-sided level.
    """

    low: float
    mid: float
    high: float
    blocks: int
    rows: int
    level: float = LEVEL

    @property
    def finite(self) -> bool:
        """Whether all three numbers are finite."""
        return all(map(math.isfinite, (self.low, self.mid, self.high)))

    def enough(self, *, min_blocks: int, min_rows: int) -> bool:
        """Whether the interval rests on that many blocks and rows and has finite bounds."""
        return self.finite and self.blocks >= min_blocks and self.rows >= min_rows

    def as_json(self) -> dict[str, Any]:
        """The six numbers by name."""
        return {
            "low": self.low,
            "mid": self.mid,
            "high": self.high,
            "blocks": self.blocks,
            "rows": self.rows,
            "level": self.level,
        }


def better(difference: Interval, *, min_blocks: int, min_rows: int) -> Verdict:
    """Whether a difference of losses (ours minus theirs) shows a gain.

    >>> better(Interval(-0.03, -0.02, -0.01, blocks=14, rows=2000), min_blocks=7, min_rows=300)
    <Verdict.PASS: 'PASS'>
    """
    if not difference.enough(min_blocks=min_blocks, min_rows=min_rows):
        return Verdict.HOLD
    if difference.high < 0:
        return Verdict.PASS
    return Verdict.FAIL if difference.low >= 0 else Verdict.HOLD


def not_worse(difference: Interval, *, margin: float, min_blocks: int, min_rows: int) -> Verdict:
    """Whether a difference of losses (ours minus theirs) shows a loss of at most `margin` (0 or more).

    >>> not_worse(Interval(-0.01, 0.0, 0.01, blocks=14, rows=2000), margin=0.005, min_blocks=7, min_rows=300)
    <Verdict.HOLD: 'HOLD'>
    """
    if not (difference.enough(min_blocks=min_blocks, min_rows=min_rows) and math.isfinite(margin)):
        return Verdict.HOLD
    if difference.high <= margin:
        return Verdict.PASS
    return Verdict.FAIL if difference.low > margin else Verdict.HOLD


@dataclass(frozen=True)
class Limits:
    """Narrow limits for an estimate, wide ones for its bounds; all four are allowed values."""

    low: float
    high: float
    lowest: float
    highest: float


def within(value: Interval, limits: Limits, *, min_blocks: int, min_rows: int) -> Verdict:
    """Whether a value is shown to lie between limits.

    >>> limits = Limits(low=0.8, high=1.15, lowest=0.7, highest=1.25)
    >>> within(Interval(1.4, 1.5, 1.6, blocks=14, rows=2000), limits, min_blocks=7, min_rows=300)
    <Verdict.FAIL: 'FAIL'>
    >>> within(Interval(1.0, 1.1, 1.2, blocks=14, rows=2000), limits, min_blocks=7, min_rows=300)
    <Verdict.PASS: 'PASS'>
    """
    if not value.enough(min_blocks=min_blocks, min_rows=min_rows):
        return Verdict.HOLD
    if value.low > limits.high or value.high < limits.low:
        return Verdict.FAIL
    inside = limits.low <= value.mid <= limits.high and limits.lowest <= value.low and value.high <= limits.highest
    return Verdict.PASS if inside else Verdict.HOLD
