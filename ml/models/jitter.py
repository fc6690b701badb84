"""Randomised bids, from which a landscape can be learned: on some cells of a day the bid is drawn around its base.

Who is drawn and how far depends on the seed, the day and the cell's name only, not on which other cells there are or
in which order, so that a day published again draws the same. The density of what was drawn is logged with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from ml.core.errors import UsageError
from ml.models.numbers import Bools, Floats, Ints

SHARE = 0.08
"""So many of the cells are drawn on a day; 5 to 10 % suffice."""

DEVIATION = 0.15
"""Standard deviation of the logarithm of a drawn bid over its base; 0.10 to 0.20."""

_WIDEST = 3.0


@dataclass(frozen=True)
class Jittered:
    """Bids of a day, each of shape (cells,).

    Attributes:
        bid_micros: to be published.
        drawn: whether the bid was drawn.
        density: of the logarithm of the bid over its base, among drawn bids; NaN where none was drawn. The probability
            to be drawn at all is `share`.
    """

    bid_micros: Ints
    drawn: Bools
    density: Floats


def jitter(
    cells: Sequence[str], base_micros: Ints, *, day: date, seed: int, share: float = SHARE, deviation: float = DEVIATION
) -> Jittered:
    """Draw the bids of some cells from a log-normal around their base, cut at three deviations.

    Args:
        cells: names, shape (cells,).
        base_micros: bids before the draw, shape (cells,), at least 0.
        day: the market day that they hold for.
        seed: of the draws.
        share: of the cells that are drawn, 0 to 1.
        deviation: of the logarithm, above 0.

    Raises:
        UsageError: share or deviation out of range.
    """
    if not (0 <= share <= 1 and deviation > 0):
        raise UsageError(
            f"bids cannot be drawn on a share of {share} of cells with deviation {deviation}",
            next="choose a share between 0 and 1 and a deviation above 0",
        )
    from scipy.special import ndtr, ndtri

    chosen, place = _uniforms(cells, f"{seed} {day.isoformat()}")
    edge = ndtr(-_WIDEST)
    step = deviation * ndtri(edge + place * (1 - 2 * edge))
    drawn = np.asarray((chosen < share) & (base_micros > 0), dtype=np.bool_)
    bids = np.where(drawn, np.rint(base_micros * np.exp(step)), base_micros).astype(np.int64)
    density = np.exp(-0.5 * (step / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi) * (1 - 2 * edge))
    return Jittered(bids, drawn, np.where(drawn, density, np.nan))


def _uniforms(cells: Sequence[str], salt: str) -> tuple[Floats, Floats]:
    """Two numbers within 0 and 1 for each cell, by a hash of its name."""
    found = [hashlib.blake2b(f"{salt} {cell}".encode(), digest_size=16).digest() for cell in cells]
    whole = np.frombuffer(b"".join(found), dtype="<u8").reshape(len(found), 2)
    uniform = ((whole >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return uniform[:, 0], uniform[:, 1]
