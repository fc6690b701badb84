"""What a kill switch makes of the bids that stand: its evidence from the ledger, and the answer in each partner's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.bidding.killswitch import BID, Tables, switch
from ml.bidding.publish import kept_aside, read_files, read_table
from ml.bidding.say import SaidBids, say
from ml.core.errors import NoData, PermanentError, UsageError
from ml.core.verdict import Verdict
from ml.ledger import champion, incidents, publications, switches
from ml.steps.publish import bid_policy, build_bids
from ml.steps.rows import held_days

if TYPE_CHECKING:
    import pandas as pd

    from ml.ledger.publications import Publication
    from ml.ledger.switches import Scope
    from ml.models.protocol import BidModel
    from ml.platform import Platform

CAUSE = "kill-switch"
"""Cause of the incident that stands while a switch does; of a narrower scope, with that scope behind it."""

SAFE = 2
_UNCHANGED = "nothing was changed"


@dataclass(frozen=True)
class Switched:
    """The bids that a switch would send to one partner.

    Attributes:
        said: the whole table of the partner, in its language, with its files.
        standing: the publication that they would take the place of.
        cells: cells within the scope.
        changed: cells within the scope whose bid moves.
        before, after: expected spend within the scope, in micros, at the clicks seen lately.
    """

    said: SaidBids
    standing: Publication
    cells: int
    changed: int
    before: float
    after: float

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "cells": self.cells,
            "changed": self.changed,
            "spend_ratio": ratio(self.before, self.after),
            "bids_of": self.standing.day.isoformat(),
            "reasons": list(self.said.reasons),
        }


def ratio(before: float, after: float) -> float:
    """Expected spend after over before; 0 where nothing was to be spent."""
    return round(after / before, 4) if before > 0 else 0.0


def partners_of(platform: Platform, scope: Scope) -> tuple[str, ...]:
    """The partners that a scope is about; UsageError for one that nobody bids to."""
    partners = platform.source.partners
    if not partners:
        raise UsageError(
            f"{platform.market} publishes values, not bids",
            left=_UNCHANGED,
            next="use the kill switch in a market that has partners",
        )
    if scope.partner and scope.partner not in partners:
        raise UsageError(
            f"no bids are published to the partner {scope.partner!r}",
            left=_UNCHANGED,
            next="use one of " + ", ".join(partners),
        )
    return (scope.partner,) if scope.partner else tuple(partners)


def standing(platform: Platform, partner: str, day: date) -> Publication | None:
    """The publication of a partner that stands at the end of a market day."""
    return publications.latest(platform.db, platform.market, partner, before=day + timedelta(days=1))


def refuse_nothing(found: dict[str, Switched], scope: Scope) -> None:
    """NoData or UsageError, where a switch would find no bid in its scope."""
    if found:
        return
    if scope.point_of_sale:
        raise UsageError(
            f"no bids are out {scope}",
            left=_UNCHANGED,
            next="correct the market of sale, or release the higher switch that stands there",
        )
    raise NoData(
        f"there are no bids to switch off {scope}",
        left=_UNCHANGED,
        next="publish bids first, or release the higher switch that stands there",
    )


def switched_bids(
    platform: Platform, day: date, *, level: int, scope: Scope, partners: Sequence[str]
) -> dict[str, Switched]:
    """What a level would send to each of these partners that has bids in the scope; writes nothing.

    Cells where a switch of a higher level stands stay as they are: a second switch never loosens the first.

    Args:
        platform: the platform.
        day: the market day at whose end the switch would be pulled.
        level: 0 to 3.
        scope: where.
        partners: of the scope, those to look at.

    Raises:
        UsageError: there is no such level, or a partner's language cannot say its bids.
        NoData: the evidence that the level needs is not there for one of the partners.
    """

    @cache
    def baseline() -> dict[str, pd.DataFrame]:
        return _baseline_bids(platform, day)

    active = switches.active(platform.db, platform.market)
    higher = [one for one in active if one.level > level and one.scope != scope]
    found = {}
    for partner in partners:
        stands = standing(platform, partner, day)
        if stands is None:
            continue
        current = read_table(platform.blobs, stands.uri)
        inside = within(current, scope)
        for other in higher:
            if other.scope.partner in {"", partner}:
                inside &= ~within(current, other.scope)
        if not inside.any():
            continue
        tables = Tables(
            current=current[inside],
            last_good=_last_good(platform, partner, day) if level in {0, SAFE} else None,
            champion=_first_of_champion(platform, partner, day) if level == 1 else None,
            baseline=baseline().get(partner) if level == SAFE else None,
        )
        try:
            chosen = switch(level, tables)
        except NoData as error:
            raise NoData(f"{error.what} (partner {partner})", left=error.left, next=error.next) from error
        bids = current[BID].to_numpy(dtype=np.int64, copy=True)
        bids[inside] = chosen.table[BID].to_numpy()
        said = (
            say_as_is(platform, partner, current.assign(**{BID: bids}), below=inside if level == SAFE else None)
            if chosen.changed
            else SaidBids(current, read_files(platform.blobs, stands.uri))
        )
        found[partner] = _measured(said, stands, current, inside)
    return found


def within(table: pd.DataFrame, scope: Scope) -> np.typing.NDArray[np.bool_]:
    """Which rows of a partner's table lie in a scope that holds this partner; shape (n,)."""
    if not scope.point_of_sale:
        return np.ones(len(table), dtype=np.bool_)
    return np.asarray(table["market"] == scope.point_of_sale, dtype=np.bool_)


def say_as_is(
    platform: Platform, partner: str, table: pd.DataFrame, *, below: np.typing.NDArray[np.bool_] | None = None
) -> SaidBids:
    """Bids that were decided already, in the partner's words; nothing is optimised any more.

    Args:
        platform: the platform.
        partner: its name.
        table: one row per cell, as published.
        below: cells that the product of base and multipliers may not lift above their bid; shape (n,).

    Raises:
        UsageError: the language cannot say a bid, its currency has no rate, or the partner would refuse the file.
        PermanentError: a bid is no amount of money.
    """
    settings = platform.settings
    policy = bid_policy(platform)
    ceiling = None if below is None else np.where(below, table[BID].to_numpy(dtype=float), policy.max_bid_micros)
    said = say(
        partner,
        table,
        policy=policy,
        take_share=settings.take_share,
        currency=settings.currency,
        account_currency=settings.bids_in,
        payment_model=settings.payment_models.get(partner, ""),
        rates=settings.rates,
        ceiling_micros=ceiling,
    )
    if said.verdict is Verdict.FAIL:
        raise PermanentError(f"{partner} cannot be told the switched bids: {said.reasons[0]}", left=_UNCHANGED)
    return said


def _measured(
    said: SaidBids, stands: Publication, current: pd.DataFrame, inside: np.typing.NDArray[np.bool_]
) -> Switched:
    before = current[BID].to_numpy(dtype=float)[inside]
    after = said.table[BID].to_numpy(dtype=float)[inside]
    clicks = current["clicks_seen"].to_numpy(dtype=float)[inside]
    return Switched(
        said=said,
        standing=stands,
        cells=int(inside.sum()),
        changed=int((before != after).sum()),
        before=float(before @ clicks),
        after=float(after @ clicks),
    )


def _last_good(platform: Platform, partner: str, day: date) -> pd.DataFrame | None:
    """The bids last published, by no switch, on a day that was neither held nor had a critical incident open."""
    held = set(held_days(platform, day))
    for each in publications.history(platform.db, platform.market, partner, last=day):
        uri = _by_no_switch(platform, each)
        if uri and each.day not in held and not _alarmed(platform, each.day):
            return read_table(platform.blobs, uri)
    return None


def _by_no_switch(platform: Platform, publication: Publication) -> str | None:
    """Where the bids of a publication lie that no switch shaped: its own, else those that a switch replaced, if any."""
    if not publication.switches:
        return publication.uri
    return kept_aside(platform.blobs, publication.uri, version=publication.version)


def _alarmed(platform: Platform, day: date) -> bool:
    """Whether a critical incident stood open; a switch's own tells of the bids of another scope or day."""
    return any(
        one.severity == "critical" and one.cause.partition(":")[0] != CAUSE
        for one in incidents.open_on(platform.db, platform.market, day)
    )


def _first_of_champion(platform: Platform, partner: str, day: date) -> pd.DataFrame | None:
    """The bids that the live champion first published, by no switch."""
    live = champion.current(platform.db, platform.market)
    if live is None:
        return None
    made = publications.history(platform.db, platform.market, partner, last=day)
    own = [uri for one in made if one.version == live.digest and (uri := _by_no_switch(platform, one))]
    return read_table(platform.blobs, own[-1]) if own else None


def _baseline_bids(platform: Platform, day: date) -> dict[str, pd.DataFrame]:
    """The bids that the baselines in the champion's bundle make of the last day; empty without a champion."""
    from ml.models import PAIRS, baseline_of
    from ml.promotion.bundle import load_models, read_bundle

    live = champion.current(platform.db, platform.market)
    if live is None:
        return {}
    models: dict[str, BidModel] = load_models(read_bundle(platform.blobs, live.digest, platform.keys))
    simple = {name: models[baseline_of(name)] for name in PAIRS if baseline_of(name) in models}
    built = build_bids(platform, day, models | simple, policy=bid_policy(platform), limit_change=False)
    return {partner: said.table for partner, said in built.items() if said.verdict is not Verdict.FAIL}
