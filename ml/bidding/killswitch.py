"""Four ways to stop a bid model from spending, each a pure function on tables of bids.

0 freeze: the bids last known to be good. 1 revert: those that the champion's snapshot gives. 2 safe: the smaller of
the last good bid and 0.6 x the baseline's. 3 pause: no bids at a partner or in a market. Going back up is a person's
decision; nothing here does it. `ml.steps.switch` finds the tables, publishes and releases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.bidding.landscape import Floats
from ml.bidding.table import CLICK_LEVELS
from ml.core.errors import NoData, UsageError

SAFE_SHARE = 0.6
KEYS = list(CLICK_LEVELS)
BID = "bid_micros"


@dataclass(frozen=True)
class Tables:
    """What a kill switch has to choose from; each has the columns of `CLICK_LEVELS` and `bid_micros`.

    Attributes:
        current: the bids that are out.
        last_good: the bids last published whose day raised no alarm.
        champion: the bids of the champion's snapshot.
        baseline: the bids of the baseline model.
    """

    current: pd.DataFrame
    last_good: pd.DataFrame | None = None
    champion: pd.DataFrame | None = None
    baseline: pd.DataFrame | None = None


@dataclass(frozen=True)
class Scope:
    """Where bids are paused; None is everywhere."""

    partner: str | None = None
    market: str | None = None


@dataclass(frozen=True)
class Switched:
    """What a level does.

    Attributes:
        level: 0 to 3.
        name: its name.
        table: the bids to send, one row per cell of the current bids, in their order.
        changed: cells whose bid moves.
        spend_ratio: expected spend after over before, at the clicks seen lately (`clicks_seen`, 1 where unknown).
    """

    level: int
    name: str
    table: pd.DataFrame
    changed: int
    spend_ratio: float


def switch(level: int, tables: Tables, scope: Scope | None = None) -> Switched:
    """The bids that a level of the kill switch sends; nothing is sent here, so that calling it is the rehearsal.

    A cell of the current bids that the chosen table does not know is not bid on.

    Raises:
        UsageError: there is no such level.
        NoData: the table that the level needs is not there, or there are no bids out.
    """
    if level not in LEVELS:
        raise UsageError(
            f"there is no kill switch level {level}",
            next="choose " + ", ".join(f"{number} ({name})" for number, (name, _) in LEVELS.items()),
        )
    if tables.current.empty:
        raise NoData("there are no bids to switch off", left="nothing was changed")
    name, choose = LEVELS[level]
    chosen = choose(tables, scope or Scope())
    table = tables.current.assign(**{BID: np.asarray(chosen, dtype=np.int64)})
    before = tables.current[BID].to_numpy(dtype=float)
    clicks = tables.current["clicks_seen"].to_numpy(dtype=float) if "clicks_seen" in table else np.ones(len(table))
    spend = float((before * clicks).sum())
    ratio = float((table[BID].to_numpy(dtype=float) * clicks).sum()) / spend if spend > 0 else 0.0
    return Switched(level, name, table, int((table[BID].to_numpy() != before).sum()), ratio)


def freeze(tables: Tables, _: Scope) -> Floats:
    """Level 0: the last good bids."""
    return _bids_of(tables.last_good, tables.current, "no good bids were published before")


def revert(tables: Tables, _: Scope) -> Floats:
    """Level 1: the champion's bids."""
    return _bids_of(tables.champion, tables.current, "there is no snapshot of the champion's bids")


def safe(tables: Tables, _: Scope) -> Floats:
    """Level 2: the smaller of the last good bid and 0.6 x the baseline's; 0 where neither table has the cell."""
    good = _bids_of(tables.last_good, tables.current, "no good bids were published before")
    low = _bids_of(tables.baseline, tables.current, "there are no bids of the baseline") * SAFE_SHARE
    return np.floor(np.minimum(good, low))


def pause(tables: Tables, scope: Scope) -> Floats:
    """Level 3: no bids within the scope; the others as they are."""
    inside = pd.Series(data=True, index=tables.current.index)
    for column, wanted in (("partner", scope.partner), ("market", scope.market)):
        if wanted is not None:
            if wanted not in set(tables.current[column]):
                raise UsageError(f"no bids are out for the {column} {wanted!r}", left="nothing was changed")
            inside &= tables.current[column] == wanted
    return tables.current[BID].mask(inside, 0).to_numpy(dtype=float)


LEVELS: Mapping[int, tuple[str, Callable[[Tables, Scope], Floats]]] = {
    0: ("freeze", freeze),
    1: ("revert", revert),
    2: ("safe", safe),
    3: ("pause", pause),
}
"""Each level with its name and what it does."""


def _bids_of(table: pd.DataFrame | None, current: pd.DataFrame, absent: str) -> Floats:
    """The bids of a table for the cells of the current one, 0 where it has none."""
    if table is None or table.empty:
        raise NoData(absent, left="nothing was changed", next="use level 3 (pause), which needs no other table")
    found = current[KEYS].merge(table[[*KEYS, BID]], on=KEYS, how="left", validate="1:1")
    return found[BID].fillna(0).to_numpy(dtype=float)
