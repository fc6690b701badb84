"""What watchers ask beside the canonical tables: the ledger's memory of deliveries and plans, and the champion's view."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.core.units import day_start, days_between, known_by
from ml.steps.watch_series import SERIES_DAYS, Extras, merged
from monitoring.watchers.series import Scope

if TYPE_CHECKING:
    import pandas as pd

    from ml.ledger.champion import Champion
    from ml.platform import Platform

SAMPLE_A_DAY, SAMPLE_DAYS = 400, 32
"""Eligible auctions that the champion scores, a day, over the judged days and their reference weeks."""

MASKING = frozenset({"drift:tracking", "drift:feed"})
"""Days of these incidents are no reference for later ones: what was seen on them was not what happened."""

LAST_YEAR_DAYS = 364
"""The same weekday, a year ago."""

_DELAY_DAYS = 56


def extras_of(platform: Platform, day: date, live: Champion | None, models: Mapping[str, Any] | None) -> Extras:
    """Everything that `read_series` is given beside the canonical tables, as known by the end of a market day."""
    ledger = _of_ledger(platform, day)
    if not platform.source.has_opportunities:
        return ledger
    return merged(ledger, _predicted(platform, day, models), _promised(platform, day, live, models))


def _of_ledger(platform: Platform, day: date) -> Extras:
    from ml.ledger import incidents, partitions, stages
    from ml.market.reasons import REPEATED_ROW

    db, market = platform.db, platform.market
    whole: dict[str, dict[date, float]] = {}
    landed = [partitions.current(db, market, table, day) for table in ("clicks", "bookings")]
    known = [one for one in landed if one is not None]
    if known:
        whole["rows"] = {day: float(sum(one.rows_in for one in known))}
        whole["repeated"] = {day: float(sum(one.reasons.get(REPEATED_ROW, 0) for one in known))}
        whole["restated"] = {day: float(max(one.revision for one in known) - 1)}
    first = day - timedelta(days=SERIES_DAYS - 1 + LAST_YEAR_DAYS)
    before = partitions.accepted(db, market, "opportunities", first=first, last=day - timedelta(days=LAST_YEAR_DAYS))
    if before:
        whole["last_year"] = {one + timedelta(days=LAST_YEAR_DAYS): float(rows) for one, rows in before.items()}
    published = stages.get(db, stages.StageKey(market, "publish", day - timedelta(days=1)))
    expected = list((published.result.get("expected") or {}).values()) if published else []
    if expected:
        whole["planned_spend"] = {day: float(sum(one["cost_micros"] for one in expected))}
        whole["planned_profit"] = {day: float(sum(one["profit_micros"] for one in expected))}
    served = stages.get(db, stages.StageKey(market, "materialize", day))
    views = [one for one in (served.result.get("parity", {}) if served else {}).values() if one.get("compared")]
    if views:
        whole["skew_compared"] = {day: float(sum(one["compared"] for one in views))}
        whole["skew_equal"] = {day: float(sum(min(one["equal"].values(), default=0) for one in views))}
    masked = {
        one
        for incident in incidents.all_incidents(db, market, 200)
        if incident.cause in MASKING and incident.first_day <= day
        for one in days_between(incident.first_day, min(incident.last_day, day))
    }
    return Extras(whole=whole, masked=frozenset(masked - {day}), take_share=platform.settings.take_share)


def _predicted(platform: Platform, day: date, models: Mapping[str, Any] | None) -> Extras:
    """What the champion predicts of a sample of every day's eligible auctions, each as if shown at the top."""
    names = ("sampled", "predicted_clicks", "predicted_bookings", "predicted_value")
    if models is None or not {"click", "conversion"} <= set(models):
        return Extras(missing=dict.fromkeys(names, "predictions wait for a champion"))
    from ml.evaluation.rows import traffic_share
    from ml.features.training_set import opportunity_rows

    rows = opportunity_rows(
        platform.lake,
        as_of=known_by(day),
        first=day - timedelta(days=SAMPLE_DAYS - 1),
        last=day,
        share=traffic_share(platform, day, days=1, rows=SAMPLE_A_DAY),
        eligible=True,
    ).assign(position=1)
    click = models["click"].predict(rows)["p_click"].to_numpy(dtype=float)
    book = models["conversion"].predict(rows)["p_book"].to_numpy(dtype=float)
    stay = rows["price_micros"].to_numpy(dtype=float) * np.maximum(rows["los_nights"].to_numpy(dtype=float), 1.0)
    values = (np.ones(len(rows)), click, book, book * stay)
    days = rows["known_at"].dt.floor("D").dt.date
    return Extras(sums={name: _by_leaf(rows, days, value) for name, value in zip(names, values, strict=True)})


def _promised(platform: Platform, day: date, live: Champion | None, models: Mapping[str, Any] | None) -> Extras:
    """Of the clicks since the champion was trained: what each day should have taught of bookings, and what it did.

    A click promises p of a booking, and a share of it on each day of its age, by the completion factors as they were known
    when the champion was trained. What is held against the champion is so what it said before it could know.
    """
    names = ("expected_bookings", "champion_bookings")
    if live is None or models is None or "conversion" not in models:
        return Extras(missing=dict.fromkeys(names, "it waits for a champion"))
    from ml.features.training_set import click_rows
    from ml.ledger import versions
    from ml.models.conversion import completion_of

    version = versions.get(platform.db, platform.market, live.digest)
    if version is None:
        return Extras(missing=dict.fromkeys(names, "the champion is not registered"))
    through = version.trained_through
    first = max(through + timedelta(days=1), day - timedelta(days=SERIES_DAYS - 1))
    if first > day:
        return Extras(missing=dict.fromkeys(names, "the champion was trained on this very day"))
    rows = click_rows(platform.lake, as_of=known_by(day), first=first, last=day)
    learned = click_rows(
        platform.lake, as_of=known_by(through), first=through - timedelta(days=_DELAY_DAYS), last=through, views=()
    )
    if rows.empty or learned.empty:
        return Extras(missing=dict.fromkeys(names, "there are no clicks since the champion was trained"))
    completion = completion_of(learned, as_of=known_by(through))
    p_book = models["conversion"].predict(rows)["p_book"].to_numpy(dtype=float)
    clicked = _days_since(rows["click_known_at"], first)
    booked = _days_since(rows["booking_known_at"], first)
    leaf, scopes = _leaves(rows)
    sums: dict[str, dict[tuple[date, Scope], float]] = {name: {} for name in names}
    for n, one in enumerate(days_between(first, day)):
        there = clicked < n + 1
        upper = completion.at(np.maximum(n + 1 - clicked[there], 0.0))
        lower = np.where(n > clicked[there], completion.at(np.maximum(n - clicked[there], 0.0)), 0.0)
        due = np.bincount(leaf[there], p_book[there] * (upper - lower), len(scopes))
        came = np.bincount(leaf[(booked >= n) & (booked < n + 1)], minlength=len(scopes))
        for name, values in zip(names, (due, came), strict=True):
            sums[name] |= {(one, scope): float(value) for scope, value in zip(scopes, values, strict=True)}
    return Extras(sums=sums)


def _days_since(instants: pd.Series[Any], first: date) -> Any:
    """Days from the start of a market day, as floats; NaN where there is no instant."""
    import pandas as pd

    spans = pd.DatetimeIndex(instants) - pd.Timestamp(day_start(first))
    return np.asarray(spans / np.timedelta64(1, "D"), dtype=np.float64)


def _by_leaf(rows: pd.DataFrame, days: Any, values: Any) -> dict[tuple[date, Scope], float]:
    import pandas as pd

    leaf, scopes = _leaves(rows)
    table = pd.DataFrame(
        {"day": np.asarray(days, dtype=object), "leaf": leaf, "value": np.asarray(values, dtype=float)}
    )
    found = table.groupby(["day", "leaf"], sort=False)["value"].sum().reset_index()
    columns = (found[name].tolist() for name in ("day", "leaf", "value"))
    return {(one, scopes[at]): value for one, at, value in zip(*columns, strict=True)}


def _leaves(rows: pd.DataFrame) -> tuple[Any, list[Scope]]:
    """The partner and point of sale of each row, as a number of shape (n,), and what the numbers stand for."""
    groups = rows.groupby(["partner", "user_country"], sort=False, dropna=False)
    firsts = rows.loc[~groups.cumcount().astype(bool), ["partner", "user_country"]]
    return groups.ngroup().to_numpy(), [Scope(*one) for one in firsts.itertuples(index=False)]
