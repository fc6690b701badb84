"""What a partner lets us say: a base bid, and multipliers within limits, in steps, for groups of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.bidding.landscape import Floats, Ints
from ml.core.errors import UsageError
from ml.core.units import MICROS_PER_UNIT


@dataclass(frozen=True)
class Dimension:
    """One property of a search that a bid may be multiplied by.

    Attributes:
        column: the column of the cells that it reads.
        groups: the values that share a multiplier, such as `(("mobile",), ("desktop", "tablet"))`.
        low, high: limits of a multiplier.
        step: the finest difference between two multipliers.
        fixed: the group that the partner gives no multiplier, so that it stays at 1; None: every group has one.
    """

    column: str
    groups: tuple[tuple[str, ...], ...]
    low: float
    high: float
    step: float = 0.01
    fixed: int | None = None

    def codes(self, cells: pd.DataFrame, *, partner: str) -> Ints:
        """The group of each cell; UsageError, naming the value, where the language has no word for one."""
        known = {value: number for number, group in enumerate(self.groups) for value in group}
        if self.column not in cells:
            raise UsageError(
                f"the bid language of {partner} reads {self.column!r}, which the cells do not have",
                left="no bid was published",
                next=f"bid per {self.column}, or leave the dimension out of the partner's language",
            )
        found = cells[self.column].map(known)
        if found.isna().any():
            raise UsageError(
                f"the bid language of {partner} has no {self.column} {cells[self.column][found.isna()].iloc[0]!r}",
                left="no bid was published",
                next=f"add the value to a group of {self.column} in the partner's file",
            )
        return np.asarray(found, dtype=np.int64)


@dataclass(frozen=True)
class BidLanguage:
    """Base x multipliers, as a partner takes them.

    Attributes:
        partner: whose it is.
        base_column: one base bid is given for each value of this column.
        scope_column: multipliers are given for each value of this column; None: once for all cells.
        dimensions: what may be multiplied by.
        base_low_micros, base_high_micros: limits of a base bid, in micros of the instruction's unit.
        base_step_micros: the finest difference between two base bids.
        max_amount_micros: the highest bid after multiplication that may be asked for.
        max_product: the highest product of a cell's multipliers.
    """

    partner: str
    base_column: str
    scope_column: str | None
    dimensions: tuple[Dimension, ...]
    base_low_micros: int
    base_high_micros: int
    base_step_micros: int
    max_amount_micros: int
    max_product: float = np.inf

    def check(self, amount_micros: Floats, unit: str) -> None:
        """UsageError, in one sentence, where a bid lies outside what can be said at all; 0 is no bid."""
        if not np.isfinite(amount_micros).all() or (amount_micros < 0).any():
            raise ValueError("a cell's bid is not finite or is negative")
        over = amount_micros > self.max_amount_micros
        if over.any():
            raise UsageError(
                f"{self.partner} takes at most {_plain(self.max_amount_micros)} ({unit}), below the bid of "
                f"{int(over.sum())} of {len(over)} cells, the highest {_plain(amount_micros.max())}",
                left="no bid was published",
                next="lower the bid cap of this partner",
            )
        product = 1.0
        for dimension in self.dimensions:
            product *= dimension.low
        under = (amount_micros > 0) & (amount_micros < self.base_low_micros * product)
        if under.any():
            raise UsageError(
                f"{self.partner} takes no bid below {_plain(self.base_low_micros * product)} ({unit}), which "
                f"{int(under.sum())} of {len(under)} cells are, the lowest {_plain(amount_micros[under].min())}",
                left="no bid was published",
                next="do not bid on these cells, or raise their bids to the partner's minimum",
            )


@dataclass(frozen=True)
class Projection:
    """Bids said in a partner's language.

    Attributes:
        language: the language.
        base: one row per value of `base_column`: that column and `amount_micros`; 0 is no bid.
        multipliers: one row per scope, dimension and group: `scope`, `dimension`, `group` (values joined by `|`),
            `multiplier`; `scope` is an empty text where the language has one scope.
        amount_micros: what each cell is bid when base and multipliers are put together; shape (n,).
        language_loss: share of the expected objective that is lost against the bids asked for; below 0 where the
            search found better bids than those.
        loss_basis: `expected profit` where a landscape was given, else `log error`.
        log_error: weighted root mean square difference of the logs of bids said and asked for.
    """

    language: BidLanguage
    base: pd.DataFrame
    multipliers: pd.DataFrame
    amount_micros: Floats
    language_loss: float
    loss_basis: str
    log_error: float


def convert(amount_micros: Floats, *, currency: str, to: str, rates: Mapping[tuple[str, str], float]) -> Floats:
    """Money in another currency.

    Args:
        amount_micros: shape (n,).
        currency: ISO 4217 code it is in.
        to: code of the partner's account.
        rates: units of the second currency for one of the first.

    Raises:
        UsageError: there is no rate, or it is not a positive number; nothing is bid in a currency that is guessed.
    """
    if currency == to:
        return amount_micros
    rate = rates.get((currency, to))
    if rate is None or not (np.isfinite(rate) and rate > 0):
        what = "no rate" if rate is None else f"no usable rate ({rate})"
        raise UsageError(
            f"there is {what} from {currency} to {to}",
            left="no bid was published",
            next=f"give the rate of the day as fx_rates {currency}/{to}, or bid in {currency} (account_currency)",
        )
    return amount_micros * rate


def _plain(micros: float) -> str:
    return f"{micros / MICROS_PER_UNIT:,.4g}"
