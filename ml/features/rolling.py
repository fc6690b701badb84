"""Rolling windows over daily facts, for any number of as-of days in one query."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import ibis

from ml.features.measures import Measure

LONGEST_WINDOW_DAYS = 365
"""No window is longer; facts before it are not computed."""

KNOWN_DAY = "known_day"
"""Column of a fact: the UTC day, in days since 1970, on which it and all that it was made of had become known."""


def rolling(
    facts: Any, as_of: Any, *, entity: Sequence[str], windows: Sequence[int], prefix: str, measures: Sequence[Measure]
) -> Any:
    """Every measure over every window, for each as-of day and each entity seen within the longest window.

    Args:
        facts: integer facts to be summed, with the entity's columns and `known_day`; entities that have a
            null in their key count for the market and get no row of their own.
        as_of: one column `day` (date), market days; the window of w days ends with that day.
        entity: the key columns.
        windows: window lengths in days.
        prefix: start of every feature's name.
        measures: what to compute.

    Returns:
        An Ibis table: the entity's columns, `day`, and `<prefix>_<measure>_<window>d` for each measure and window.
    """
    names = sorted({name for measure in measures for name in measure.sums})
    daily = facts.group_by(*entity, KNOWN_DAY).agg(**{name: facts[name].sum() for name in names})
    present = daily.filter(reduce(lambda one, other: one & other, (daily[key].notnull() for key in entity)))
    whole = daily.group_by(KNOWN_DAY).agg(**{f"all_{name}": daily[name].sum() for name in names})
    own = _window_sums(present, as_of, by=entity, names=names, windows=windows)
    overall = _window_sums(whole, as_of, by=(), names=[f"all_{name}" for name in names], windows=windows)
    both = own.join(overall, "day")
    return both.select(
        *entity,
        "day",
        **{
            f"{prefix}_{measure.name}_{window}d": measure.value(
                {name: both[f"{name}_{window}"] for name in measure.sums},
                {name: both[f"all_{name}_{window}"] for name in measure.sums},
            )
            for window in windows
            for measure in measures
        },
    )


def _window_sums(daily: Any, as_of: Any, *, by: Sequence[str], names: Sequence[str], windows: Sequence[int]) -> Any:
    """The sum of each fact over each window, `<name>_<window>`; one row per as-of day and key."""
    last = as_of.select("day", last_day=as_of["day"].epoch_days())
    pairs = daily.join(last, [daily[KNOWN_DAY] <= last["last_day"], daily[KNOWN_DAY] > last["last_day"] - max(windows)])
    age = pairs["last_day"] - pairs[KNOWN_DAY]
    sums = {
        f"{name}_{window}": ibis.coalesce(pairs[name].sum(where=age < window), 0)
        for name in names
        for window in windows
    }
    return pairs.group_by(*by, "day").agg(**sums)
