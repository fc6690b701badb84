"""What a shift does to predicted value, bids, spend and profit, a day, before anyone retrains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml.core.units import Micros


@dataclass(frozen=True)
class Impact:
    """Micros a day, against the reference weeks at the traffic of the judged day; None where it cannot be told.

    Attributes:
        value: change of what the champion predicts that the day's clicks are worth.
        bids: change of the mean bid.
        spend: change of what the clicks cost.
        profit: change of what the day is expected to earn, less spend.
        sentences: how each of them comes about.
    """

    value: Micros | None
    bids: Micros | None
    spend: Micros | None
    profit: Micros | None
    sentences: Sequence[str] = ()

    @property
    def at_stake_micros(self) -> int | None:
        """What is lost a day while nothing is done, at least 0."""
        return None if self.profit is None else max(0, -self.profit)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "value_micros": self.value,
            "bid_micros": self.bids,
            "spend_micros": self.spend,
            "profit_micros": self.profit,
            "at_stake_micros": self.at_stake_micros,
            "sentences": list(self.sentences),
        }
