"""What a click is worth: the expected margin of the bookings that it brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.bidding.landscape import Floats


@dataclass(frozen=True)
class ClickEconomics:
    """What is expected of a click on each cell; every field has shape (n,).

    Attributes:
        p_book: bookings per click, 0 to 1.
        gross_value_micros: expected gross value of a booking, at least 0.
        take_share: our commission, as a share of gross value, 0 to 1.
        p_cancel: share of bookings that cancel, 0 to 1.
        kept_share: share of the margin that is kept when a booking cancels, 0 to 1.
        los_nights: nights of the stay that the click looked at, at least 1.
        shown_value_micros: price of that stay as the partner showed it, above 0.
        variable_cost_share: cost that each booking brings (payment, service), as a share of gross value.
        incremental_share: share of the click's bookings that would not have come anyway, 0 to 1.
    """

    p_book: Floats
    gross_value_micros: Floats
    take_share: Floats
    p_cancel: Floats
    kept_share: Floats
    los_nights: Floats
    shown_value_micros: Floats
    variable_cost_share: Floats | float = 0.0
    incremental_share: Floats | float = 1.0

    def __post_init__(self) -> None:
        cells = np.shape(self.p_book)
        shares = ("p_book", "take_share", "p_cancel", "kept_share", "variable_cost_share", "incremental_share")
        for name in shares:
            share = np.asarray(getattr(self, name))
            if share.shape not in {cells, ()} or not ((share >= 0) & (share <= 1)).all():
                raise ValueError(f"{name} of some cell is not within 0 and 1")
        floors = {"gross_value_micros": 0.0, "los_nights": 1.0, "shown_value_micros": 1.0}
        for name, floor in floors.items():
            amount = np.asarray(getattr(self, name))
            if amount.shape != cells or not np.isfinite(amount).all() or (amount < floor).any():
                raise ValueError(f"{name} of some cell is not finite or is below {floor:g}")

    @property
    def margin_share(self) -> Floats:
        """Margin of a booking after cancellations, as a share of its gross value; may be below 0.

        `(take - variable cost) x (1 - p_cancel x (1 - kept share)) x incremental share`.
        """
        kept = 1 - self.p_cancel * (1 - self.kept_share)
        return (self.take_share - self.variable_cost_share) * kept * self.incremental_share

    @property
    def gross_per_click_micros(self) -> Floats:
        """Expected gross booking value of a click."""
        return self.p_book * self.gross_value_micros

    @property
    def value_per_click_micros(self) -> Floats:
        """Expected margin of a click, at least 0: the break-even cost per click."""
        return np.maximum(self.gross_per_click_micros * self.margin_share, 0.0)
