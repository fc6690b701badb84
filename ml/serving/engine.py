"""The engines of the bid service, for itineraries, for listings and for bookings alone, and which of them a bundle is for.

An engine is made of a verified bundle and a published plan, off the serving path, and never changes. Its numbers are those of the
models' own functions over arrays; there is no second copy of a feature here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.core.digests import Digest
from ml.core.errors import CorruptArtefact
from ml.market.buckets import lead_buckets, los_buckets
from ml.models.listing import ListingModel
from ml.serving.engine_inputs import DAY_US, Online, OpenView, amounts, search_columns
from ml.serving.engine_protocol import Matrix, Pacing
from ml.serving.messages import BidRequest, Reason, Scored
from ml.serving.plan_protocol import Plan

if TYPE_CHECKING:
    from ml.models.encoding import Values
    from ml.models.protocol import BidModel

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Numbers = dict[str, npt.NDArray[Any]]
"""What was worked out per candidate, by name; shape (n,) each."""

TRAFFIC_VIEW, TRAFFIC_TTL_DAYS = "hotel_traffic", 30
_MISSING = np.float64(np.nan)
_FIRST_PLACE = 1.0
"""A click is predicted for the place that a bid aims at, as it is when bids are published."""


class _Engine(ABC):
    """What all engines share: numbers per candidate in, answers per request out."""

    def __init__(self, digest: Digest, plan: Plan, online: Online) -> None:
        self.digest, self.plan, self.layout = digest, plan.digest, online.layout
        self._plan, self._online = plan, online

    def decide(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Pacing) -> list[Scored]:
        """As of `ml.serving.engine_protocol.Engine`."""
        numbers = self._numbers(requests, features, at_us=at_us, pacing=pacing)
        bids, scores = numbers["bid_micros"].tolist(), numbers["score"].tolist()
        reasons, missing = numbers["reason"].tolist(), numbers["missing"].tolist()
        return [
            Scored(bids[a:b], scores[a:b], reasons[a:b], sum(missing[a:b]), features[a:b].tobytes())
            for a, b in _places(requests)
        ]

    def intermediates(
        self, request: BidRequest, features: Matrix, *, at_us: int, pacing: float
    ) -> list[Mapping[str, float]]:
        """As of `ml.serving.engine_protocol.Engine`; by the very function that decides."""
        numbers = self._numbers([request], features, at_us=at_us, pacing=pacing)
        looked_up = {name: features[:, n] for n, name in enumerate(self.layout.columns)}
        last = numbers.pop("bid_micros")
        table = {name: values.tolist() for name, values in {**looked_up, **numbers, "bid_micros": last}.items()}
        return [{name: values[n] for name, values in table.items()} for n in range(len(last))]

    @abstractmethod
    def _numbers(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Pacing) -> Numbers:
        """Every number between features and bid, by name, for the candidates of all requests: shape (n,) each."""


class ItineraryEngine(_Engine):
    """Bids for itineraries of hotels on metasearch.

    `bid = min(p_book x price x nights x retained share x take share x shading, cap of its cell) x pacing`;
    `score = p_click x bid`, or the bid alone where there is no click model.

    Args:
        digest: of the bundle.
        models: by name: `conversion`, and `click` where there is one.
        plan: that is followed.
        open_view: opens the online features that the click model reads.
        now_us: the present instant: features older than their time to live count as missing.
    """

    def __init__(
        self,
        digest: Digest,
        models: Mapping[str, BidModel],
        plan: Plan,
        *,
        open_view: OpenView,
        now_us: Callable[[], int],
    ) -> None:
        from ml.models.history import TRAFFIC_HISTORY

        self._conversion, self._click, self._now_us = models["conversion"], models.get("click"), now_us
        names = [] if self._click is None else [c.name for c in TRAFFIC_HISTORY if c.name in self._click.inputs]
        reader = open_view(TRAFFIC_VIEW, names) if names else None
        super().__init__(digest, plan, Online(reader, names, probe=(["-"], ["-"])))

    def look_up(self, requests: Sequence[BidRequest]) -> Matrix:
        """As of `ml.serving.engine_protocol.Engine`."""
        hotels = [candidate.hotel_id for request in requests for candidate in request.candidates]
        if not self.layout.columns:
            return np.empty((len(hotels), 0))
        partners = [request.user.partner for request in requests for _ in request.candidates]
        return self._online.read(hotels, partners, not_before_us=self._now_us() - TRAFFIC_TTL_DAYS * DAY_US)

    def _numbers(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Pacing) -> Numbers:
        columns = search_columns(requests, at_us=at_us)
        price, nights, lead = (np.asarray(columns[name]) for name in ("price_micros", "los_nights", "lead_days"))
        unknown = _unknown(columns)
        p_book = self._conversion.predict_columns(columns)["p_book"]
        said = self._plan.of(_cells(requests, columns))
        value = price * nights
        worth = p_book * value * said.retained * self._plan.take_share
        wanted = worth * said.shading
        cap = np.minimum(said.cap_micros, self._plan.max_bid_micros)
        p_click = np.ones(len(price))
        missing = np.count_nonzero(np.isnan(features), axis=1)
        if self._click is not None:
            history = {name: features[:, n].astype(np.float64) for n, name in enumerate(self.layout.columns)}
            first = np.full(len(price), _FIRST_PLACE)
            p_click = self._click.predict_columns({**columns, **history, "position": first})["p_click"]
        wanted[~((p_book >= 0) & (p_book <= 1))] = np.nan
        bid, reason = _guarded(wanted, cap, p_click, missing, _shares(pacing, requests))
        bid[unknown], reason[unknown] = 0, Reason.UNKNOWN
        return {
            "lead_days": lead,
            "p_book": p_book,
            "value_micros": value,
            "retained": said.retained,
            "worth_micros": worth,
            "shading": said.shading,
            "wanted_micros": wanted,
            "cap_micros": cap,
            "p_click": p_click,
            "missing": missing,
            "reason": reason,
            "score": _score(p_click, bid, reason),
            "bid_micros": bid,
        }


class ListingEngine(_Engine):
    """Ranks and bids for sponsored listings, each known by its id.

    `bid = min(value, cap) x pacing` and `score = p_click x bid` where a click has a value; else no bid, and `score = p_click`.

    Args:
        digest: of the bundle.
        model: of the click.
        plan: whose cap holds.
        open_view: opens the online features.
    """

    def __init__(self, digest: Digest, model: ListingModel, plan: Plan, *, open_view: OpenView) -> None:
        self._model = model
        names = model.inputs
        super().__init__(digest, plan, Online(open_view(model.view, names), names, probe=(["-"],)))

    def look_up(self, requests: Sequence[BidRequest]) -> Matrix:
        """As of `ml.serving.engine_protocol.Engine`."""
        ids = [candidate.id for request in requests for candidate in request.candidates]
        return self._online.read(ids, not_before_us=None)

    def _numbers(
        self,
        requests: Sequence[BidRequest],
        features: Matrix,
        *,
        at_us: int,  # noqa: ARG002  (nothing here depends on the instant)
        pacing: Pacing,
    ) -> Numbers:
        value = amounts(candidate.value_micros for request in requests for candidate in request.candidates)
        known = np.isfinite(features)
        missing = features.shape[1] - np.add.reduce(known, axis=1, dtype=np.int64)
        p_click = self._model.of_matrix(np.where(known, features, _MISSING))
        unpriced = np.isnan(value)
        bid, reason = _guarded(
            np.where(unpriced, 0.0, value), self._plan.max_bid_micros, p_click, missing, _shares(pacing, requests)
        )
        each = bid
        if unpriced.any():
            alone = unpriced & (reason == Reason.WORTHLESS)
            reason[alone] = _modelled(missing)[alone]
            each = np.where(unpriced, 1.0, bid)
        return {
            "value_micros": value,
            "p_click": p_click,
            "missing": missing,
            "reason": reason,
            "score": _score(p_click, each, reason),
            "bid_micros": bid,
        }


class BookingEngine(_Engine):
    """Ranks and bids for itineraries in a market that has bookings and neither clicks nor published bids.

    What stays of a booking after cancellations is known, who books is not. So `score = price x nights x retained share x take share`,
    what a booking earns, and `bid = min(value x retained share, cap) x pacing` where the caller says what a click is worth before
    cancellations; else no bid.

    Args:
        digest: of the bundle.
        plan: with the retained share that the bundle's value model says of recent bookings.
    """

    def __init__(self, digest: Digest, plan: Plan) -> None:
        super().__init__(digest, plan, Online(None, (), probe=()))

    def look_up(self, requests: Sequence[BidRequest]) -> Matrix:
        """As of `ml.serving.engine_protocol.Engine`; nothing is looked up."""
        return np.empty((sum(len(request.candidates) for request in requests), 0))

    def _numbers(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Pacing) -> Numbers:
        columns = search_columns(requests, at_us=at_us)
        unknown = _unknown(columns)
        retained = self._plan.of(_cells(requests, columns)).retained
        value = np.asarray(columns["price_micros"]) * np.asarray(columns["los_nights"])
        of_click = amounts(candidate.value_micros for request in requests for candidate in request.candidates)
        wanted = np.where(np.isnan(of_click), 0.0, of_click) * retained
        earns = np.where(unknown, 0.0, value * retained * self._plan.take_share)
        size = len(features)
        missing = np.zeros(size, dtype=np.int64)
        bid, reason = _guarded(wanted, self._plan.max_bid_micros, np.ones(size), missing, _shares(pacing, requests))
        reason[np.isnan(of_click)] = Reason.BID
        bid[unknown], reason[unknown] = 0, Reason.UNKNOWN
        return {
            "value_micros": value,
            "retained": retained,
            "click_micros": of_click,
            "wanted_micros": wanted,
            "missing": missing,
            "reason": reason,
            "score": earns,
            "bid_micros": bid,
        }


def _unknown(columns: Mapping[str, Values]) -> Bools:
    """Where hotel, day or price of an itinerary are missing, or the day is past; shape (n,)."""
    price, lead = np.asarray(columns["price_micros"]), np.asarray(columns["lead_days"])
    unknown: Bools = ~(price > 0) | ~(lead >= 0) | (np.array(columns["hotel_id"]) == "")
    return unknown


def _cells(requests: Sequence[BidRequest], columns: Mapping[str, Values]) -> dict[str, npt.NDArray[Any]]:
    """The plan's cell of each candidate."""
    lead = np.asarray(columns["lead_days"])
    return {
        "partner": _texts(columns["partner"]),
        "market": _texts([request.user.market for request in requests for _ in request.candidates]),
        "hotel_id": _texts(columns["hotel_id"]),
        "device": _texts(columns["device"]),
        "lead_bucket": lead_buckets(np.where(lead >= 0, lead, 0.0)),
        "los_bucket": los_buckets(np.asarray(columns["los_nights"])),
    }


def _texts(values: Values) -> npt.NDArray[np.object_]:
    return np.array(values, dtype=object)


def _shares(pacing: Pacing, requests: Sequence[BidRequest]) -> float | Floats:
    """The multiplier of all candidates, or of each, shape (n,)."""
    if isinstance(pacing, float | int):
        return _share(pacing)
    return np.repeat([_share(one) for one in pacing], [len(request.candidates) for request in requests])


def _share(pacing: float) -> float:
    """A multiplier that is no share of a bid stops bids, or leaves them as they are; never raises them."""
    return min(max(pacing, 0.0), 1.0) if pacing == pacing else 0.0


def _modelled(missing: Ints) -> Ints:
    """The reason of a bid of the model: with defaults, where any feature is missing."""
    return np.asarray(missing > 0, dtype=np.int64)  # the numbers of Reason.BID and Reason.DEFAULTS


def _guarded(
    wanted: Floats, cap: npt.NDArray[Any] | int, p_click: Floats, missing: Ints, pacing: float | Floats
) -> tuple[Ints, Ints]:
    """Whole micros from 0 to the cap, and why they are what they are; shape (n,) each. What is paced is what the cap has left."""
    top = np.maximum(cap, 0)
    usable = (wanted >= 0) & (wanted < np.inf) & (p_click >= 0) & (p_click <= 1)
    safe = wanted if usable.all() else np.where(usable, wanted, 0.0)
    kept = np.minimum(safe, top)
    bid = np.rint(kept * pacing).astype(np.int64)
    reason = _modelled(missing)
    nothing = bid == 0
    reason[nothing] = Reason.WORTHLESS
    reason[safe > top] = Reason.GUARD
    if not (isinstance(pacing, float) and pacing == 1.0):
        reason[nothing & (np.rint(kept) > 0)] = Reason.PACED
    if safe is not wanted:
        reason[~usable] = Reason.OUT_OF_RANGE
    return bid, reason


def _score(p_click: Floats, each: npt.NDArray[Any], reason: Ints) -> Floats:
    return np.asarray(np.where(reason == Reason.OUT_OF_RANGE, 0.0, p_click) * each, dtype=np.float64)


def _places(requests: Sequence[BidRequest]) -> Iterator[tuple[int, int]]:
    """Where each request's candidates begin and end."""
    ends = [0]
    for request in requests:
        ends.append(ends[-1] + len(request.candidates))
    return pairwise(ends)


def _itineraries(
    digest: Digest, models: Mapping[str, BidModel], plan: Plan, *, open_view: OpenView, now_us: Callable[[], int]
) -> ItineraryEngine:
    return ItineraryEngine(digest, models, plan, open_view=open_view, now_us=now_us)


def _listings(
    digest: Digest,
    models: Mapping[str, BidModel],
    plan: Plan,
    *,
    open_view: OpenView,
    now_us: Callable[[], int],  # noqa: ARG001  (a listing's features have no time to live)
) -> ListingEngine:
    model = models[ListingModel.name]
    if not isinstance(model, ListingModel):
        raise CorruptArtefact("the version has another model under the name of the listing model")
    return ListingEngine(digest, model, plan, open_view=open_view)


def _bookings(
    digest: Digest,
    models: Mapping[str, BidModel],  # noqa: ARG001  (what it says is in the plan)
    plan: Plan,
    *,
    open_view: OpenView,  # noqa: ARG001  (nothing is looked up)
    now_us: Callable[[], int],  # noqa: ARG001
) -> BookingEngine:
    if plan.has_cells:
        raise CorruptArtefact("the version knows no conversion, and bids are published here that rest on one")
    return BookingEngine(digest, plan)


AnyEngine = ItineraryEngine | ListingEngine | BookingEngine

ENGINES: Mapping[str, Callable[..., AnyEngine]] = {
    "conversion": _itineraries,
    ListingModel.name: _listings,
    "value": _bookings,
}
"""The engine of a bundle, by the first of these models that it holds. To add one: a class and a line."""
