"""Candidates whose models are sound and whose bids are not: the fault is in the bid settings that ship with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ml.challenge.planted import Planted


class PerNightAsPerStay(Planted):
    """Amounts per stay are sent to partners that read them as amounts per night, and charge them for every night.

    Planted in the setting `payment_models` under which the candidate was trained.
    """

    settings: ClassVar[Mapping[str, Any]] = {
        "payment_models": {"google": "cpc_fixed_click", "tripadvisor": "cpc_fixed_click"}
    }


class WrongCurrency(Planted):
    """The accounts bid in euros, and somebody set them to zloty: every bid is sent 4.3 times as high.

    Planted in the settings `account_currency` and `fx_rates` under which the candidate was trained.
    """

    settings: ClassVar[Mapping[str, Any]] = {"account_currency": "PLN", "fx_rates": {"EUR/PLN": 4.3}}


class Unshaded(Planted):
    """A partner went over to first price, and bids are still the full worth of a click, as is right in second price.

    Planted in the market, where google charges the bid since a week, and in the settings `bid_strategy` and
    `target_cost_share`, under which the candidate was trained.
    """

    ground: ClassVar[str] = "first_price"
    settings: ClassVar[Mapping[str, Any]] = {"bid_strategy": "share_of_worth", "target_cost_share": 0.12}


class BudgetBlind(Planted):
    """Every cell takes its own best bid, whatever the budget of the day.

    Planted in the setting `bid_strategy` under which the candidate was trained, on a market that has a daily budget.
    """

    settings: ClassVar[Mapping[str, Any]] = {"bid_strategy": "each_cell"}
