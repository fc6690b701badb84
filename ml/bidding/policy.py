"""The bid policy: what a click is worth, what share of it is bid, and the limits that hold it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from ml.core.digests import Digest, digest_json

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BidPolicy:
    """Limits and aims of a bid, per click.

    Attributes:
        target_cost_share: ad cost aimed at, as a share of the net booking value, where nothing is known yet of how the
            market answers to bids; above 0, at most 1.
        max_bid_micros: no bid exceeds this.
        max_change: a bid moves by at most this share from the one last published, so that a wrong model
            needs several days, and several gates, to do its worst.
    """

    target_cost_share: float
    max_bid_micros: int
    max_change: float

    def digest(self) -> Digest:
        """Identity of the policy, for the record of a publication."""
        return digest_json(asdict(self))

    def share_of_worth(self, net_value_micros: Floats, p_book: Floats) -> Floats:
        """The bid per click that keeps to the cost share: `value of a booking x bookings per click x share`.

        Args:
            net_value_micros: expected value of a booking net of cancellations; shape (n,), at least 0.
            p_book: probability that a click books; shape (n,), 0 to 1.

        Raises:
            ValueError: a value or a probability is not finite or is out of its range; nothing is bid on it.
        """
        if not (np.isfinite(net_value_micros).all() and np.isfinite(p_book).all()):
            raise ValueError("a cell has no finite expected value")
        if (net_value_micros < 0).any() or (p_book < 0).any() or (p_book > 1).any():
            raise ValueError("a cell's expected value is negative or its booking probability is not within 0 and 1")
        bids: Floats = net_value_micros * p_book * self.target_cost_share
        return bids

    def limit(self, wanted_micros: Floats, previous_micros: Floats) -> Ints:
        """Bids capped, then held within `max_change` of those before.

        Args:
            wanted_micros: shape (n,), at least 0.
            previous_micros: the bid last published for the cell, NaN where there was none; shape (n,). No change is
                measured from a bid of 0, which a share of it would hold at 0 for ever.

        Returns:
            Shape (n,), each between 0 and `max_bid_micros`.

        Raises:
            ValueError: a bid is not a finite amount of at least 0.
        """
        if not np.isfinite(wanted_micros).all() or (wanted_micros < 0).any():
            raise ValueError("a cell's bid is not an amount of money")
        wanted = np.minimum(wanted_micros, float(self.max_bid_micros))
        low, high = previous_micros * (1 - self.max_change), previous_micros * (1 + self.max_change)
        held = np.where(previous_micros > 0, np.clip(wanted, low, high), wanted)
        return np.minimum(np.rint(held), self.max_bid_micros).astype(np.int64)
