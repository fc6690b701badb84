"""Bids that are moved on purpose, to learn: jitter for the landscape, Thompson samples for hotels and curves.

What is moved is chosen by a keyed hash, so that the same seed and period move the same cells by the same factors,
whatever other cells there are. The factor's density is given out with it: a later estimate weighs by it. The spend
that all of it moves is bounded, and what it costs is told.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtri

from ml.bidding.landscape import Floats, Landscape
from ml.core.errors import UsageError

MAX_FACTOR = 1.5
"""No single exploration moves a bid further than this, up or down."""
_UNIT = float(2**64)


@dataclass(frozen=True)
class ExplorationPolicy:
    """How much is tried.

    Attributes:
        seed: of the hash.
        cell_share: share of cells whose bids are jittered in a period, at most 0.10.
        log_sd: standard deviation of the log of the jitter, 0.01 to 0.5; 0.10 to 0.20 is usual. A share of 0 is no jitter.
        max_spend_share: spend moved at most, as a share of the spend without exploration; at most 0.03.
        prior: pseudo bookings of the Gamma prior of a hotel's multiplier; 4.5 is a log effect of sd 0.45.
    """

    seed: int
    cell_share: float = 0.075
    log_sd: float = 0.15
    max_spend_share: float = 0.03
    prior: float = 4.5

    def __post_init__(self) -> None:
        limits = {"cell_share": (0, 0.10), "log_sd": (0.01, 0.5), "max_spend_share": (0, 0.03), "prior": (0.1, 1_000)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"the exploration's {name} of {value} is not within {low} and {high}")


@dataclass(frozen=True)
class Explored:
    """Bids with exploration in them.

    Attributes:
        bids_micros: the bids; shape (n,).
        factor: bid over what it would have been, 1 where nothing was tried; shape (n,).
        jitter: the jitter drawn, of which partner steps may have left less in the factor; shape (n,).
        density: density of the jitter where the cell was jittered, 1 elsewhere: the propensity to log.
        jittered: cells whose bid was jittered; shape (n,).
        spend_share: spend moved (the sum of the absolute changes) over the spend without exploration.
        cost_micros: expected profit a day given up for it.
        profit_share: that over the profit without exploration.
    """

    bids_micros: Floats
    factor: Floats
    jitter: Floats
    density: Floats
    jittered: npt.NDArray[np.bool_]
    spend_share: float
    cost_micros: float
    profit_share: float


def jitter(keys: Sequence[str], period: str, policy: ExplorationPolicy) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Log-normal factors of mean 1 for a share of the cells.

    Args:
        keys: one text per cell that names it for good.
        period: what changes the choice, such as the week.
        policy: how much.

    Returns:
        Factor, its density and whether the cell was chosen; shape (n,) each. A factor beyond `MAX_FACTOR` is cut, and
        its density is the probability of the cut.
    """
    chosen, place = _uniforms(keys, f"jitter|{period}", policy.seed)
    picked = chosen < policy.cell_share
    z = ndtri(place)
    centre, edge = -(policy.log_sd**2) / 2, math.log(MAX_FACTOR)
    logs = centre + policy.log_sd * z
    density = np.exp(-(z**2) / 2) / (policy.log_sd * math.sqrt(2 * math.pi)) / np.exp(logs)
    tails = [math.erfc(abs(cut - centre) / policy.log_sd / math.sqrt(2)) / 2 for cut in (-edge, edge)]
    density = np.where(logs <= -edge, tails[0], np.where(logs >= edge, tails[1], density))
    factor = np.exp(np.clip(logs, -edge, edge))
    return np.where(picked, factor, 1.0), np.where(picked, density, 1.0), picked


def thompson_hotels(
    hotels: Sequence[str], observed: Floats, expected: Floats, period: str, policy: ExplorationPolicy
) -> Floats:
    """A draw of each hotel's multiplier over its posterior mean; the bids of a hotel are multiplied by it.

    The multiplier of a hotel that had `k` bookings where the context model expected `E` is Gamma(k + a, E + a), a being
    the prior: 8.5 % wide after 140 bookings, 47 % wide for a hotel that was never booked.

    Args:
        hotels: ids; shape (n,), one per row, repeated where several rows are of one hotel (which then share a draw).
        observed: bookings of the row's hotel; shape (n,), at least 0.
        expected: bookings the model expected of it; shape (n,), at least 0. The mean cancels out of the ratio, so it
            is only checked.
        period: what changes the draw.
        policy: seed and prior.

    Returns:
        Shape (n,), within 1 / `MAX_FACTOR` and `MAX_FACTOR`.
    """
    if not (np.isfinite(observed).all() and np.isfinite(expected).all()) or min(observed.min(), expected.min()) < 0:
        raise ValueError("a hotel's bookings, observed or expected, are not finite or are negative")
    shape = observed + policy.prior
    place = _uniforms(hotels, f"hotel|{period}", policy.seed)[1]
    ratio: Floats = gammaincinv(shape, place) / shape
    return np.clip(ratio, 1 / MAX_FACTOR, MAX_FACTOR)


def thompson_landscape(
    landscape: Landscape, log_sd: Floats, keys: Sequence[str], period: str, policy: ExplorationPolicy
) -> Landscape:
    """A draw of the landscape where the scale of its prices is uncertain.

    If every price of a cell were e^z times what was thought, a bid b would bring what b e^-z brought, at e^z times the
    cost. Bids optimised on the draw are a Thompson sample of the landscape.

    Args:
        landscape: the mean.
        log_sd: standard deviation of the log of each cell's price scale; shape (n,).
        keys: names of the cells.
        period: what changes the draw.
        policy: the seed.
    """
    z = log_sd * ndtri(_uniforms(keys, f"landscape|{period}", policy.seed)[1])
    z = np.clip(z, -math.log(MAX_FACTOR), math.log(MAX_FACTOR))[:, None]
    # Beyond the last level nothing is known, so that a draw of cheaper prices gives no more than the last level did.
    clicks, cost = landscape.at(landscape.bids_micros * np.exp(-z))
    return replace(landscape, clicks=np.maximum.accumulate(clicks, axis=1), cost_micros=np.exp(z) * cost)


def explore(
    bids_micros: Floats,
    keys: Sequence[str],
    landscape: Landscape,
    policy: ExplorationPolicy,
    *,
    period: str,
    draws: Floats | None = None,
) -> Explored:
    """Bids with jitter, and with draws of Thompson sampling where given, within the spend that may be moved.

    Where they would move more, keys are left as they were, in an order of the hash, until they do not.

    Args:
        bids_micros: bids without exploration, per click; shape (n,).
        keys: what each cell is tried with; cells of one key, such as a hotel whose base bid they share, move together.
        landscape: expected clicks and cost.
        policy: how much is tried.
        period: what changes the choice.
        draws: factor of each cell from `thompson_hotels`, or bids on a drawn landscape over `bids_micros`.
    """
    random, density, jittered = jitter(keys, period, policy)
    factor = random if draws is None else np.clip(random * draws, 1 / MAX_FACTOR, MAX_FACTOR)
    factor = np.where(bids_micros > 0, factor, 1.0)
    before = landscape.at(bids_micros)[1]
    moved = np.abs(landscape.at(bids_micros * factor)[1] - before)
    names, code = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    order = np.argsort(_uniforms(names.tolist(), f"order|{period}", policy.seed)[0], kind="stable")
    by_key = np.bincount(code, weights=moved, minlength=len(names))
    within = np.zeros(len(names), dtype=bool)
    within[order] = np.cumsum(by_key[order]) <= policy.max_spend_share * float(before.sum())
    kept = within[code]
    factor, jittered = np.where(kept, factor, 1.0), jittered & kept & (bids_micros > 0)
    return _priced(bids_micros, factor, random, density, jittered, landscape)


def rounded(found: Explored, bids_micros: Floats, factor: Floats, landscape: Landscape) -> Explored:
    """What was tried once a partner's steps and ceilings had moved the factors; `bids_micros` are without it.

    Jitter and density stay those that were drawn.
    """
    return _priced(bids_micros, factor, found.jitter, found.density, found.jittered, landscape)


def _priced(
    bids_micros: Floats,
    factor: Floats,
    random: Floats,
    density: Floats,
    jittered: npt.NDArray[np.bool_],
    landscape: Landscape,
) -> Explored:
    """Exploration with the spend that it moves and the profit that it costs."""
    bids = bids_micros * factor
    before, after = landscape.at(bids_micros)[1], landscape.at(bids)[1]
    profits = [float(landscape.profit_at(which).sum()) for which in (bids_micros, bids)]
    spend = float(before.sum())
    return Explored(
        bids_micros=bids,
        factor=factor,
        jitter=np.where(jittered, random, 1.0),
        density=np.where(jittered, density, 1.0),
        jittered=jittered,
        spend_share=float(np.abs(after - before).sum()) / spend if spend > 0 else 0.0,
        cost_micros=profits[0] - profits[1],
        profit_share=(profits[0] - profits[1]) / profits[0] if profits[0] > 0 else 0.0,
    )


def _uniforms(keys: Sequence[str], salt: str, seed: int) -> tuple[Floats, Floats]:
    """Two independent uniforms of each key, strictly within 0 and 1."""
    whole = hashlib.blake2b(f"{seed}|{salt}|".encode(), digest_size=16)
    numbers = np.empty((len(keys), 2), dtype=np.uint64)
    for row, key in enumerate(keys):
        own = whole.copy()
        own.update(key.encode())
        numbers[row] = np.frombuffer(own.digest(), dtype="<u8")
    uniforms = (numbers.astype(np.float64) + 0.5) / _UNIT
    uniforms = np.clip(uniforms, 1e-12, 1 - 1e-12)
    return uniforms[:, 0], uniforms[:, 1]
