"""Publish a day's bids, or its value table, with the champion that is live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.digests import Digest
from ml.core.units import parse_day
from ml.core.verdict import Verdict
from ml.steps.rows import TRAFFIC_DAYS, VALUE_DAYS, held_days, recent_bookings, recent_traffic

if TYPE_CHECKING:
    import pandas as pd

    from ml.bidding.plan import Exploration
    from ml.bidding.policy import BidPolicy
    from ml.bidding.say import SaidBids
    from ml.models.protocol import BidModel
    from ml.platform import Platform
    from ml.steps.portfolio import Wanted


def publish_day(platform: Platform, day: date) -> dict[str, Any]:
    """Publish what `day` taught, for the market day after it.

    Without a champion, and on a day that is held, nothing is published and what was published before
    stands: a bid that was right yesterday is safer than one from data that nobody trusts.
    """
    from ml.ledger import champion

    live = champion.current(platform.db, platform.market)
    if live is None:
        return {"published": 0, "partners": {}, "reason": "no champion yet"}
    if day in held_days(platform, day):
        return {"published": 0, "partners": {}, "reason": "the day is held; the bids published before stand"}
    from ml.bidding.say import daily_budgets
    from ml.promotion.bundle import load_models, read_bundle
    from ml.serving.engine_loading import TYPES
    from ml.steps.serving_plan import publish_bare_plan, publish_plan
    from ml.steps.switch import honour

    bundle = read_bundle(platform.blobs, live.digest, platform.keys)
    shipped = platform.under(bundle.meta)
    policy = bid_policy(shipped)
    built = build_bids(shipped, day, load_models(bundle, types=TYPES), policy=policy, limit_change=True)
    held = honour(platform, day, {name: bids for name, bids in built.items() if bids.verdict is not Verdict.FAIL})
    said, by_switch = held.said, held.switches
    expected = {partner: bids.expected for partner, bids in said.items() if bids.expected is not None}
    budgets = daily_budgets(expected, platform.settings.spend_cap)
    partners = {
        partner: publish_said(
            platform, day, partner, bids, budget_micros=budgets.get(partner),
            version=live.digest, generation=live.generation, policy=policy, switches=by_switch.get(partner, ()),
        )
        for partner, bids in said.items()
    }  # fmt: skip
    reasons = {name: list(bids.reasons) for name, bids in built.items()} | held.reasons
    retention = next((bids.retention for bids in built.values()), None)
    plan = (
        publish_plan(platform, day, retention=retention)
        if platform.source.partners
        else publish_bare_plan(platform, day, live, retention=retention)
    )
    return {
        "published": sum(partners.values()),
        "partners": partners,
        "plan": plan,
        "version": live.digest,
        "generation": live.generation,
        "for_day": (day + timedelta(days=1)).isoformat(),
        "portfolio": next((dict(bids.basis) for bids in built.values()), {}),
        "expected": {partner: asdict(one) for partner, one in expected.items()},
        "language_loss": {partner: bids.language_loss for partner, bids in said.items()},
        "reasons": {partner: found for partner, found in reasons.items() if found},
    }


def bid_policy(platform: Platform) -> BidPolicy:
    """The bid policy that the settings describe."""
    from ml.bidding.policy import BidPolicy

    settings = platform.settings
    return BidPolicy(
        target_cost_share=settings.target_cost_share,
        max_bid_micros=settings.max_bid_micros,
        max_change=settings.max_bid_change,
    )


def build_bids(
    platform: Platform, day: date, models: dict[str, BidModel], *, policy: BidPolicy, limit_change: bool
) -> dict[str, SaidBids]:
    """What each partner (or the value table, where there is no partner) is to be told from these models.

    Args:
        platform: the platform.
        day: the market day whose knowledge is used.
        models: the models of a bundle; where nobody is bid to and none is of a booking's value, nothing is told.
        policy: the bid policy.
        limit_change: hold bids near those last published, and try some on purpose.
    """
    from ml.bidding.serving_plan import retention_table

    if not platform.source.partners and "value" not in models:
        return {}  # an auction of listings: what a click is worth its advertiser says, and nothing is published
    bookings, traffic = recent_rows(platform, day)
    if traffic is None:
        from ml.bidding.say import SaidBids
        from ml.bidding.table import VALUE_TABLE, value_table
        from ml.models.scoring import score_bookings

        known = score_bookings(models, bookings)
        return {VALUE_TABLE: SaidBids(value_table(known), retention=retention_table(known))}
    cells, scored, valued = scored_cells(models, bookings, traffic)
    said = _partner_bids(platform, day, cells, scored, policy=policy, limit_change=limit_change)
    retention = retention_table(valued)
    return {partner: replace(bids, retention=retention) for partner, bids in said.items()}


def recent_rows(platform: Platform, day: date) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The bookings and the traffic that bids are made of; no traffic where there is no partner to bid to."""
    bookings = recent_bookings(platform, day, days=VALUE_DAYS)
    return bookings, recent_traffic(platform, day, days=TRAFFIC_DAYS) if platform.source.partners else None


def value_cells(models: Mapping[str, BidModel], bookings: pd.DataFrame) -> pd.DataFrame:
    """The value table of these models."""
    from ml.bidding.table import value_table
    from ml.models.scoring import score_bookings

    return value_table(score_bookings(models, bookings))


def scored_cells(
    models: Mapping[str, BidModel], bookings: pd.DataFrame, traffic: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The cells that recent traffic reached with what a click of each is worth; that traffic and the bookings, scored."""
    from ml.bidding.worth import click_cells
    from ml.models.scoring import score_bookings, score_traffic

    scored, valued = score_traffic(models, traffic), score_bookings(models, bookings)
    return click_cells(valued, scored), scored, valued


def _partner_bids(
    platform: Platform,
    day: date,
    cells: pd.DataFrame,
    traffic: pd.DataFrame,
    *,
    policy: BidPolicy,
    limit_change: bool,
) -> dict[str, SaidBids]:
    """The portfolio over all partners, then each partner's limits and words."""
    from ml.steps.portfolio import wanted_bids

    wanted = wanted_bids(platform, day, cells, traffic, policy=policy)
    return said_bids(platform, day, cells, wanted, policy=policy, limit_change=limit_change)


def said_bids(
    platform: Platform, day: date, cells: pd.DataFrame, wanted: Wanted, *, policy: BidPolicy, limit_change: bool
) -> dict[str, SaidBids]:
    """Each partner's limits and words for bids that are wanted; arguments as of `build_bids`."""
    from ml.bidding.say import Objective, say
    from ml.bidding.table import bid_table

    said = {}
    for partner in platform.source.partners:
        own = (cells["partner"] == partner).to_numpy()
        if not own.any():
            continue
        previous = last_published(platform, partner, before=day) if limit_change else None
        table = bid_table(cells[own].reset_index(drop=True), wanted.bids_micros[own], previous=previous, policy=policy)
        objective = None
        if wanted.landscape is not None and wanted.searched:
            objective = Objective(
                wanted.landscape.rows(own),
                wanted.value_micros[own],
                wanted.cost_weight[own],
                _exploration(platform, day) if limit_change else None,
            )
        words = say(
            partner,
            table,
            policy=policy,
            take_share=platform.settings.take_share,
            currency=platform.settings.currency,
            account_currency=platform.settings.bids_in,
            payment_model=platform.settings.payment_models.get(partner, ""),
            rates=platform.settings.rates,
            objective=objective,
        )
        said[partner] = replace(words, basis=wanted.said)
    return said


def _exploration(platform: Platform, day: date) -> Exploration | None:
    """What is tried on a day; None where nothing is to be."""
    from ml.bidding.exploration import ExplorationPolicy
    from ml.bidding.plan import Exploration

    share = platform.settings.explored_share
    if share == 0:
        return None
    return Exploration(ExplorationPolicy(platform.settings.seed, max_spend_share=share), period=day.isoformat())


def last_published(platform: Platform, partner: str, *, before: date) -> pd.DataFrame | None:
    """The table last published for a partner before a market day, verified against its manifest."""
    from ml.bidding.publish import read_table
    from ml.ledger import publications

    last = publications.latest(platform.db, platform.market, partner, before=before)
    return None if last is None else read_table(platform.blobs, last.uri)


def publish_said(
    platform: Platform,
    day: date,
    partner: str,
    said: SaidBids,
    *,
    version: str,
    generation: int,
    policy: BidPolicy,
    budget_micros: int | None = None,
    switches: tuple[int, ...] = (),
) -> int:
    """Write a partner's table and files and record them as the day's publication; how many rows.

    Args:
        platform: the platform.
        day: the market day; its bids decide the auctions of the next.
        partner: to whom.
        said: what.
        version: digest of the champion whose bids they are.
        generation: of that champion.
        policy: the bid policy that they were made under.
        budget_micros: what the partner may charge on a day for bids of which something is expected; None: its own share
            of `daily_budgets`, as if it were alone.
        switches: ids of the kill switches that shaped them.

    Raises:
        StaleGeneration: bids of a newer champion stand published for that day.
    """
    from ml.bidding.publish import publish_table
    from ml.bidding.say import daily_budgets
    from ml.ledger import publications

    if said.expected is None:
        budget_micros = _budget_that_stands(platform, day, partner)
    elif budget_micros is None:
        budget_micros = daily_budgets({partner: said.expected}, platform.settings.spend_cap)[partner]
    published = publish_table(
        platform.blobs,
        said.table,
        files=said.files,
        market=platform.market,
        partner=partner,
        day=day,
        version=version,
        generation=generation,
        policy=policy.digest(),
        expected=None if said.expected is None else asdict(said.expected),
        daily_budget_micros=budget_micros,
    )
    publications.record(
        platform.db,
        publications.Publication(
            market=platform.market,
            partner=partner,
            day=day,
            version=Digest(version),
            generation=generation,
            rows=published.rows,
            digest=published.digest,
            uri=published.uri,
            switches=switches,
        ),
        at=platform.clock.now(),
    )
    return published.rows


def _budget_that_stands(platform: Platform, day: date, partner: str) -> int | None:
    """What the partner may charge on a day, in micros, as last published.

    Bids of which nothing is expected, such as those of a kill switch, keep to it: what stops a model may not lift the cap
    on its spend.
    """
    from ml.bidding.publish import read_budget
    from ml.ledger import publications

    last = publications.latest(platform.db, platform.market, partner, before=day + timedelta(days=1))
    return None if last is None else read_budget(platform.blobs, last.uri)


def published_for(platform: Platform, partner: str, day: str) -> pd.DataFrame | None:
    """The table published on a market day, for people and for tests."""
    return last_published(platform, partner, before=parse_day(day) + timedelta(days=1))
