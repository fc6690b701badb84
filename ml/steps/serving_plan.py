"""Write the plan that the bid service follows, from the bids that stand and the kill switches that hold them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ml.bidding import serving_plan
from ml.bidding.publish import read_table
from ml.core.units import parse_day
from ml.ledger import publications, switches
from ml.ledger.publications import SERVING, Publication
from ml.steps.day_budgets import day_budgets
from ml.steps.switched import standing, within

if TYPE_CHECKING:
    import pandas as pd

    from ml.bidding.serving_plan import ServingPlan
    from ml.core.digests import Digest
    from ml.ledger.champion import Champion
    from ml.ledger.switches import Switch
    from ml.platform import Platform


def publish_plan(platform: Platform, day: date, *, retention: pd.DataFrame | None = None) -> Digest | None:
    """The plan for the bids that stand at the end of a market day; the same bids again write the same plan.

    Args:
        platform: the platform.
        day: the market day.
        retention: from `ml.bidding.serving_plan.retention_table`; None: that of the last plan, where no model is at hand.

    Returns:
        Its digest; None where no bids stand yet, or nothing is known of what is retained.

    Raises:
        StaleGeneration: a newer champion has published a plan for that day; it stays.
    """
    stands = {partner: standing(platform, partner, day) for partner in platform.source.partners}
    out = {partner: one for partner, one in stands.items() if one is not None and one.rows}
    kept = retention if retention is not None else _last_retention(platform, day)
    if not out or kept is None:
        return None
    active = switches.active(platform.db, platform.market)
    tables = {partner: read_table(platform.blobs, one.uri) for partner, one in out.items()}
    newest = max(out.values(), key=lambda one: one.generation)
    data = serving_plan.make_plan(
        list(tables.values()),
        held=[_held(partner, table, active) for partner, table in tables.items()],
        held_scopes=[(one.scope.partner, one.scope.point_of_sale) for one in active],
        retention=kept,
        market=platform.market,
        day=day,
        generation=newest.generation,
        take_share=platform.settings.take_share,
        max_bid_micros=platform.settings.max_bid_micros,
        budgets=day_budgets(platform, day, out),
    )
    rows, pulled = sum(len(table) for table in tables.values()), tuple(sorted(one.id for one in active))
    return _record(platform, day, data, newest.version, newest.generation, rows=rows, switches=pulled)


def publish_bare_plan(
    platform: Platform, day: date, live: Champion, *, retention: pd.DataFrame | None = None
) -> Digest:
    """The plan of a market that publishes no bids, such as an auction of listings alone: the policy's cap, and what is retained.

    Args:
        platform: the platform.
        day: the market day.
        live: its champion.
        retention: as of `publish_plan`; None where the champion has no value model.

    Raises:
        StaleGeneration: as of `publish_plan`.
    """
    from ml.bidding.bare_plan import bare_plan

    data = bare_plan(
        market=platform.market,
        day=day,
        generation=live.generation,
        take_share=platform.settings.take_share,
        max_bid_micros=platform.settings.max_bid_micros,
        retention=retention,
    )
    return _record(platform, day, data, live.digest, live.generation, rows=0, switches=())


def _record(
    platform: Platform,
    day: date,
    data: bytes,
    version: Digest,
    generation: int,
    *,
    rows: int,
    switches: tuple[int, ...],
) -> Digest:
    digest, uri = serving_plan.write_plan(platform.blobs, platform.market, data)
    publications.record(
        platform.db,
        Publication(
            market=platform.market,
            partner=SERVING,
            day=day,
            version=version,
            generation=generation,
            rows=rows,
            digest=digest,
            uri=uri,
            switches=switches,
        ),
        at=platform.clock.now(),
    )
    return digest


def latest_plan(platform: Platform) -> Digest | None:
    """The digest of the plan that stands now, one indexed row of the ledger; None where there is none."""
    last = publications.latest(platform.db, platform.market, SERVING, before=date.max)
    return None if last is None else last.digest


def plan(platform: Platform, digest: str) -> ServingPlan:
    """A plan by its digest; raises as `ml.bidding.serving_plan.read_plan`."""
    return serving_plan.read_plan(platform.blobs, platform.market, digest)


def plan_on(platform: Platform, day: str) -> ServingPlan | None:
    """The plan that stood at the end of a market day, for people and for tests."""
    last = publications.latest(platform.db, platform.market, SERVING, before=parse_day(day) + timedelta(days=1))
    return None if last is None else plan(platform, last.digest)


def _last_retention(platform: Platform, day: date) -> pd.DataFrame | None:
    last = publications.latest(platform.db, platform.market, SERVING, before=day + timedelta(days=1))
    return None if last is None else serving_plan.retention_of(platform.blobs.get(last.uri))


def _held(partner: str, table: pd.DataFrame, active: list[Switch]) -> np.typing.NDArray[np.bool_]:
    """The rows of a partner's table that a kill switch holds; shape (n,)."""
    held = np.zeros(len(table), dtype=np.bool_)
    for one in active:
        if one.scope.partner in {"", partner}:
            held |= within(table, one.scope)
    return held
