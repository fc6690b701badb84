"""What the server asks of an engine: look features up, then decide; the second half can be repeated from the log.

Requests that arrive together are decided together, so that the fixed cost of array work is shared. An engine is made off
the serving path, is immutable afterwards, and is exchanged by one assignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ml.core.digests import Digest
from ml.serving.messages import BidRequest, Layout, Scored

Matrix = npt.NDArray[np.floating[Any]]
Pacing = float | Sequence[float]
"""The multiplier of every bid, 0 to 1: one for all requests, or one for each."""


class Engine(Protocol):
    """One verified bundle, ready to bid with one published plan.

    Attributes:
        digest: of the bundle.
        plan: digest of the published plan (shading, retained value, caps) that its bids follow.
        layout: how the looked-up features of a request are read back.
    """

    digest: Digest
    plan: str
    layout: Layout

    def look_up(self, requests: Sequence[BidRequest]) -> Matrix:
        """Online features of every candidate, requests one after another: shape (candidates of all, len(layout.columns)).

        NaN where a feature is missing. Never raises for a key that is not there.
        """
        ...

    def decide(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Pacing) -> list[Scored]:
        """Bids from these features; a pure function, bit for bit the same for the same arguments.

        Args:
            requests: one or more.
            features: as of `look_up`, for the same requests.
            at_us: the instant of the decision, microseconds since 1970, UTC.
            pacing: multiplier of every bid, 0 to 1; one per request is the same as asking for each alone.

        Returns:
            One answer per request, in order. A candidate that the model cannot price has a reason, not an exception.
        """
        ...

    def intermediates(
        self, request: BidRequest, features: Matrix, *, at_us: int, pacing: float
    ) -> list[Mapping[str, float]]:
        """For people: per candidate every number between features and bid, by name, ending with `bid_micros`."""
        ...
