"""Evidence from asking a candidate's models about real rows with one thing changed, and about hotels that they hardly know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.promotion.evidence_bids import Monotonicity, Probe, SparseHotels

if TYPE_CHECKING:
    import pandas as pd

    from ml.models.protocol import BidModel

Floats: TypeAlias = npt.NDArray[np.float64]

STEPS = (0.8, 0.9, 1.0, 1.1, 1.25)
"""Factors of one amount at which a row is asked again."""

VALUE_STEPS = (1.0, 1.5, 2.0)
"""Factors of a value. Wide ones: the probability of a cancellation moves with the price too, in steps."""

TOLERANCE = 0.01
"""A break of less than this share of the answer is none."""

PRICE_TOLERANCE = 0.25
"""How much less a click may book, from one step to the next, where the cheapest rival asks more. Among travellers who clicked the
price tells little, and on some months of clicks the sign of a small effect is chance."""

BID_TOLERANCE = 0.75
"""How much less a dearer click of the same kind may be bid. Profit is nearly flat in the bid, so that the best of its levels jumps
by two thirds between neighbours, in good candidates too; only what turns the order round is meant."""

UNKNOWN_HOTEL = "unknown hotel"

SPARSE_BOOKINGS = 5.0
WIDEST = (0.4, 2.5)
UPPER_SHARE = 0.25
"""The sparse hotels with the highest multipliers, by this share of their clicks, must keep what they promise."""
MIN_PROMISED = 50.0
"""Bookings that these must promise together before it is asked whether they came: of fewer, chance alone halves them."""


def measure_monotonicity(
    models: Mapping[str, BidModel], *, traffic: pd.DataFrame | None, bookings: pd.DataFrame
) -> Monotonicity:
    """Every property of what a click is worth that the rows allow to ask.

    Args:
        models: of the candidate.
        traffic: a sample of shown opportunities; None where nobody is bid to.
        bookings: a sample of bookings.
    """
    from ml.models.scoring import score_bookings

    def net(rows: pd.DataFrame) -> Floats:
        return score_bookings(models, rows)["net_value_micros"].to_numpy(dtype=np.float64)

    valued = bookings[bookings["value_micros"] > 0]
    base = net(valued)
    gross = valued["value_micros"].to_numpy(dtype=np.float64)
    by_value = np.stack([net(priced(valued, factor)) for factor in VALUE_STEPS])
    found = [
        rising("net value in the value of the stay", by_value, weights=gross),
        proportion("net value in the currency of its amounts", by_value, VALUE_STEPS),
        proportion(
            "net value in the nights at the same price a night",
            np.stack([base, net(longer(valued, 2))]),
            (1.0, 2.0),
        ),
        above("net value against the gross value of the stay", base, gross, weights=gross),
    ]
    if traffic is not None:
        conversion = models["conversion"]

        def books(rows: pd.DataFrame) -> Floats:
            return conversion.predict(rows)["p_book"].to_numpy(dtype=np.float64)

        known = traffic[traffic["rival_price_micros"].notna()]
        if len(known):
            asked = np.stack([books(cheaper_rival(known, factor)) for factor in STEPS])
            found.append(
                rising(
                    "bookings in the price of the cheapest rival",
                    asked,
                    weights=asked[STEPS.index(1.0)],
                    tolerance=PRICE_TOLERANCE,
                )
            )
        money = np.stack([books(rescaled(traffic, factor)) for factor in (1.0, 1.5)])
        found.append(proportion("bookings against the currency of the prices", money, (1.0, 1.5), wanted=0.0))
        found += [bounded("bookings per click", money[0])]
    return Monotonicity(tuple(found))


def priced(bookings: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same stays at another price."""
    return bookings.assign(
        rate_micros=_times(bookings["rate_micros"], factor), value_micros=_times(bookings["value_micros"], factor)
    )


def longer(bookings: pd.DataFrame, times: int) -> pd.DataFrame:
    """The same price a night for so many times the nights."""
    return bookings.assign(
        los_nights=bookings["los_nights"] * times, value_micros=_times(bookings["value_micros"], times)
    )


def cheaper_rival(traffic: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same searches with the cheapest rival at another price."""
    return traffic.assign(rival_price_micros=_times(traffic["rival_price_micros"], factor))


def rescaled(traffic: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same searches with every price in another currency."""
    return cheaper_rival(traffic, factor).assign(price_micros=_times(traffic["price_micros"], factor))


def rising(name: str, answers: Floats, *, weights: Floats, tolerance: float = TOLERANCE) -> Probe:
    """Whether answers of shape (steps, rows) fall nowhere as the step rises."""
    with np.errstate(divide="ignore", invalid="ignore"):
        falls = np.where(answers[:-1] > 0, 1 - answers[1:] / answers[:-1], 0.0).max(axis=0)
    return _probe(name, falls, weights, tolerance)


def above(name: str, answers: Floats, most: Floats, *, weights: Floats) -> Probe:
    """Whether no answer is above the most that it can be; shape (rows,) each."""
    return _probe(name, np.maximum(answers / most - 1, -answers / most), weights)


def rising_bids(kinds: Sequence[str], worth: Floats, bids: Floats, *, weights: Floats) -> Probe:
    """Whether a click that is worth more is bid for more, among cells of one kind; shape (cells,) each."""
    falls = np.zeros(len(bids))
    names = np.asarray(kinds, dtype=object)
    for kind in np.unique(names):
        place = np.flatnonzero(names == kind)
        order = place[np.argsort(worth[place], kind="stable")]
        highest = np.maximum.accumulate(bids[order])
        falls[order] = 1 - np.divide(bids[order], highest, out=np.ones(len(order)), where=highest > 0)
    return _probe("bids in the worth of a click", falls, weights, BID_TOLERANCE)


def rising_curves(clicks: Floats, cost: Floats) -> Probe:
    """Whether expected clicks and cost fall nowhere as the bid rises; shape (kinds, bids) each."""
    steps = np.concatenate([np.diff(curve, axis=1) / np.maximum(curve[:, 1:], 1e-12) for curve in (clicks, cost)])
    return _probe("clicks and cost in the bid", -steps.min(axis=1, initial=0.0), np.ones(len(steps)), 1e-9)


def bounded(name: str, answers: Floats) -> Probe:
    """Whether probabilities are within 0 and 1, and not all the same."""
    astray = np.maximum(answers - 1, -answers)
    return _probe(name, np.where(np.isfinite(answers), astray, np.nan), np.ones(len(answers)))


def proportion(name: str, answers: Floats, factors: tuple[float, ...], *, wanted: float = 1.0) -> Probe:
    """The elasticity of the sum of the answers between the first factor and the last; shape (factors, rows)."""
    first, last = float(answers[0].sum()), float(answers[-1].sum())
    slope = np.log(last / first) / np.log(factors[-1] / factors[0]) if first > 0 and last > 0 else np.nan
    return Probe(name, rows=answers.shape[1], broken=0.0, worst=0.0, elasticity=float(slope), wanted=wanted)


def measure_sparse_hotels(
    clicks: pd.DataFrame,
    known_share: Floats,
    predict: Callable[[pd.DataFrame], Floats],
    *,
    bid_share: float,
    later: pd.DataFrame,
    later_share: Floats,
    seed: int,
) -> SparseHotels:
    """What a conversion model makes of hotels with few bookings.

    Args:
        clicks: those that it could learn from, with `booked` as known then; the rows that the model reads.
        known_share: share of the bookings of each that was known then; shape (clicks,).
        predict: the model's probability that a click books; shape (rows,).
        bid_share: mean bid over the worth of a click.
        later: mature clicks since, with `booked`.
        later_share: as `known_share`; shape (later,).
        seed: of the resampling.
    """
    from scipy.special import gammainc

    from ml.evaluation.paired import ratio_bootstrap
    from ml.models.shrinkage import USUAL_HOTEL, fit_strength

    said, blind = predict(clicks), predict(clicks.assign(hotel_id=UNKNOWN_HOTEL))
    names, code = np.unique(clicks["hotel_id"].astype(str).to_numpy(dtype=object), return_inverse=True)
    booked, due, ours, theirs = (
        np.bincount(code, values, minlength=len(names)).astype(np.float64)
        for values in (clicks["booked"].to_numpy(dtype=np.float64), blind * known_share, said, blind)
    )
    due = due * booked.sum() / due.sum()
    multiplier = np.divide(ours, theirs, out=np.ones(len(names)), where=theirs > 0) * theirs.sum() / ours.sum()
    strength = fit_strength(booked, due, usual=USUAL_HOTEL)
    sparse = (due < SPARSE_BOOKINGS) & (due > 0)
    if not sparse.any():
        return SparseHotels(hotels=len(names), sparse=0, bookings=int(booked.sum()))
    weight, excess = due[sparse], booked[sparse] / due[sparse] - 1
    spread = float(weight @ excess**2)
    m = multiplier[sparse]
    over = gammainc(booked[sparse] + strength, (due[sparse] + strength) * m * bid_share / 2)
    promised = None
    place = np.searchsorted(names, later["hotel_id"].astype(str).to_numpy(dtype=object))
    place = np.minimum(place, len(names) - 1)
    of_sparse = sparse[place] & (names[place] == later["hotel_id"].astype(str).to_numpy(dtype=object))
    if of_sparse.any():
        edge = np.quantile(multiplier[place[of_sparse]], 1 - UPPER_SHARE)
        high = of_sparse & (multiplier[place] >= edge)
        expected = predict(later[high]) * later_share[high]
        if float(expected.sum()) >= MIN_PROMISED:
            promised = ratio_bootstrap(
                expected, later["booked"].to_numpy(dtype=np.float64)[high], place[high], seed=seed
            )
    return SparseHotels(
        hotels=len(names),
        sparse=int(sparse.sum()),
        bookings=int(booked[sparse].sum()),
        follows=float(weight @ ((m - 1) * excess)) / spread if spread > 0 else 0.0,
        ought=float(weight @ (excess**2 * due[sparse] / (due[sparse] + strength))) / spread if spread > 0 else 0.0,
        lowest=float(m.min()),
        highest=float(m.max()),
        outside_share=float(np.average((m < WIDEST[0]) | (m > WIDEST[1]), weights=weight)),
        over_bid_share=float(np.average(over, weights=weight)),
        promised=promised if promised is not None and promised.finite else None,
    )


def _probe(name: str, breaks: Floats, weights: Floats, tolerance: float = TOLERANCE) -> Probe:
    if not len(breaks):
        return Probe(name, rows=0)
    total = float(weights.sum())
    broken = float(weights @ ((breaks > tolerance) | ~np.isfinite(breaks))) / total if total > 0 else np.nan
    return Probe(name, rows=len(breaks), broken=broken, worst=float(np.max(breaks)))


def _times(column: pd.Series[int], factor: float) -> pd.Series[int]:
    return (column * factor).round().astype(column.dtype)
