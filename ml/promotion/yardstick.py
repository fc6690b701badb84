"""One measure for two sets of bids: the auctions of the last days, how the market answers, and what a click is worth.

The worth belongs to neither: candidate and champion are each believed as far as the matured outcomes of the holdout speak for them,
and the whole is scaled to what came. A candidate is so judged by no model alone, least of all by its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.evaluation.metrics import log_losses, value_deviances

if TYPE_CHECKING:
    from ml.models.response import Response

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

GRID: Floats = np.linspace(0.0, 1.0, 21)
"""Shares of belief in the candidate that are weighed."""

PRIOR_BOOKINGS = 25.0
"""Weight, in bookings, of the models' own level against what came."""


@dataclass(frozen=True)
class Auctions:
    """Every auction of the last days, in the order of time; shape (auctions,) each.

    Attributes:
        cell: the number of its cell.
        day: the number of its day, rising from 0 without a gap.
        hotel: the number of its hotel, for resampling.
        bid_micros: what was bid.
        clicked: whether it was clicked.
        cost_micros: what the click cost; 0 without one.
    """

    cell: Ints
    day: Ints
    hotel: Ints
    bid_micros: Floats
    clicked: Bools
    cost_micros: Floats

    def __len__(self) -> int:
        return len(self.cell)

    @property
    def days(self) -> int:
        """How many days there are."""
        return int(self.day.max(initial=-1)) + 1

    def take(self, which: Bools) -> Auctions:
        """Some of them."""
        return Auctions(
            self.cell[which], self.day[which], self.hotel[which],
            self.bid_micros[which], self.clicked[which], self.cost_micros[which],
        )  # fmt: skip

    def counts(self, cells: int) -> Floats:
        """Auctions of each day and cell; shape (days, cells)."""
        place = self.day * cells + self.cell
        return np.bincount(place, minlength=self.days * cells).reshape(self.days, cells).astype(np.float64)


@dataclass(frozen=True)
class Yardstick:
    """How the market answers to bids, the same for whoever bids.

    Attributes:
        response: of kinds of cells, learned on `worth_micros`.
        codes: the kind of each cell; shape (cells,).
        worth_micros: of a click, as `Belief` has it; shape (cells,).
    """

    response: Response
    codes: Ints
    worth_micros: Floats

    def at(self, bids_micros: Floats, *, prices: float = 1.0) -> tuple[Floats, Floats]:
        """Clicks and cost in micros of one auction of each cell at these bids; shape (cells,) each.

        `prices` scales what rivals bid: a bid then brings what the bid over it brought, at so many times the cost.
        """
        return self.of(np.arange(len(self.codes)), bids_micros, prices=prices)

    def of(self, cells: Ints, bids_micros: Floats, *, prices: float = 1.0) -> tuple[Floats, Floats]:
        """The same for auctions of these cells, each with its own bid; shape of `cells`."""
        worth = np.maximum(self.worth_micros[cells], 1.0)
        clicks, cost = self.response.at(self.codes[cells], (bids_micros / prices / worth)[:, None])
        return clicks[:, 0], cost[:, 0] * worth * prices


@dataclass(frozen=True)
class Belief:
    """How far candidate and champion are believed, and what comes for what they promise.

    Attributes:
        books, keeps: weights of `GRID`, as shares of belief in the candidate's conversion and value model; sums are 1.
        scale: money that came over money that the believed models promised, pulled to 1.
        scale_shape: how sure that is, as the shape of a Gamma distribution.
    """

    books: Floats
    keeps: Floats
    scale: float
    scale_shape: float

    @property
    def trust(self) -> float:
        """Mean belief in the candidate's conversion model."""
        return float(GRID @ self.books)

    @property
    def trust_value(self) -> float:
        """Mean belief in the candidate's value model."""
        return float(GRID @ self.keeps)

    def draws(self, rng: np.random.Generator, count: int) -> tuple[Floats, Floats, Floats]:
        """Belief in the conversion model, in the value model, and scale; shape (count,) each."""
        scale = self.scale * rng.gamma(self.scale_shape, size=count) / self.scale_shape
        return rng.choice(GRID, count, p=self.books), rng.choice(GRID, count, p=self.keeps), scale


@dataclass(frozen=True)
class Promise:
    """What one bundle says of a click of each cell; shape (cells,): `p_book` and net value of a booking, in micros."""

    p_book: Floats
    net_value_micros: Floats


@dataclass(frozen=True)
class Outcome:
    """Matured clicks and settled bookings, with what candidate and champion said of them.

    Attributes:
        booked: 1 or 0 per click, `books` what each of the two said of its label; shape (clicks,) and (2, clicks).
        stay: what the click's stay is worth if booked, net; shape (clicks,).
        kept: net value of each settled booking, `keeps` what each said; shape (bookings,) and (2, bookings).
    """

    booked: Floats
    books: Floats
    stay: Floats
    kept: Floats
    keeps: Floats


def believe(said: Outcome) -> Belief:
    """How far each of the two is believed: a uniform prior over mixtures, and the likelihood of what came."""
    books = np.array([-log_losses(said.booked, mixed(said.books, share)).sum() for share in GRID])
    spread = np.array([value_deviances(said.kept, mixed(said.keeps, share)) for share in GRID]).sum(axis=1)
    spread = -0.5 * spread * len(said.kept) / max(float(spread.min()), 1e-300)
    weights = [_normal(books), _normal(spread)]
    believed = mixed(said.books, float(GRID @ weights[0]))
    promised, came, count = float(believed @ said.stay), float(said.booked @ said.stay), float(said.booked.sum())
    ratio = came / promised if promised > 0 else 1.0
    return Belief(
        weights[0],
        weights[1],
        scale=(count * ratio + PRIOR_BOOKINGS) / (count + PRIOR_BOOKINGS),
        scale_shape=count + PRIOR_BOOKINGS,
    )


def believed_worth(belief: Belief, candidate: Promise, champion: Promise, *, take_share: float) -> Floats:
    """What a click of each cell earns by the mean belief, in micros; shape (cells,)."""
    books = mixed(np.array([candidate.p_book, champion.p_book]), belief.trust)
    keeps = mixed(np.array([candidate.net_value_micros, champion.net_value_micros]), belief.trust_value)
    return np.asarray(books * keeps * take_share * belief.scale, dtype=np.float64)


def mixed(both: Floats, share: float) -> Floats:
    """A share of the first of the two, and the rest of the second; shape of one of them."""
    return np.asarray(share * both[0] + (1 - share) * both[1], dtype=np.float64)


def _normal(log_weights: Floats) -> Floats:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)
