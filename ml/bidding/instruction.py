"""What a partner is told: one instruction, whatever it is paid by.

Every payment model turns the same target, the cost per click that we want to risk, into its own unit. An amount is
an integer number of micros of that unit, so that a commission of 12 % is 120_000 and a bid of 0.35 is 350_000.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ml.bidding.landscape import Floats, Ints
from ml.bidding.shading import pay_as_bid_optimum
from ml.bidding.value import ClickEconomics
from ml.core.errors import UsageError
from ml.core.units import MICROS_PER_UNIT

MAX_TARGET_ROAS = 1_000.0
"""The highest target ROAS that Google Ads takes (`TargetRoas.target_roas`: 0.01 to 1000)."""
MIN_TARGET_ROAS = 0.01


@dataclass(frozen=True)
class BidInstruction:
    """The bids of n cells under one payment model.

    Attributes:
        payment_model: a key of `PAYMENT_MODELS`.
        amount_micros: the bid of each cell in micros of the model's unit; shape (n,), at least 0.
    """

    payment_model: str
    amount_micros: Ints

    @property
    def unit(self) -> str:
        """What a million micros are, in words."""
        return payment_model(self.payment_model).unit

    def per_click_micros(self, economics: ClickEconomics) -> Floats:
        """The cost per click that each instruction stands for, in expectation; shape (n,)."""
        return payment_model(self.payment_model).per_click(self.amount_micros / MICROS_PER_UNIT, economics)


@dataclass(frozen=True)
class PaymentModel:
    """How a partner is paid.

    Attributes:
        name: its key.
        unit: what a million micros of an instruction are.
        amount: from a cost per click in micros to the unit, per cell.
        per_click: from an amount in the unit back to the expected cost per click in micros.
    """

    name: str
    unit: str
    amount: Callable[[Floats, ClickEconomics], Floats]
    per_click: Callable[[Floats, ClickEconomics], Floats]


def instruct(name: str, per_click_micros: Floats, economics: ClickEconomics) -> BidInstruction:
    """The instruction that makes a click cost `per_click_micros` in expectation.

    Args:
        name: the payment model, a key of `PAYMENT_MODELS`.
        per_click_micros: cost per click wanted, shaded already; shape (n,), finite, at least 0.
        economics: what is expected of a click; its fields have shape (n,).

    Raises:
        UsageError: there is no such payment model.
        ValueError: a target is not finite or is negative; nothing is bid on it.
    """
    if not np.isfinite(per_click_micros).all() or (per_click_micros < 0).any():
        raise ValueError("a cell's target cost per click is not finite or is negative")
    amount = payment_model(name).amount(per_click_micros, economics) * MICROS_PER_UNIT
    return BidInstruction(name, np.rint(amount).astype(np.int64))


def commission_bids(name: str, commissions: Floats, bookings: Floats, economics: ClickEconomics) -> BidInstruction:
    """The commission that maximises profit where bookings depend on it: `m - c = B(c)/B'(c)`.

    A commission on consumed value is not paid on what cancels, so the margin it is weighed against is that of a
    booking that stays.

    Args:
        name: `cpa_gross` or `cpa_net`.
        commissions: commission levels as shares, strictly rising; shape (L,).
        bookings: expected bookings a day at each level, non-decreasing along a row; shape (n, L).
        economics: what is expected of a click.
    """
    margin = economics.margin_share
    if name == "cpa_net":
        margin = margin / np.maximum(1 - economics.p_cancel, 1e-9)
    elif name != "cpa_gross":
        raise UsageError(f"{name!r} is not paid by commission", next="choose cpa_gross or cpa_net")
    shares = pay_as_bid_optimum(commissions, bookings, margin)
    return BidInstruction(name, np.rint(shares * MICROS_PER_UNIT).astype(np.int64))


def payment_model(name: str) -> PaymentModel:
    """The payment model of that name; UsageError, naming the known ones, if there is none."""
    if name not in PAYMENT_MODELS:
        raise UsageError(f"there is no payment model {name!r}", next=f"choose one of: {', '.join(PAYMENT_MODELS)}")
    return PAYMENT_MODELS[name]


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """`top / bottom`, 0 where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.zeros(np.broadcast_shapes(top.shape, bottom.shape)), where=bottom > 0)


def _consumed_per_click(economics: ClickEconomics) -> Floats:
    return economics.gross_per_click_micros * (1 - economics.p_cancel)


def _target_roas(per_click_micros: Floats, economics: ClickEconomics) -> Floats:
    """Value over cost; a cell that is to cost nothing gets the highest target that there is."""
    wanted = _ratio(economics.gross_per_click_micros, per_click_micros)
    wanted = np.where(per_click_micros > 0, wanted, MAX_TARGET_ROAS)
    return np.clip(wanted, MIN_TARGET_ROAS, MAX_TARGET_ROAS)


PAYMENT_MODELS: Mapping[str, PaymentModel] = {
    model.name: model
    for model in (
        PaymentModel(
            "cpc_fixed_click",
            "currency per click",
            amount=lambda cpc, _: cpc / MICROS_PER_UNIT,
            per_click=lambda amount, _: amount * MICROS_PER_UNIT,
        ),
        PaymentModel(
            "cpc_fixed_night",
            "currency per night of the stay",
            amount=lambda cpc, of: cpc / of.los_nights / MICROS_PER_UNIT,
            per_click=lambda amount, of: amount * of.los_nights * MICROS_PER_UNIT,
        ),
        PaymentModel(
            "cpc_percent",
            "share of the stay's price as shown",
            amount=lambda cpc, of: _ratio(cpc, of.shown_value_micros),
            per_click=lambda amount, of: amount * of.shown_value_micros,
        ),
        PaymentModel(
            "cpa_gross",
            "share of the gross value of a booking",
            amount=lambda cpc, of: _ratio(cpc, of.gross_per_click_micros),
            per_click=lambda amount, of: amount * of.gross_per_click_micros,
        ),
        PaymentModel(
            "cpa_net",
            "share of the value of a stay that was consumed",
            amount=lambda cpc, of: _ratio(cpc, _consumed_per_click(of)),
            per_click=lambda amount, of: amount * _consumed_per_click(of),
        ),
        PaymentModel(
            "troas",
            "gross booking value per currency of cost",
            amount=_target_roas,
            per_click=lambda amount, of: _ratio(of.gross_per_click_micros, amount),
        ),
    )
}
"""Each payment model by name (bidding research 1.1). To add one: a line with its unit and the way there and back."""
