"""What can happen to the market: the scenarios, each a frozen value with its true effect, composable at will.

A scenario is named in the setting `simulator_scenarios` as `name@day`, with its scope after it where it differs from
the scenario's own: `price_feed_error@2026-03-04:days=3,partner=google,country=DE,hotels=0.3,ramp=2,strength=0.5`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

import numpy as np

from ml.core.errors import UsageError
from ml.core.units import parse_day
from ml.market.simulator.partners import NAMES
from ml.market.simulator.world import COUNTRIES, COUNTRY_SHARES, Bools, Ints, Rows


@dataclass(frozen=True)
class Effects:
    """Sizes of effects, all zero where nothing happens; numbers, or arrays of shape (n,) for n searches.

    Attributes:
        demand: log of the factor on searches.
        conversion: addition to the log odds of a booking, at every advertiser.
        site: log of the factor on our conversion alone.
        cancellation: addition to the log odds of a cancellation.
        rival_price, rival_bid: logs of the factors on the rivals' prices and bids.
        rival_test: size of the steps, up or down by day and rival, of the log of the rivals' bids.
        own_price: log of the factor on our prices.
        wrong_price: share of our prices that are shown 15 % too low and convert at a quarter.
        first_price: share of second-price auctions that are held as first-price ones.
        net_cpa: share of auctions in which a commission on stays is charged in place of clicks.
        lost: share of our conversions that no click is credited with.
        launch: share of its full traffic that the new market has.
        report_hours: hours by which conversions are reported later.
        duplicate: above 0, the day's clicks are delivered twice.
        per_stay: share of per-night bids that are charged times the nights once more.
    """

    demand: Any = 0.0
    conversion: Any = 0.0
    site: Any = 0.0
    cancellation: Any = 0.0
    rival_price: Any = 0.0
    rival_bid: Any = 0.0
    rival_test: Any = 0.0
    own_price: Any = 0.0
    wrong_price: Any = 0.0
    first_price: Any = 0.0
    net_cpa: Any = 0.0
    lost: Any = 0.0
    launch: Any = 0.0
    report_hours: Any = 0.0
    duplicate: Any = 0.0
    per_stay: Any = 0.0

    def __add__(self, other: Effects) -> Effects:
        return Effects(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def times(self, weight: Any) -> Effects:
        """The effects at a share of their strength; an effect that is not there stays a plain zero."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return Effects(**{name: size * weight for name, size in present.items() if np.any(size != 0.0)})


NOTHING = Effects()


@dataclass(frozen=True)
class Scenario:
    """A named event: its effects at full strength, what is true of it, and how long it usually lasts.

    `ramp_days` is the time to full strength, 0 for at once; `days` the time until it is over, None for good.
    """

    effects: Effects
    truth: str
    ramp_days: int = 0
    days: int | None = None
    partners: tuple[str, ...] = ()


@dataclass(frozen=True)
class Active:
    """A scenario that is to happen: from when, and to what. Empty `partners` and `countries` mean all of them."""

    name: str
    scenario: Scenario
    onset: date
    countries: tuple[str, ...] = ()
    hotel_share: float = 1.0
    strength: float = 1.0

    def weight(self, day: date) -> float:
        """Share of its full strength on a day: 0 before the onset, rising over the ramp, 0 again when it is over."""
        age = (day - self.onset).days
        if age < 0 or (self.scenario.days is not None and age >= self.scenario.days):
            return 0.0
        return self.strength * min(1.0, (age + 1) / (self.scenario.ramp_days + 1))

    @property
    def country_share(self) -> float:
        """Share of all searches that come from its countries."""
        return sum(COUNTRY_SHARES[COUNTRIES.index(name)] for name in self.countries) if self.countries else 1.0

    def touches(self, partner: Ints, hotel: Ints, country: Ints | None = None) -> Bools:
        """Which searches lie in its scope, or which cells of partner and hotel do in part; shapes broadcast."""
        inside = np.ones(np.broadcast_shapes(partner.shape, hotel.shape), dtype=bool)
        if self.scenario.partners:
            inside &= np.isin(partner, [NAMES.index(name) for name in self.scenario.partners])
        if self.countries and country is not None:
            inside &= np.isin(country, [COUNTRIES.index(name) for name in self.countries])
        if self.hotel_share < 1:
            inside &= (np.asarray(hotel) + 1) * 0.6180339887 % 1.0 < self.hotel_share
        return inside


def on_searches(active: Sequence[Active], day: date, searches: Rows) -> Effects:
    """The effects on each of n searches of a day; a field without effect stays a plain zero."""
    total = NOTHING
    for one in active:
        weight = one.weight(day)
        if weight:
            inside = one.touches(searches["partner"], searches["hotel"], searches["country"])
            total = total + one.scenario.effects.times(weight * inside)
    return total


def on_day(active: Sequence[Active], day: date) -> Effects:
    """The effects on the market as a whole: each by its share of hotels and countries."""
    total = NOTHING
    for one in active:
        weight = one.weight(day)
        if weight:
            total = total + one.scenario.effects.times(weight * one.hotel_share * one.country_share)
    return total


SCENARIOS: Mapping[str, Scenario] = {
    "season_up": Scenario(
        Effects(demand=float(np.log(1.4)), conversion=0.15),
        "searches x 1.4, log odds of booking +0.15",
        ramp_days=14,
    ),
    "season_down": Scenario(
        Effects(demand=float(np.log(0.6)), conversion=-0.20),
        "searches x 0.6, log odds of booking -0.20",
        ramp_days=14,
    ),
    "price_war": Scenario(
        Effects(rival_price=float(np.log(0.94)), rival_bid=float(np.log(1.30))),
        "rivals' prices x 0.94, their bids x 1.30",
    ),
    "rival_bid_cut": Scenario(Effects(rival_bid=float(np.log(0.6))), "rivals' bids x 0.60"),
    "lost_parity": Scenario(Effects(own_price=float(np.log(1.03))), "our prices x 1.03"),
    "first_price": Scenario(
        Effects(first_price=1.0), "google's auction charges the bid, no longer the next score", partners=("google",)
    ),
    "net_cpa": Scenario(
        Effects(net_cpa=1.0),
        "trivago charges 6 % of the value of stays, nothing for clicks, and ranks by what it expects of that",
        partners=("trivago",),
    ),
    "tracking_outage": Scenario(
        Effects(lost=1.0), "no click is credited with its booking for 2 days; bookings themselves go on", days=2
    ),
    "cancellation_wave": Scenario(Effects(cancellation=1.2), "log odds of cancellation +1.2 for new bookings"),
    "site_bug": Scenario(Effects(site=float(np.log(0.7))), "our conversion x 0.70, the rivals' unchanged"),
    "price_feed_error": Scenario(
        Effects(wrong_price=0.3),
        "30 % of our prices are shown 15 % low and convert at a quarter; google's accuracy score follows in days",
        days=7,
    ),
    "market_launch": Scenario(
        Effects(launch=1.0),
        "a quarter more hotels in a new city, at rates x 1.6 and log odds of booking -0.4, without history",
        ramp_days=7,
    ),
    "report_delay": Scenario(
        Effects(report_hours=48.0, duplicate=1.0),
        "nothing: conversions are known 48 h later, and the clicks are delivered twice",
        days=2,
    ),
    "unit_bug": Scenario(
        Effects(per_stay=1.0),
        "our bids per night are charged as bids per stay on tripadvisor: x nights",
        partners=("tripadvisor",),
        days=1,
    ),
    "rival_testing": Scenario(
        Effects(rival_test=0.4), "each rival's bids x exp(+0.4) or x exp(-0.4), drawn anew each day", days=14
    ),
}
"""Every scenario by name."""


def parse_scenarios(texts: Iterable[str]) -> tuple[Active, ...]:
    """Read `name@day` and `name@day:option=value,...`; UsageError that says what is known."""
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> Active:
    head, _, tail = text.partition(":")
    name, at, day = head.partition("@")
    if name not in SCENARIOS:
        raise UsageError(f"there is no scenario {name!r}", next=f"choose one of: {', '.join(SCENARIOS)}")
    if not at:
        raise UsageError(f"the scenario {text!r} has no day", next=f"write it as {name}@2026-03-06")
    active = Active(name, SCENARIOS[name], parse_day(day))
    for option in filter(None, tail.split(",")):
        key, _, value = option.partition("=")
        if key not in _OPTIONS:
            raise UsageError(f"a scenario has no option {key!r}", next=f"choose one of: {', '.join(_OPTIONS)}")
        active = _OPTIONS[key](active, value)
    return active


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{text!r} is not a number of days", next="give a whole number such as 3")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = float("nan")
    if not 0 < share <= 1:
        raise UsageError(f"{text!r} is not a share", next="give a number above 0 and at most 1")
    return share


def _one_of(text: str, known: Sequence[str], what: str) -> str:
    if text not in known:
        raise UsageError(f"there is no {what} {text!r}", next=f"choose one of: {', '.join(known)}")
    return text


def _lasting(active: Active, text: str) -> Active:
    return replace(active, scenario=replace(active.scenario, days=_whole(text)))


def _ramped(active: Active, text: str) -> Active:
    return replace(active, scenario=replace(active.scenario, ramp_days=_whole(text)))


def _at_partner(active: Active, text: str) -> Active:
    chosen = (_one_of(text, NAMES, "partner"),)
    return replace(active, scenario=replace(active.scenario, partners=chosen))


def _in_country(active: Active, text: str) -> Active:
    return replace(active, countries=(_one_of(text, COUNTRIES, "country"),))


def _in_hotels(active: Active, text: str) -> Active:
    return replace(active, hotel_share=_share(text))


def _strong(active: Active, text: str) -> Active:
    return replace(active, strength=_share(text))


_OPTIONS: Mapping[str, Callable[[Active, str], Active]] = {
    "days": _lasting,
    "ramp": _ramped,
    "partner": _at_partner,
    "country": _in_country,
    "hotels": _in_hotels,
    "strength": _strong,
}
