"""How high rivals bid for a search, told by the places that our own bids reached.

Rivals see more bookings of a hotel than we do, and what they bid is what they think a click is worth. In an auction of
place k of K the share `y = (K + 1 - k) / K` of the places is ours (0 where we were not shown), and over all auctions, lost
ones too,

    logit E[y] = a (ln bid - level) + b gap + c max(gap, 0)

with the gap of our price to the cheapest rival's, and `level` made of partner, device, lead time, nights, kind of dates,
country, price, and an effect of the hotel and of the hotel on that device, both shrunk to 0 as far as their spread over
hotels asks for (normal effects, variance by EM). The bid is conditioned on, its slope is that within hotels, and no auction
is left out because of how it ended, so that the level does not move with our own bids, as a history of places or of costs
of a click does (decision 9).

What the level says of bookings is not assumed: it is one column of the conversion model (`ml.models.conversion`), whose
coefficient our own bookings set. Where rivals know nothing, it comes out as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact, UsageError
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, bucket_index
from ml.models.artefacts import read_object
from ml.models.encoding import Column, Columns, Form, as_numbers, columns_of
from ml.models.numbers import Floats, Ints, sigmoid, to_json_floats

LEVEL = Column("rival_level", "log ratio", "how high rivals bid for such a search, over what the stay costs")

PLACES = 4
"""A place below this one counts as the last."""

MIN_AUCTIONS = 5_000
MIN_SLOPE = 0.2
"""Where places hardly follow our bids (`a`), they do not tell what rivals bid."""

WIDEST_GAP = 0.3
_MOST_NIGHTS = 8
_RIDGE = 1.0
_FREE = 6
"""Bid, two of the gap, the intercept, price and nights come first in the design; the bid, the gap, price and nights are
not penalised."""

_ROUNDS, _STEPS = 10, 25
_TINY, _CLOSE, _SMALLEST = 1e-6, 1e-4, 1e-3
_LONGEST = 1.0
"""No effect moves further in a round, in log-odds."""

_START = 10.0
"""Strength of shrinkage that the rounds begin with."""

AUCTION_COLUMNS = (
    "opportunity_id",
    "known_at",
    "partner",
    "hotel_id",
    "device",
    "user_country",
    "lead_days",
    "los_nights",
    "default_date",
    "price_micros",
    "rival_price_micros",
    "bid_micros",
    "shown",
    "position",
)
"""What it is learned from."""

LEVEL_INPUTS: Mapping[str, Form] = {
    "partner": "text",
    "hotel_id": "text",
    "device": "text",
    "user_country": "text",
    "lead_days": "number",
    "los_nights": "number",
    "default_date": "number",
    "price_micros": "number",
}
"""What a level is read from, with the form of each column."""

LEAD_NAMES = np.array(LEAD_BUCKETS, dtype=object)


@dataclass(frozen=True)
class RivalLevel:
    """Parts that add up to the level of a search, in the logarithm.

    Attributes:
        centre: of all auctions, which is taken off.
        price, nights: what the level moves with the logarithms of price and nights, less 1: over what the stay costs.
        groups: by name of a grouping, the part of each of its groups; 0 for one that was not seen.
        hotels: of each hotel.
        devices: of each `hotel device`, beside that of the hotel.
    """

    centre: float
    price: float
    nights: float
    groups: Mapping[str, Mapping[str, float]]
    hotels: Mapping[str, float]
    devices: Mapping[str, float]

    @classmethod
    def fit(cls, auctions: pd.DataFrame) -> RivalLevel | None:
        """Learn it; None where there are too few auctions, or places do not follow bids.

        Args:
            auctions: one row per auction, won or lost, with `AUCTION_COLUMNS`; those without a bid say nothing.

        Raises:
            UsageError: a column is missing.
        """
        missing = [name for name in AUCTION_COLUMNS if name not in auctions.columns]
        if missing:
            raise UsageError(f"what rivals bid needs the column {missing[0]!r}", next="give auctions with it")
        bid, price = as_numbers(auctions["bid_micros"]), as_numbers(auctions["price_micros"])
        rows = auctions[(bid > 0) & (price > 0)].sort_values(["hotel_id", "opportunity_id"], ignore_index=True)
        if len(rows) < MIN_AUCTIONS:
            return None
        searches = columns_of(rows, LEVEL_INPUTS)
        grouped = {name: _codes(keys) for name, keys in _groupings(searches).items()}
        columns = [np.log(as_numbers(rows["bid_micros"])), *_gaps(rows), np.ones(len(rows)), *_logs(searches)]
        for code, names in grouped.values():
            columns += [(code == number).astype(np.float64) for number in range(len(names))]
        design, reached = np.column_stack(columns), _reached(rows)
        hotel, device = _codes(list(map(str, searches["hotel_id"]))), _codes(_on_device(searches))
        found, started = _within_hotels(design, reached, hotel[0])
        slope = float(found[0])
        if slope < MIN_SLOPE:
            return None
        effects = _effects(design @ found, reached, hotel[0], device[0], started=started)
        parts = iter(to_json_floats(-found[_FREE:] / slope))
        groups = {name: {label: next(parts) for label in names} for name, (_, names) in grouped.items()}
        of_price, of_nights = to_json_floats(-found[_FREE - 2 : _FREE] / slope - 1.0)
        by_hotel, by_device = (
            dict(zip(names, to_json_floats(-effect / slope), strict=True))
            for effect, (_, names) in zip(effects, (hotel, device), strict=True)
        )
        level = cls(0.0, of_price, of_nights, groups, by_hotel, by_device)
        return replace(level, centre=float(to_json_floats([float(level.of(rows).mean())])[0]))

    def of(self, rows: pd.DataFrame) -> Floats:
        """The level of each search over what its stay costs, in the logarithm, shape (n,); about 0 on the mean."""
        return self.of_columns(columns_of(rows, LEVEL_INPUTS))

    def of_columns(self, columns: Columns) -> Floats:
        """As `of`, of columns without a frame."""
        price, nights = _logs(columns)
        level = self.price * price + self.nights * nights - self.centre
        for name, keys in _groupings(columns).items():
            level += _looked_up(self.groups[name], keys)
        hotels = list(map(str, columns["hotel_id"]))
        return level + _looked_up(self.hotels, hotels) + _looked_up(self.devices, _on_device(columns))

    def artefacts(self, name: str) -> dict[str, bytes]:
        """`<name>/rival_level.json`."""
        return {
            f"{name}/rival_level.json": canonical_json(
                {
                    "centre": self.centre,
                    "price": self.price,
                    "nights": self.nights,
                    "groups": {key: dict(parts) for key, parts in self.groups.items()},
                    "hotels": dict(self.hotels),
                    "devices": dict(self.devices),
                }
            )
        }

    @classmethod
    def load(cls, name: str, artefacts: Mapping[str, bytes]) -> RivalLevel:
        """Read back `artefacts`; CorruptArtefact when the file is missing or not of its form."""
        value = read_object(artefacts, f"{name}/rival_level.json")
        try:
            groups = {str(key): _floats(parts) for key, parts in value["groups"].items()}
            found = cls(
                float(value["centre"]), float(value["price"]), float(value["nights"]),
                groups, _floats(value["hotels"]), _floats(value["devices"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _corrupt(name) from error
        numbers = [found.centre, found.price, found.nights, *found.hotels.values(), *found.devices.values()]
        numbers += [part for parts in groups.values() for part in parts.values()]
        if set(groups) != set(_GROUPINGS) or not np.isfinite(numbers).all():
            raise _corrupt(name)
        return found


_GROUPINGS = ("partner device", "device lead", "nights", "country", "default dates")


def _groupings(columns: Columns) -> dict[str, list[str]]:
    """The groups of each row, by the names of `_GROUPINGS`."""
    device = columns["device"]
    lead = LEAD_NAMES[bucket_index(columns["lead_days"], LEAD_STARTS)].tolist()
    nights = np.fmin(np.fmax(columns["los_nights"], 1), _MOST_NIGHTS).astype(np.int64)
    keys = (
        [f"{partner} {name}" for partner, name in zip(columns["partner"], device, strict=True)],
        [f"{name} {bucket}" for name, bucket in zip(device, lead, strict=True)],
        list(map(str, nights.tolist())),
        list(map(str, columns["user_country"])),
        list(map(str, (np.asarray(columns["default_date"]) != 0).tolist())),
    )
    return dict(zip(_GROUPINGS, keys, strict=True))


def _on_device(columns: Columns) -> list[str]:
    return [f"{hotel} {device}" for hotel, device in zip(columns["hotel_id"], columns["device"], strict=True)]


def _logs(columns: Columns) -> tuple[Floats, Floats]:
    """Logarithms of price and nights; a price that is missing counts as 1."""
    price, nights = np.asarray(columns["price_micros"]), np.asarray(columns["los_nights"])
    return np.log(np.where(price > 0, price, 1.0)), np.log(np.maximum(nights, 1.0))


def _gaps(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Logarithm of our price over the cheapest rival's, 0 without one, and its part above 0."""
    rival = as_numbers(rows["rival_price_micros"])
    known = rival > 0
    gap = np.where(known, np.log(as_numbers(rows["price_micros"])) - np.log(np.where(known, rival, 1.0)), 0.0)
    gap = np.clip(gap, -WIDEST_GAP, WIDEST_GAP)
    return gap, np.maximum(gap, 0.0)


def _reached(rows: pd.DataFrame) -> Floats:
    """The share of the places that was ours; shape (n,), 0 to 1."""
    place = np.clip(as_numbers(rows["position"]), 1, PLACES)
    return np.where(rows["shown"].to_numpy(dtype=bool), (PLACES + 1 - place) / PLACES, 0.0)


def _within_hotels(design: Floats, reached: Floats, hotel: Ints) -> tuple[Floats, Floats]:
    """Coefficients of the design by Newton's method, and beside them an effect of each hotel, hardly shrunk.

    Without these the slope of the bid would be that between hotels too, which is our own policy: a hotel bid high
    because its clicks are worth much meets high rivals.

    Args:
        design: shape (n, k); rows of a hotel stand together.
        reached: shape (n,).
        hotel: code of each row's hotel, rising from 0; shape (n,).
    """
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[: _FREE - 3] = 0.0
    penalty[_FREE - 2 : _FREE] = 0.0
    starts = np.searchsorted(hotel, np.arange(int(hotel[-1]) + 1))
    b, effect = np.zeros(design.shape[1]), np.zeros(len(starts))

    def loss(b: Floats, effect: Floats) -> tuple[float, Floats]:
        margin = design @ b + effect[hotel]
        lost = float(np.sum(np.logaddexp(0.0, margin) - reached * margin))
        return lost + 0.5 * float(penalty @ b**2) + 0.5 * _RIDGE * float(effect @ effect), margin

    with threadpool_limits(limits=1, user_api="blas"):
        lost, margin = loss(b, effect)
        for _ in range(_STEPS):
            p = sigmoid(margin)
            rest, weight = reached - p, p * (1 - p)
            weighted = design * weight[:, None]
            told = np.add.reduceat(weight, starts) + _RIDGE
            shared = np.add.reduceat(weighted, starts, axis=0)
            of_hotels = np.add.reduceat(rest, starts) - _RIDGE * effect
            curvature = weighted.T @ design + np.diag(penalty + _TINY) - shared.T @ (shared / told[:, None])
            step = np.linalg.solve(curvature, design.T @ rest - penalty * b - shared.T @ (of_hotels / told))
            of_effect = (of_hotels - shared @ step) / told
            size, before = 1.0, lost
            lost, margin = loss(b + step, effect + of_effect)
            while lost > before and size > _SMALLEST:
                size /= 2
                lost, margin = loss(b + size * step, effect + size * of_effect)
            b, effect = b + size * step, effect + size * of_effect
            if float(np.abs(step).max()) < _CLOSE:
                break
    return b, effect


def _effects(margin: Floats, reached: Floats, hotel: Ints, device: Ints, *, started: Floats) -> tuple[Floats, Floats]:
    """Effects in log-odds of hotels, from those hardly shrunk, and of hotels on a device, on top of a margin; shapes
    (hotels,) and (hotel devices,)."""
    codes = (hotel, device)
    effects = [started.copy(), np.zeros(int(device.max()) + 1)]
    strength = [_START, _START]
    for _ in range(_ROUNDS):
        for number, code in enumerate(codes):
            own = effects[number]
            p = sigmoid(margin + effects[0][hotel] + effects[1][device])
            told = np.bincount(code, p * (1 - p), minlength=len(own)) + strength[number]
            step = (np.bincount(code, reached - p, minlength=len(own)) - strength[number] * own) / told
            own += np.clip(step, -_LONGEST, _LONGEST)
            # As many as there are, and one more of the usual strength: a handful of hotels tells no spread.
            spread = (float((own**2 + 1.0 / told).sum()) + 1.0 / _START) / (len(own) + 1)
            strength[number] = 1.0 / spread
    return effects[0], effects[1]


def _codes(keys: list[str]) -> tuple[Ints, list[str]]:
    codes, names = pd.factorize(np.array(keys, dtype=object), sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


def _looked_up(parts: Mapping[str, float], keys: list[str]) -> Floats:
    """The part of each key, 0 for one that is not known; shape (n,)."""
    return np.fromiter(map(parts.get, keys, repeat(0.0)), np.float64, len(keys))


def _floats(parts: Mapping[str, float]) -> dict[str, float]:
    return {str(key): float(part) for key, part in parts.items()}


def _corrupt(name: str) -> CorruptArtefact:
    return CorruptArtefact(f"{name}/rival_level.json is not of the expected form", next="train the version again")
