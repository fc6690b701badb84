"""What the off-policy benchmark learns from a log: worth of a click, landscape of places, clicks by place, prices."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.off_policy_log import NODE_WEIGHTS, NODES, SD, Floats, Ints, Log
from ml.market.buckets import LEAD_STARTS
from ml.market.simulator.partners import NAMES

PLACES = 5
"""The four of the list, after "not shown"."""

_PHONE = 0

MOST_HOTELS = 480

BANDS = 8
AIMS: Floats = np.linspace(np.log(0.03), np.log(8.0), 112)
"""Logarithms of bids over worth at which the landscape is told, 5 % apart."""

BINS = 60
BANDWIDTH = 0.10
LEAST = 1e-4
"""Smallest probability of a place: what was never seen may happen."""


@dataclass(frozen=True)
class Expected:
    """What the models expect of bids: `places` and `clicks` of shape (n, PLACES), `value` and `cost` of shape (n,).

    `places` are probabilities, `clicks` the probability of a click given each place.
    """

    places: Floats
    clicks: Floats
    value: Floats
    cost: Floats


@dataclass(frozen=True)
class Models:
    """All that is learned from the earlier weeks.

    `gaps` are the edges of the price bands; a kind is partner x price band. `reached` is the landscape: the probability
    of each place or a better one by kind at bids of `AIMS` over worth, non-decreasing in the bid, shape (kinds, 4, aims).
    `click` is the probability of a click by kind, phone or not, and place, shape (kinds, 2, PLACES). `paid` holds the
    coefficients of the price of a click as a share of the bid, shape (partners, PLACES, 4).
    """

    book: Any
    kept: Floats
    gaps: Floats
    reached: Floats
    click: Floats
    paid: Floats

    @classmethod
    def fit(cls, log: Log, kept: Floats) -> Models:
        """From a log of earlier days, and the share of value that is kept by lead bucket."""
        from sklearn.linear_model import LogisticRegression

        clicks = log.rows(np.flatnonzero(log.clicked))
        book = LogisticRegression(C=0.3, max_iter=500).fit(_booking_features(clicks), clicks.booked)
        gaps = np.unique(np.quantile(log.price_gap[np.isfinite(log.rival)], np.linspace(0, 1, BANDS + 1)[1:-1]))
        kinds = len(NAMES) * (len(gaps) + 2)
        blank = cls(book, kept, gaps, np.empty(0), np.empty(0), np.empty(0))
        kind, aim = blank.kind(log), blank.aim(log, log.bid)
        reached = np.stack([_reached(aim[kind == one], log.place[kind == one]) for one in range(kinds)])
        paid = np.zeros((len(NAMES), PLACES, 4))
        columns, share = _price_columns(blank.aim(clicks, clicks.bid), clicks.price_gap), clicks.cpc / clicks.bid
        for partner, place in itertools.product(range(len(NAMES)), range(1, PLACES)):
            own = (clicks.partner == partner) & (clicks.place == place)
            paid[partner, place] = np.linalg.lstsq(columns[own], share[own], rcond=None)[0]
        return cls(book, kept, gaps, reached, _click_table(log, kind, kinds), paid)

    def kind(self, log: Log) -> Ints:
        """Partner x price band; the last band is that without a rival."""
        band = np.where(np.isfinite(log.rival), np.searchsorted(self.gaps, log.price_gap), len(self.gaps) + 1)
        return np.asarray(log.partner * (len(self.gaps) + 2) + band, dtype=np.int64)

    def worth(self, log: Log) -> Floats:
        """What a click is expected to earn, net of cancellations; shape (n,)."""
        p = self.book.predict_proba(_booking_features(log))[:, 1]
        return np.asarray(p * log.gross * self.kept[log.lead_bucket], dtype=np.float64)

    def aim(self, log: Log, bid: Floats) -> Floats:
        """Logarithm of bids over worth."""
        return np.asarray(np.log(bid / self.worth(log)), dtype=np.float64)


class Judge:
    """The models' view of one log, kept so that many bids can be asked of it."""

    def __init__(self, models: Models, log: Log) -> None:
        self.models, self.log, self.worth = models, log, models.worth(log)
        self.kind = models.kind(log)
        self.clicks = models.click[self.kind, (log.device == _PHONE).astype(np.intp)]

    def at(self, bid: Floats) -> Expected:
        """What bids of shape (n,) are expected to bring."""
        aim = np.log(bid / self.worth)
        step = AIMS[1] - AIMS[0]
        spot = np.clip((aim - AIMS[0]) / step, 0.0, len(AIMS) - 1.001)
        low = spot.astype(np.intp)
        share = (spot - low)[:, None]
        table = self.models.reached
        reached = (1 - share) * table[self.kind, :, low] + share * table[self.kind, :, low + 1]
        places = np.column_stack([1 - reached[:, -1], reached[:, 0], np.diff(reached, axis=1)])
        places = np.maximum(places, LEAST)
        places = places / places.sum(axis=1, keepdims=True)
        expected = places * self.clicks
        paid = np.einsum("nk,npk->np", _price_columns(aim, self.log.price_gap), self.models.paid[self.log.partner])
        cost = (expected * np.clip(paid, 0.05, 1.0)).sum(axis=1) * bid
        return Expected(places, self.clicks, expected.sum(axis=1) * self.worth, cost)

    def under(self, centre: Floats) -> Expected:
        """The mean over another policy's jitter around these bids."""
        nodes = [self.at(centre * np.exp(SD * z - SD**2 / 2)) for z in NODES]

        def mean(name: str) -> Floats:
            found = [weight * getattr(node, name) for weight, node in zip(NODE_WEIGHTS, nodes, strict=True)]
            return np.asarray(sum(found), dtype=np.float64)

        return Expected(mean("places"), self.clicks, mean("value"), mean("cost"))


def _reached(aim: Floats, place: Ints) -> Floats:
    """Probability of each place or a better one at `AIMS`, non-decreasing, smoothed; shape (4, aims)."""
    from scipy.ndimage import gaussian_filter1d
    from sklearn.isotonic import isotonic_regression

    parts = np.array_split(np.argsort(aim, kind="stable"), min(BINS, max(len(aim) // 50, 1)))
    centres = np.array([aim[part].mean() for part in parts])
    found = np.empty((PLACES - 1, len(AIMS)))
    for best in range(1, PLACES):
        there = (place > 0) & (place <= best)
        means = isotonic_regression([there[part].mean() for part in parts])
        found[best - 1] = gaussian_filter1d(
            np.interp(AIMS, centres, means), BANDWIDTH / (AIMS[1] - AIMS[0]), mode="nearest"
        )
    return np.maximum.accumulate(found, axis=0)


def _click_table(log: Log, kind: Ints, kinds: int) -> Floats:
    """Probability of a click by kind, phone or not, and place: a logistic regression on the counts of these cells."""
    from sklearn.linear_model import LogisticRegression

    shape = (kinds, 2, PLACES)
    cell = np.ravel_multi_index((kind, (log.device == _PHONE).astype(np.int64), log.place), shape)
    size = int(np.prod(shape))
    seen, clicked = np.bincount(cell, minlength=size), np.bincount(cell, log.clicked, size)
    of_kind, phone, place = np.unravel_index(np.arange(size), shape)
    partner = of_kind // (kinds // len(NAMES))
    columns = [of_kind[:, None] == np.arange(kinds)]
    columns += [
        ((partner == one)[:, None] & (phone == two)[:, None] & (place[:, None] == np.arange(2, PLACES)))
        for one in range(len(NAMES))
        for two in range(2)
    ]
    columns += [(partner == one)[:, None] & (phone == 1)[:, None] for one in range(len(NAMES))]
    matrix = np.column_stack(columns).astype(np.float64)
    use = (place > 0) & (seen > 0)
    twice = np.concatenate([matrix[use], matrix[use]])
    label = np.repeat([1, 0], use.sum())
    weight = np.concatenate([clicked[use], (seen - clicked)[use]])
    model = LogisticRegression(C=10.0, max_iter=2000).fit(twice, label, sample_weight=weight)
    found = model.predict_proba(matrix)[:, 1].reshape(shape)
    found[:, :, 0] = 0.0
    return np.asarray(found, dtype=np.float64)


def _price_columns(aim: Floats, gap: Floats) -> Floats:
    return np.column_stack([np.ones(len(aim)), aim, aim * aim, gap])


def _booking_features(log: Log) -> Any:
    """One column per value of each field and of each hotel, whose number of bookings is small: the penalty shrinks it."""
    from scipy import sparse

    fields = (
        log.partner,
        log.device * len(LEAD_STARTS) + log.lead_bucket,
        log.country,
        np.minimum(log.los, 7),
        log.default_date.astype(np.int64),
        log.hotel,
    )
    sizes = (len(NAMES), 3 * len(LEAD_STARTS), 5, 8, 2, MOST_HOTELS)
    n = len(log.bid)
    parts = [
        sparse.csr_matrix((np.ones(n), (np.arange(n), field)), shape=(n, size))
        for field, size in zip(fields, sizes, strict=True)
    ]
    return sparse.hstack([*parts, sparse.csr_matrix(10.0 * np.maximum(log.price_gap, 0.0)[:, None])]).tocsr()
