"""What the engines ask of a published plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class PlanRows(Protocol):
    """What a published plan says of cells; shape (n,) each (`ml.bidding.serving_plan.PlanRows`)."""

    @property
    def retained(self) -> Floats:
        """Share of a booking's gross value that stays after cancellations."""
        ...

    @property
    def shading(self) -> Floats:
        """Share of a click's worth that is bid, 0 to 1."""
        ...

    @property
    def cap_micros(self) -> Ints:
        """No bid exceeds it; 0 where a kill switch stopped bids."""
        ...


class Plan(Protocol):
    """A published plan (`ml.bidding.serving_plan.ServingPlan`)."""

    @property
    def digest(self) -> str:
        """Of its bytes."""
        ...

    @property
    def take_share(self) -> float:
        """What a booking earns of its net value."""
        ...

    @property
    def max_bid_micros(self) -> int:
        """No bid exceeds it."""
        ...

    @property
    def has_cells(self) -> bool:
        """Whether bids are published in this market."""
        ...

    def of(self, cells: Mapping[str, npt.NDArray[Any]]) -> PlanRows:
        """What it says of cells: text by the columns of `ml.bidding.worth.CLICK_LEVELS`, shape (n,) each."""
        ...
