"""Target bids projected onto a partner's language, and what that costs.

Multiplicative bidding is hard to do best (Bateni et al., EC'14). Weighted least squares on the logs of the bids, by
backfitting, gives a start that is exact where log bids add up; where a landscape is known, coordinate search on the
expected profit then moves every base and multiplier, always on the partner's own steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.bidding.landscape import Floats, Ints, Landscape
from ml.bidding.language import BidLanguage, Projection

BACKFIT_ROUNDS = 30
SEARCH_ROUNDS = 6
FACTORS = np.array([1.0, 0.6, 0.75, 0.87, 0.94, 0.98, 1.02, 1.06, 1.15, 1.33, 1.66])
"""Factors that the search tries on each base and multiplier; 1 first, so that a tie changes nothing."""

_NEVER = 1e30
"""Worth of what must not be chosen."""

LOSS_PER_SQUARED_LOG_ERROR = 1.2
"""Profit lost per squared log error of bids; log noise of 0.1, 0.2, 0.3 and 0.5 lost 1, 5, 11 and 25 % in the market
of the research notes (2.7). It stands in where there is no landscape to measure a loss on."""


@dataclass(frozen=True)
class Worth:
    """What the search maximises: `clicks x value - cost_weight x cost` on a landscape.

    Attributes:
        landscape: in bids per click.
        per_click: bid per click in micros that one micro of the instruction's unit is, per cell (nights of a stay,
            for a bid per night); shape (n,).
        value_micros: worth of a click, the landscape's own if None; with a price on a floor, that is added.
        cost_weight: what a micro of cost weighs, 1 without limits; with those of `ml.bidding.limits.at_prices`, bids
            under a budget are not pushed up again; a number or shape (n,).
    """

    landscape: Landscape
    per_click: Floats
    value_micros: Floats | None = None
    cost_weight: Floats | float = 1.0

    def of(self, amount_micros: Floats) -> Floats:
        """The objective a day of each cell; the shape of `amount_micros`, (n,) or (n, k)."""
        wide = amount_micros.ndim == 2
        clicks, cost = self.landscape.at(amount_micros * (self.per_click[:, None] if wide else self.per_click))
        value = self.landscape.value_micros if self.value_micros is None else self.value_micros
        weight = np.broadcast_to(np.asarray(self.cost_weight, dtype=np.float64), value.shape)
        if wide:
            value, weight = value[:, None], weight[:, None]
        earned: Floats = clicks * value - weight * cost
        return earned


@dataclass
class _Words:
    """Base bids and multipliers while they are being found; a base or multiplier is read through its codes."""

    language: BidLanguage
    base: Floats
    base_codes: Ints
    multipliers: list[Floats]
    codes: list[Ints]

    def product(self) -> Floats:
        found = np.ones(len(self.base_codes))
        for values, codes in zip(self.multipliers, self.codes, strict=True):
            found *= values[codes]
        return np.minimum(found, self.language.max_product)

    def amount(self) -> Floats:
        return np.minimum(self.base[self.base_codes] * self.product(), self.language.max_amount_micros)

    def on_steps(self, which: int, values: Floats) -> Floats:
        """Values of the base (-1) or of a dimension as the partner takes them."""
        language = self.language
        if which < 0:
            step, low, high = language.base_step_micros, language.base_low_micros, language.base_high_micros
            return np.where(values > 0, np.clip(np.rint(values / step) * step, low, high), 0.0)
        of = language.dimensions[which]
        rounded = np.clip(np.rint(values / of.step) * of.step, of.low, of.high)
        if of.fixed is not None:
            rounded[of.fixed :: len(of.groups)] = 1.0
        return rounded


def project(
    language: BidLanguage,
    cells: pd.DataFrame,
    amount_micros: Floats,
    *,
    weights: Floats,
    unit: str = "",
    worth: Worth | None = None,
    ceiling_micros: Floats | None = None,
) -> Projection:
    """The base bids and multipliers nearest to the bids asked for.

    Args:
        language: the partner's.
        cells: one row per cell, with the columns that the language reads.
        amount_micros: bid asked for, in micros of the instruction's unit, 0 for none; shape (n,).
        weights: what each cell counts, such as expected clicks, at least 0; shape (n,).
        unit: the unit in words, for messages.
        worth: how bids turn into profit; None: only the logs of the bids are matched.
        ceiling_micros: what no cell may be bid more than, as guards left it; a ceiling of 0 only holds where the whole
            base is not bid on, since a product cannot say 0 for one cell; shape (n,).

    Raises:
        UsageError: the language cannot express a bid; one sentence says which, and nothing is published.
    """
    language.check(amount_micros, unit)
    words = _start(language, cells)
    _backfit(words, amount_micros, np.where(amount_micros > 0, weights, 0.0))
    if worth is not None:
        for _ in range(SEARCH_ROUNDS):
            if not _improve(words, worth):
                break
    if ceiling_micros is not None and _hold_below(words, ceiling_micros) and worth is not None:
        # A single cell's ceiling holds its whole base down; other multipliers may give some of it back.
        for _ in range(SEARCH_ROUNDS):
            if not _improve(words, worth, ceiling_micros):
                break
    said = words.amount()
    both = (amount_micros > 0) & (said > 0)
    errors = np.log(said[both] / amount_micros[both])
    total = weights[both].sum()
    log_error = float(np.sqrt((weights[both] * errors**2).sum() / total)) if total > 0 else 0.0
    if worth is None:
        loss, basis = min(LOSS_PER_SQUARED_LOG_ERROR * log_error**2, 1.0), "log error"
    else:
        asked = float(worth.of(amount_micros).sum())
        loss, basis = (1 - float(worth.of(said).sum()) / asked if asked > 0 else 0.0), "expected profit"
    base, multipliers = _tables(words, cells)
    return Projection(language, base, multipliers, said, loss, basis, log_error)


def _start(language: BidLanguage, cells: pd.DataFrame) -> _Words:
    base_codes = pd.factorize(cells[language.base_column], sort=True)[0].astype(np.int64)
    scope = _scope(language, cells)[0]
    scopes = int(scope.max(initial=0)) + 1
    codes, multipliers = [], []
    for dimension in language.dimensions:
        codes.append(scope * len(dimension.groups) + dimension.codes(cells, partner=language.partner))
        multipliers.append(np.ones(scopes * len(dimension.groups)))
    return _Words(language, np.zeros(int(base_codes.max(initial=-1)) + 1), base_codes, multipliers, codes)


def _scope(language: BidLanguage, cells: pd.DataFrame) -> tuple[Ints, list[str]]:
    if language.scope_column is None:
        return np.zeros(len(cells), dtype=np.int64), [""]
    codes, names = pd.factorize(cells[language.scope_column], sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


def _backfit(words: _Words, target: Floats, weights: Floats) -> None:
    """Weighted least squares on logs, one family of words at a time, then put onto the partner's limits and steps."""
    logs = np.log(np.where(target > 0, target, 1.0))
    fitted = [np.zeros(len(values)) for values in words.multipliers]
    base = np.zeros(len(words.base))
    for _ in range(BACKFIT_ROUNDS):
        rest = logs - _sum_logs(fitted, words.codes)
        base = _means(rest, words.base_codes, weights, len(base))
        for number, codes in enumerate(words.codes):
            rest = logs - base[words.base_codes] - _sum_logs(fitted, words.codes, leave=number)
            fitted[number] = _means(rest, codes, weights, len(fitted[number]))
            if words.language.scope_column is None:
                # What all groups share belongs to the base.
                totals = np.bincount(codes, weights=weights, minlength=len(fitted[number]))
                if totals.sum() > 0:
                    fitted[number] -= np.average(fitted[number], weights=totals)
    for number, values in enumerate(fitted):
        words.multipliers[number] = words.on_steps(number, np.exp(_centred(values, words, number, weights)))
    product = words.product()
    rest = logs - np.log(np.where(product > 0, product, 1.0))
    seen = np.bincount(words.base_codes, weights=weights * (product > 0), minlength=len(base)) > 0
    base = _means(rest, words.base_codes, weights * (product > 0), len(base))
    words.base = words.on_steps(-1, np.where(seen, np.exp(base), 0.0))


def _centred(values: Floats, words: _Words, number: int, weights: Floats) -> Floats:
    """Each scope's multipliers around 1, or around the group that stays at 1: the base carries their level."""
    groups, fixed = len(words.language.dimensions[number].groups), words.language.dimensions[number].fixed
    totals = np.bincount(words.codes[number], weights=weights, minlength=len(values)).reshape(-1, groups)
    by_scope = values.reshape(-1, groups)
    level = (by_scope * totals).sum(axis=1) / np.maximum(totals.sum(axis=1), 1e-300)
    if fixed is not None:
        level = np.where(totals[:, fixed] > 0, by_scope[:, fixed], level)
    centred = np.where(totals > 0, by_scope - level[:, None], 0.0)
    return centred.ravel()


def _sum_logs(fitted: list[Floats], codes: list[Ints], *, leave: int = -1) -> Floats | float:
    return sum(values[code] for number, (values, code) in enumerate(zip(fitted, codes, strict=True)) if number != leave)


def _means(values: Floats, codes: Ints, weights: Floats, size: int) -> Floats:
    """Weighted mean per code; 0 where a code has no weight."""
    totals = np.bincount(codes, weights=weights, minlength=size)
    sums = np.bincount(codes, weights=weights * values, minlength=size)
    return np.divide(sums, totals, out=np.zeros(size), where=totals > 0)


def _improve(words: _Words, worth: Worth, ceiling: Floats | None = None) -> bool:
    """One round of coordinate search; whether anything moved. The objective never falls."""
    moved = False
    for which in range(-1, len(words.multipliers)):
        values, codes = (words.base, words.base_codes) if which < 0 else (words.multipliers[which], words.codes[which])
        tried = words.on_steps(which, values[:, None] * FACTORS)
        tried[:, 0] = values
        if which < 0:
            # No bid at all is a word too.
            tried = np.concatenate([tried, np.zeros((len(values), 1))], axis=1)
        gains = _by_code(words, worth, which, tried, codes, ceiling)
        best = gains.argmax(axis=1)
        rows = np.arange(len(values))
        better = gains[rows, best] > gains[:, 0] + 1e-9 * np.abs(gains[:, 0])
        moved |= bool(better.any())
        chosen = np.where(better, tried[rows, best], values)
        if which < 0:
            words.base = chosen
        else:
            words.multipliers[which] = chosen
    return moved


def _hold_below(words: _Words, ceiling: Floats) -> bool:
    """Bases lowered until no cell with a ceiling above 0 exceeds it, and whether any was.

    A base below the partner's lowest is no bid.
    """
    said = words.amount()
    over = (said > ceiling) & (ceiling > 0)
    share = np.ones(len(words.base))
    np.minimum.at(share, words.base_codes[over], (ceiling / np.maximum(said, 1.0))[over])
    step = words.language.base_step_micros
    lowered = np.floor(words.base * share / step + 1e-9) * step
    lowered[lowered < words.language.base_low_micros] = 0.0
    words.base = np.where(share < 1, lowered, words.base)
    return bool((share < 1).any())


def _by_code(words: _Words, worth: Worth, which: int, tried: Floats, codes: Ints, ceiling: Floats | None) -> Floats:
    """The objective of each base or group under each value tried; shape (K, tries)."""
    if which < 0:
        amount = tried[codes] * words.product()[:, None]
    else:
        others = np.ones(len(codes))
        for number, (values, own) in enumerate(zip(words.multipliers, words.codes, strict=True)):
            if number != which:
                others *= values[own]
        product = np.minimum(others[:, None] * tried[codes], words.language.max_product)
        amount = words.base[words.base_codes][:, None] * product
    amount = np.minimum(amount, words.language.max_amount_micros)
    earned = worth.of(amount)
    if ceiling is not None:
        earned = np.where((amount > ceiling[:, None]) & (ceiling[:, None] > 0), -_NEVER, earned)
    return np.stack(
        [np.bincount(codes, weights=earned[:, column], minlength=len(tried)) for column in range(tried.shape[1])],
        axis=1,
    )


def _tables(words: _Words, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    language = words.language
    names = pd.factorize(cells[language.base_column], sort=True)[1]
    base = pd.DataFrame({language.base_column: names, "amount_micros": np.rint(words.base).astype(np.int64)})
    scopes = _scope(language, cells)[1]
    rows = [
        pd.DataFrame(
            {
                "scope": np.repeat(scopes, len(dimension.groups)),
                "dimension": dimension.column,
                "group": ["|".join(group) for group in dimension.groups] * len(scopes),
                "multiplier": np.round(values, 6),
            }
        )
        for dimension, values in zip(language.dimensions, words.multipliers, strict=True)
    ]
    columns = ["scope", "dimension", "group", "multiplier"]
    return base, pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)
