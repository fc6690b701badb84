"""The kill switch: rehearse it, pull it, release it, and keep the daily publication to it while it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.bidding.killswitch import BID, KEYS, LEVELS
from ml.bidding.publish import keep_aside, read_table
from ml.core.errors import NoData, UsageError
from ml.ledger import stages, switches
from ml.ledger.switches import Scope, Switch
from ml.steps.publish import bid_policy, publish_said
from ml.steps.serving_plan import publish_plan
from ml.steps.switched import (
    CAUSE,
    Switched,
    partners_of,
    ratio,
    refuse_nothing,
    say_as_is,
    standing,
    switched_bids,
    within,
)
from monitoring.alerts import raise_alert, resolve_alerts

if TYPE_CHECKING:
    from ml.bidding.say import SaidBids
    from ml.ledger.database import Store
    from ml.ledger.incidents import Severity
    from ml.platform import Platform

PAUSE = 3
HISTORY_SHOWN = 10
_SEVERITY: Mapping[int, Severity] = {0: "warning", 1: "warning", 2: "critical", 3: "critical"}


@dataclass(frozen=True)
class Honoured:
    """A day's bids as the active switches let them out.

    Attributes:
        said: the bids to publish; a partner that is missing keeps what stands.
        switches: by partner, the ids of the switches that shaped its bids.
        reasons: by partner, those of what is published, and one sentence for each switch.
    """

    said: dict[str, SaidBids]
    switches: dict[str, tuple[int, ...]] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)


def rehearse(platform: Platform, *, level: int, scope: Scope, day: date | None = None) -> dict[str, Any]:
    """What a level would send after the market day `day` (the last one, if None); writes nothing.

    Raises:
        UsageError: there is no such level, partner or market.
        NoData: there are no bids to switch, or the evidence that the level needs is not there.
    """
    when = day or _last_day(platform)
    known = _known(level)
    found = switched_bids(platform, when, level=known, scope=scope, partners=partners_of(platform, scope))
    refuse_nothing(found, scope)
    return _answer(known, scope, when, found)


def pull(platform: Platform, *, level: int, scope: Scope, why: str, by: str) -> dict[str, Any]:
    """Let a switch stand and publish what it says at once, so that the next market day's auctions keep to it.

    Every partner's table and files are made before anything is written. The same pull again publishes only what a
    crash had left out. Where a higher level stands already, its bids stay. Raises as `rehearse`, and UsageError where
    `why` or `by` is empty.
    """
    switches.explained(by, why)
    day, known = _last_day(platform), _known(level)
    same = next(
        (s for s in switches.active(platform.db, platform.market) if (s.scope, s.level) == (scope, known)), None
    )
    todo = [p for p in partners_of(platform, scope) if same is None or not _carried_out(platform, same, p, day)]
    found = switched_bids(platform, day, level=known, scope=scope, partners=todo)
    if same is None:
        refuse_nothing(found, scope)
    at = platform.clock.now()
    with platform.db.session() as session:
        switch, _ = switches.pull(session, platform.market, scope, level=known, day=day, why=why, by=by, at=at)
        _tell(session, platform, switch, day)
    _publish(platform, day, switch, found)
    publish_plan(platform, day)
    return {**_answer(known, scope, day, found), "switch": as_json(switch), "published": sorted(found)}


def release(platform: Platform, *, scope: Scope, why: str, by: str) -> dict[str, Any]:
    """Let the switch of exactly this scope go, and end its incident; bids change with the next publication only.

    Raises:
        UsageError: none stands there, or `why` or `by` is empty.
    """
    at, last = platform.clock.now(), _last_day(platform)
    with platform.db.session() as session:
        gone = switches.release(session, platform.market, scope, why=why, by=by, at=at)
        if gone is not None:
            resolve_alerts(
                session,
                platform.settings,
                market=platform.market,
                causes=[_cause(scope)],
                day=max(gone.day, last),
                reason=f"{by} released the kill switch: {why}",
                at=at,
            )
    if gone is None:
        stand = [str(one.scope) for one in switches.active(platform.db, platform.market)]
        raise UsageError(
            f"no kill switch stands {scope}",
            left="nothing was changed",
            next="give the scope of one that stands: " + ", ".join(stand) if stand else "none stands anywhere",
        )
    return {
        "switch": as_json(gone),
        "next": "the bids that it left stand until the next publication: "
        f"bidwright publish-bids --day {last.isoformat()}",
    }


def status(platform: Platform) -> dict[str, Any]:
    """The switches that stand, those before them, and which bids stand at each partner; writes nothing."""
    day = max(stages.days(platform.db, platform.market), default=None)
    stands = {p: standing(platform, p, day) for p in platform.source.partners} if day else {}
    past = switches.history(platform.db, platform.market, HISTORY_SHOWN)
    return {
        "active": [as_json(one) for one in switches.active(platform.db, platform.market)],
        "released": [as_json(one) for one in past if not one.is_active],
        "standing": {
            partner: {"day": one.day.isoformat(), "cells": one.rows, "switches": list(one.switches)}
            for partner, one in stands.items()
            if one is not None
        },
    }


def honour(platform: Platform, day: date, said: Mapping[str, SaidBids]) -> Honoured:
    """A day's bids held to the active switches: paused cells have no bid, those of another level keep what stands."""
    active = switches.active(platform.db, platform.market)
    found = Honoured(dict(said))
    for partner, bids in said.items():
        mine = [one for one in active if one.scope.partner in {"", partner} and within(bids.table, one.scope).any()]
        if not mine:
            continue
        # A switch that keeps what stands shaped it only where it was carried out; else `keep` has still to do so.
        stands = standing(platform, partner, day)
        shaped = {*(stands.switches if stands else ())}
        found.switches[partner] = tuple(one.id for one in mine if one.level == PAUSE or one.id in shaped)
        held = _held(platform, day, partner, bids, mine)
        found.reasons[partner] = [*(held.reasons if held else ()), *(_sentence(one) for one in mine)]
        if held is None:
            del found.said[partner]
        else:
            found.said[partner] = held
    return found


def keep(platform: Platform, day: date) -> dict[str, Any]:
    """While a switch stands: keep its incident open, and publish what a crash or a race kept it from publishing.

    Returns:
        `switch`: one sentence for each that stands; empty where none does.
    """
    active = switches.active(platform.db, platform.market)
    last = max(day, _last_day(platform)) if active else day
    told = []
    for one in active:
        todo = [p for p in partners_of(platform, one.scope) if not _carried_out(platform, one, p, last)]
        told.append(_sentence(one))
        try:
            found = switched_bids(platform, last, level=one.level, scope=one.scope, partners=todo)
        except NoData as error:
            # The bids that stand are no worse than they were; a day's publication must not fail for it.
            told.append(f"it could not be carried out everywhere: {error.what}")
        else:
            _publish(platform, last, one, found)
        _tell(platform.db, platform, one, max(day, one.day))
    if active:
        publish_plan(platform, last)
    return {"switch": told} if told else {}


def as_json(switch: Switch) -> dict[str, Any]:
    """A switch for people and programs."""
    return {
        "level": switch.level,
        "name": LEVELS[switch.level][0],
        "scope": str(switch.scope),
        "day": switch.day.isoformat(),
        "why": switch.why,
        "by": switch.set_by,
        "set_at": switch.set_at.isoformat(),
        "released_at": switch.released_at.isoformat() if switch.released_at else None,
        "released_by": switch.released_by,
        "released_why": switch.released_why,
    }


def _held(platform: Platform, day: date, partner: str, bids: SaidBids, mine: list[Switch]) -> SaidBids | None:
    """One partner's bids under its switches; None where every cell keeps what stands. A pause goes before the others."""
    paused, kept = np.zeros((2, len(bids.table)), dtype=np.bool_)
    for one in mine:
        (paused if one.level == PAUSE else kept)[within(bids.table, one.scope)] = True
    kept &= ~paused
    if kept.all():
        return None
    amounts = bids.table[BID].to_numpy(dtype=np.int64, copy=True)
    if kept.any():
        stands = standing(platform, partner, day)
        old = read_table(platform.blobs, stands.uri) if stands else bids.table.iloc[:0]
        was = bids.table[KEYS].merge(old[[*KEYS, BID]], on=KEYS, how="left", validate="1:1")[BID]
        amounts[kept] = was.fillna(0).to_numpy(dtype=np.int64)[kept]
    amounts[paused] = 0
    return say_as_is(platform, partner, bids.table.assign(**{BID: amounts}))


def _publish(platform: Platform, day: date, switch: Switch, found: Mapping[str, Switched]) -> None:
    """The normal way out: tables, files, manifest, ledger; as the bids of the champion whose bids stood.

    Those are kept aside: they are evidence for a level that is pulled later.
    """
    active = {one.id for one in switches.active(platform.db, platform.market)}
    for partner, one in found.items():
        if one.standing.day == day and not one.standing.switches:
            keep_aside(platform.blobs, one.standing.uri)
        publish_said(
            platform,
            day,
            partner,
            one.said,
            version=one.standing.version,
            generation=one.standing.generation,
            policy=bid_policy(platform),
            switches=tuple(sorted({switch.id, *(active & {*one.standing.switches})})),
        )


def _carried_out(platform: Platform, switch: Switch, partner: str, day: date) -> bool:
    """Whether the bids that stand at a partner are the switch's, or there are none."""
    stands = standing(platform, partner, day)
    return stands is None or switch.id in stands.switches


def _tell(store: Store, platform: Platform, switch: Switch, day: date) -> None:
    raise_alert(
        store,
        platform.settings,
        market=platform.market,
        cause=_cause(switch.scope),
        day=day,
        severity=_SEVERITY[switch.level],
        title=f"level {switch.level} ({LEVELS[switch.level][0]}) {switch.scope}",
        reasons=[f"{switch.set_by} pulled it after {switch.day.isoformat()}: {switch.why}"],
        details={"level": switch.level, "scope": str(switch.scope), "by": switch.set_by},
        at=platform.clock.now(),
    )


def _cause(scope: Scope) -> str:
    """One conversation for each scope."""
    where = "/".join(
        part for part in (scope.partner or ("*" if scope.point_of_sale else ""), scope.point_of_sale) if part
    )
    return f"{CAUSE}:{where}" if where else CAUSE


def _sentence(switch: Switch) -> str:
    does = "no bids" if switch.level == PAUSE else "the bids that stand are kept"
    return (
        f"kill switch level {switch.level} ({LEVELS[switch.level][0]}) {switch.scope} since {switch.day.isoformat()}, "
        f"by {switch.set_by}: {does}"
    )


def _answer(level: int, scope: Scope, day: date, found: Mapping[str, Switched]) -> dict[str, Any]:
    each = found.values()
    return {
        "level": level,
        "name": LEVELS[level][0],
        "scope": str(scope),
        "day": day.isoformat(),
        "cells": sum(one.cells for one in each),
        "changed": sum(one.changed for one in each),
        "spend_ratio": ratio(sum(one.before for one in each), sum(one.after for one in each)),
        "partners": {partner: one.as_json() for partner, one in found.items()},
    }


def _known(level: int) -> int:
    if level not in LEVELS:
        raise UsageError(
            f"there is no kill switch level {level}",
            left="nothing was changed",
            next="choose " + ", ".join(f"{number} ({name})" for number, (name, _) in LEVELS.items()),
        )
    return level


def _last_day(platform: Platform) -> date:
    """The market day whose publication decides the next auctions."""
    days = stages.days(platform.db, platform.market)
    if not days:
        raise NoData("no market day has run yet", left="nothing was changed", next="run one: bidwright run-day --help")
    return days[-1]
