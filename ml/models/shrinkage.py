"""Sparse hotels: how much a hotel converts above what its context says, learned from few bookings.

A context model expects `E_h` bookings of a hotel, and `k_h` came. The raw ratio `k / E` is noise for most hotels:
nine in ten have no booking in a month. Here `k_h ~ Poisson(E_h m_h)` with the multiplier `m_h` Gamma distributed
around the multiplier of its cluster, that around its city's, and that around its country's, so that

    multiplier_h = parent * (k_h + a) / (E_h * parent + a)

where `a` is the strength of a level: the expected bookings at which a node counts as much as its parent. For a
log-normal effect of deviation s it is `1 / (exp(s**2) - 1)`, about 4.5 for the .45 of hotels. Strengths are not
set but estimated: by the marginal likelihood, which is negative binomial (empirical Bayes).

A parent sees each of its children discounted, `k a / (a + E m)` bookings of `E a / (a + E m)` expected, which is the
weight of the child in the score of the negative binomial likelihood: one big hotel is one hotel, not a city.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact, UsageError
from ml.models.artefacts import read_object
from ml.models.numbers import Bools, Floats, Ints, to_json_floats

LOWEST, HIGHEST = 0.4, 2.5
"""No multiplier leaves these: beyond them a hotel's data are more likely wrong than telling."""

MAX_OVER, OVER_PROBABILITY = 2.0, 0.01
"""A bid is above twice the worth of a click with at most this probability."""

SPARSE_BOOKINGS = 5.0
"""A hotel with fewer expected bookings is sparse."""

FILE = "shrinkage/multipliers.json"

USUAL_HOTEL, USUAL_MARKET = 0.5, 0.25
"""Deviations of the effects of hotels, and of the topmost level, that are likely before any data: a few hundred
bookings, and a handful of markets, tell them only roughly. A little above the .45 and .20 that are usual, which is
the side of lower bids where little is known."""

_PRIOR_DEVIATION = 0.7
_STRENGTHS, _GRID = (0.05, 1e4), 123
"""Strengths that are tried, a tenth apart in the logarithm."""

_ROUNDS = 4
_LOW_NORMAL = -2.8070337683438042
"""The 0.25 % quantile: most of `OVER_PROBABILITY` is left for what the strengths, being estimates, get wrong."""


def strength_of(deviation: float) -> float:
    """The strength that a log-normal effect of this standard deviation of the logarithm amounts to.

    >>> round(strength_of(0.45), 1)
    4.5
    """
    return float(1.0 / np.expm1(deviation**2))


def fit_strength(counts: Floats, expected: Floats, *, usual: float | None = None) -> float:
    """The strength that the counts speak for, were they negative binomial around what was expected.

    Args:
        counts: events per node, shape (n,), 0 or more; discounted ones need not be whole.
        expected: events expected of each were it average, shape (n,); nodes of which nothing was expected say nothing.
        usual: deviation of the effect that is likely beforehand, give or take a factor of e**.35 (its strength has a
            log-normal prior of deviation .7); none for the marginal likelihood alone.

    Returns:
        One over the mean of `1 / a` under the likelihood, within 0.05 and 10,000. The mean variance and not the
        likeliest one: where few counts tell it, nodes may differ more than they show.
    """
    from scipy.special import gammaln

    seen = expected > 0
    k, mean = counts[seen, None], expected[seen, None]
    log_a = np.linspace(np.log(_STRENGTHS[0]), np.log(_STRENGTHS[1]), _GRID)
    a = np.exp(log_a)
    terms = gammaln(k + a) - gammaln(a) - (k + a) * np.log1p(mean / a) - k * log_a
    doubt = 0.0 if usual is None else (log_a - np.log(strength_of(usual))) / _PRIOR_DEVIATION
    likely = terms.sum(axis=0) - 0.5 * doubt**2
    weight = np.exp(likely - likely.max())
    return float(weight.sum() / (weight / a).sum())


@dataclass(frozen=True)
class Multipliers:
    """The Gamma posterior of each hotel's multiplier, and of every level above.

    Attributes:
        keys: of each level from the hotels up, the names of its nodes, sorted.
        parents: of each level, the number of each node's parent in the next level; zeros for the topmost.
        shapes: of each level, the Gamma shape of each node: one over the squared coefficient of variation, which is
            events seen plus strength where the parent is certain, and less where it is not.
        means: of each level, the posterior mean multiplier of each node.
        strengths: of each level, from the hotels up.
        scale: events seen over expected of the typical hotel, to which all means are relative: of all hotels each
            by what it can tell, so that a giant does not speak for the small ones.
        total: Gamma shape of the scale.
    """

    keys: tuple[tuple[str, ...], ...]
    parents: tuple[Ints, ...]
    shapes: tuple[Floats, ...]
    means: tuple[Floats, ...]
    strengths: tuple[float, ...]
    scale: float
    total: float

    @classmethod
    def fit(cls, levels: Sequence[Sequence[str]], bookings: Floats, expected: Floats) -> Multipliers:
        """Learn strengths and multipliers.

        Args:
            levels: for the hotels, then each level above them (cluster, city, country), the node that each row
                belongs to; every one of shape (n,). A node lies in one parent only.
            bookings: bookings of the row, shape (n,), 0 or more.
            expected: what a model without hotel effect expects of it (with young clicks by the share of bookings
                known), shape (n,), 0 or more.

        Raises:
            UsageError: a count is negative or not finite, the lengths differ, or a node lies in two parents.
        """
        _check(levels, bookings, expected)
        keys, codes = _nodes(levels)
        parents = _parents(levels, keys, codes)
        size = len(keys[0])
        k = _sums(codes[0], bookings, size)
        expected_of = _sums(codes[0], expected, size)
        doubt = 1.0
        scale = (float(k.sum()) + 1.0) / (float(expected_of.sum()) + 1.0)
        means = [np.ones(len(names)) for names in keys]
        strengths = [4.0] * len(keys)
        shapes = [np.ones(len(names)) for names in keys]
        for _ in range(_ROUNDS):
            seen, due = _upwards(k, expected_of * scale, parents, means, strengths)
            trust = strengths[-1] / (strengths[-1] + due[-1])
            # As if one booking more had been expected and had come: without any, the model's own level stands.
            average = float((seen[-1] * trust).sum() + 1.0) / float((due[-1] * trust).sum() / scale + 1.0) / scale
            doubt = 1.0 / (float((seen[-1] * trust).sum()) + 1.0)
            scale, due = scale * average, [part * average for part in due]
            for level in reversed(range(len(keys))):
                top = level + 1 == len(keys)
                above = np.ones(len(keys[level])) if top else means[level + 1][parents[level]]
                unsure = np.full(len(keys[level]), doubt) if top else 1.0 / shapes[level + 1][parents[level]]
                usual = USUAL_HOTEL if level == 0 else USUAL_MARKET if top else None
                a = strengths[level] = fit_strength(seen[level], due[level] * above, usual=usual)
                rest = a / (due[level] * above + a)
                means[level] = above * (seen[level] + a) * rest / a
                shapes[level] = 1.0 / (1.0 / (seen[level] + a) + rest**2 * unsure)
        scale, total = to_json_floats([scale, 1.0 / doubt])
        return cls(keys, parents, tuple(shapes), tuple(means), tuple(strengths), scale, total)

    def of(self, levels: Sequence[Sequence[str]], *, shade: float | None) -> Floats:
        """The multiplier of each row, shape (n,), within `LOWEST` and `HIGHEST`, to be put on a model's p.

        A hotel never seen has its cluster's multiplier, one of an unseen cluster its city's, and so on.

        Args:
            levels: as in `fit`.
            shade: the share of a click's worth that is bid. The multiplier is then held back so that the bid is more
                than `MAX_OVER` times the worth of the click with probability `OVER_PROBABILITY` at most; the less is
                known of a hotel, the more. None gives the posterior mean, as for reports.
        """
        mean, shape = self.posterior(levels)
        wanted = mean if shade is None else np.minimum(mean, MAX_OVER / shade * _low_quantile(mean, shape))
        return np.clip(self.scale * wanted, LOWEST, HIGHEST)

    def sample(self, levels: Sequence[Sequence[str]], *, rng: np.random.Generator) -> Floats:
        """Multipliers drawn from their posteriors, shape (n,), within `LOWEST` and `HIGHEST`: for Thompson sampling.
        Rows of one hotel are drawn apart; hand in each hotel once."""
        mean, shape = self.posterior(levels)
        return np.clip(self.scale * mean * rng.gamma(shape) / shape, LOWEST, HIGHEST)

    def posterior(self, levels: Sequence[Sequence[str]]) -> tuple[Floats, Floats]:
        """Mean, in units of `scale`, and Gamma shape of each row's multiplier, each of shape (n,)."""
        rows = len(levels[0])
        mean, shape = np.ones(rows), np.full(rows, self.total)
        for level in reversed(range(len(self.keys))):
            code, known = _lookup(self._places[level], levels[level])
            mean = np.where(known, self.means[level][code], mean)
            unseen = 1.0 / (1.0 / self.strengths[level] + 1.0 / shape)
            shape = np.where(known, self.shapes[level][code], unseen)
        return mean, shape

    @cached_property
    def _places(self) -> tuple[Mapping[str, int], ...]:
        """Of each level, the number of each node."""
        return tuple({name: number for number, name in enumerate(names)} for names in self.keys)

    def artefacts(self) -> dict[str, bytes]:
        """One JSON file."""
        value = {
            "keys": [list(names) for names in self.keys],
            "parents": [parent.tolist() for parent in self.parents],
            "shapes": [to_json_floats(shape) for shape in self.shapes],
            "means": [to_json_floats(mean) for mean in self.means],
            "strengths": to_json_floats(self.strengths),
            "scale": self.scale,
            "total": self.total,
        }
        return {FILE: canonical_json(value)}

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Multipliers:
        """Read back `artefacts`; CorruptArtefact when the file is missing or not of its form."""
        value = read_object(artefacts, FILE)
        try:
            found = cls(
                keys=tuple(tuple(map(str, names)) for names in value["keys"]),
                parents=tuple(np.asarray(parent, dtype=np.int64) for parent in value["parents"]),
                shapes=_floats(value["shapes"]),
                means=_floats(value["means"]),
                strengths=tuple(float(a) for a in value["strengths"]),
                scale=float(value["scale"]),
                total=float(value["total"]),
            )
            sizes = [len(names) for names in found.keys]
            fits = all(
                [part.shape for part in parts] == [(size,) for size in sizes]
                for parts in (found.parents, found.shapes, found.means)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _corrupt() from error
        numbers = np.concatenate([*found.shapes, *found.means, found.strengths, [found.scale, found.total]])
        if not (sizes and fits and len(found.strengths) == len(sizes) and (np.isfinite(numbers) & (numbers > 0)).all()):
            raise _corrupt()
        return found


def _upwards(
    k: Floats, offset: Floats, parents: Sequence[Ints], means: Sequence[Floats], strengths: Sequence[float]
) -> tuple[list[Floats], list[Floats]]:
    """What each level sees: events and events expected, those of the levels below discounted."""
    seen, due = [k], [offset]
    for level in range(len(parents) - 1):
        a, above = strengths[level], means[level + 1][parents[level]]
        share = a / (a + due[level] * above)
        size = len(means[level + 1])
        seen.append(_sums(parents[level], seen[level] * share, size))
        due.append(_sums(parents[level], due[level] * share, size))
    return seen, due


def _sums(groups: Ints, values: Floats, size: int) -> Floats:
    return np.bincount(groups, values, minlength=size).astype(np.float64)


def _low_quantile(mean: Floats, shape: Floats) -> Floats:
    """The 0.25 % quantile of the log-normal of a Gamma's mean and variance: hotel effects are nearer to the former."""
    variance = np.log1p(1.0 / shape)
    return np.asarray(mean * np.exp(_LOW_NORMAL * np.sqrt(variance) - variance / 2), dtype=np.float64)


def _nodes(levels: Sequence[Sequence[str]]) -> tuple[tuple[tuple[str, ...], ...], list[Ints]]:
    keys, codes = [], []
    for names in levels:
        unique, code = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
        keys.append(tuple(map(str, unique)))
        codes.append(code.astype(np.int64).ravel())
    return tuple(keys), codes


def _parents(levels: Sequence[Sequence[str]], keys: Sequence[Sequence[str]], codes: Sequence[Ints]) -> tuple[Ints, ...]:
    found = []
    for level in range(len(levels) - 1):
        parent = np.zeros(len(keys[level]), dtype=np.int64)
        parent[codes[level]] = codes[level + 1]
        astray = np.flatnonzero(parent[codes[level]] != codes[level + 1])
        if len(astray):
            name = keys[level][codes[level][astray[0]]]
            raise UsageError(
                f"{name!r} lies in two nodes of the level above it", next="make the names of the levels nest"
            )
        found.append(parent)
    return (*found, np.zeros(len(keys[-1]), dtype=np.int64))


def _lookup(places: Mapping[str, int], names: Sequence[str]) -> tuple[Ints, Bools]:
    """Number of each name (0 where unknown), and whether it is known."""
    place = np.fromiter(map(places.get, map(str, names), repeat(-1)), np.int64, len(names))
    return np.maximum(place, 0), place >= 0


def _check(levels: Sequence[Sequence[str]], bookings: Floats, expected: Floats) -> None:
    sizes = {len(names) for names in levels} | {len(bookings), len(expected)}
    if len(sizes) != 1 or not levels:
        raise UsageError("levels, bookings and expected bookings differ in length", next="give one of each per row")
    both = np.concatenate([bookings, expected])
    if not (np.isfinite(both).all() and (both >= 0).all()):
        raise UsageError("a count of bookings is negative or not finite", next="drop such rows and count them")
    if not expected.sum() > 0:
        raise UsageError("no booking is expected of any hotel", next="give the bookings that a model expects")


def _floats(parts: Any) -> tuple[Floats, ...]:
    return tuple(np.asarray(part, dtype=np.float64) for part in parts)


def _corrupt() -> CorruptArtefact:
    return CorruptArtefact(f"{FILE} is not of the expected form", next="train the version again")
