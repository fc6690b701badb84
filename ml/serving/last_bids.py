"""The last published bids, for when no model can answer: those that the plan has of a candidate's cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml.bidding.serving_plan import NOT_PUBLISHED, ServingPlan
from ml.market.buckets import lead_buckets, los_buckets
from ml.serving.engine_inputs import search_columns
from ml.serving.messages import BidRequest, Reason, Scored


class PlanBids:
    """The bids that a plan says stand.

    Args:
        plan: that is followed.
        now_us: the present instant, microseconds since 1970, UTC; days ahead are counted from it.
    """

    def __init__(self, plan: ServingPlan, now_us: Callable[[], int]) -> None:
        self._plan, self._now_us = plan, now_us

    def bids(self, request: BidRequest) -> Scored:
        """The bid of each candidate's own cell, no more than its cap; UNKNOWN where none is published."""
        columns = search_columns([request], at_us=self._now_us())
        lead = np.asarray(columns["lead_days"])
        known_lead = lead >= 0
        size = len(request.candidates)
        said = self._plan.of(
            {
                "partner": _texts(columns["partner"]),
                "market": _texts([request.user.market] * size),
                "hotel_id": _texts(columns["hotel_id"]),
                "device": _texts(columns["device"]),
                "lead_bucket": lead_buckets(np.where(known_lead, lead, 0.0)),
                "los_bucket": los_buckets(np.asarray(columns["los_nights"])),
            }
        )
        published = (said.last_bid_micros != NOT_PUBLISHED) & known_lead
        top = np.minimum(said.cap_micros, self._plan.max_bid_micros)
        bids = np.where(published, np.minimum(said.last_bid_micros, top), 0)
        reasons = np.where(published, int(Reason.FALLBACK_TABLE), int(Reason.UNKNOWN))
        return Scored(bids.tolist(), bids.astype(float).tolist(), reasons.tolist())


def _texts(values: object) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    return np.array(values, dtype=object)
