"""What the partners tell of a day in reports of their own shape, as they told it at an instant.

`Simulator.partner_reports(day, as_of)` gives the frames by name. They are not ingested yet: they show what a live
adapter has to live with. Reports come late, count again every four hours until they are final, hide small shares, and
say why an impression was missed. Each has the column `as_of`, so that two states of a report can be kept side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.core.units import MICROS_PER_UNIT, day_start
from ml.market.buckets import LEAD_BUCKETS, LEAD_STARTS, LOS_BUCKETS, LOS_STARTS, bucket_index
from ml.market.simulator.bookings import US_PER_DAY
from ml.market.simulator.day import click_times, search_times
from ml.market.simulator.frames import hotel_ids, utc_times
from ml.market.simulator.partners import NAMES
from ml.market.simulator.truth import DayTruth
from ml.market.simulator.world import COUNTRIES, Floats, Ints, stream
from ml.market.tables import DEVICES

REFRESH = timedelta(hours=4)
"""A report is counted again at 01:00, 05:00, 09:00 .. UTC: every 4 hours from 05:00 in California."""

_FIRST_REFRESH_HOUR = 1
FINAL_AFTER = timedelta(days=2)
"""From this long after the day on, its clicks and cost are final."""

CENSORED_SHARE, CENSORED_AS = 0.1, 0.0999
"""An impression share below the first is reported as the second."""

_RESTATED_SHARE = 0.01  # of clicks and cost that a report counts differently until it is final
_SIMULATION_NOISE_SD = 0.08
SIMULATED_MULTIPLIERS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
"""Bids of a simulation point, against our own."""

REASONS = ("insufficient_bid", "no_bid", "other")
"""Why an eligible impression was missed: below the reserve or the last place shown, a bid of 0, anything else."""

_NOISE = 30  # number of the stream
Frames = dict[str, pd.DataFrame]
Report = Callable[["Seen"], pd.DataFrame]


@dataclass(frozen=True)
class Seen:
    """One partner's day as it can be told at an instant: a row per search with what has been counted of it by then.

    Attributes:
        rows: columns hotel_id, country, device, check_in, lead_days, los_nights, lead_bucket, los_bucket,
            default_date, price, rival_price, then the counts impressions, clicks, cost_micros, conversions and
            conversions_value_micros, position (0 where not shown), bid_micros, and `reason` where missed.
        ladder: what each place needs and draws, for simulation points; shape (n, 4) each.
        partner: number of the partner.
        counted_at: the last refresh before the instant.
        noise: random numbers of this partner and day.
    """

    rows: pd.DataFrame
    needed: Floats
    click: Floats
    partner: int
    counted_at: datetime
    noise: np.random.Generator


def counted_at(as_of: datetime) -> datetime:
    """The last refresh up to an instant.

    >>> from datetime import UTC
    >>> counted_at(datetime(2026, 3, 1, 8, 59, tzinfo=UTC)).hour
    5
    """
    start = day_start(as_of.date()) + timedelta(hours=_FIRST_REFRESH_HOUR) - REFRESH
    return start + (as_of - start) // REFRESH * REFRESH


def see(truth: DayTruth, *, partner: int, day: date, as_of: datetime, seed: int) -> Seen:
    """One partner's searches of a day with what is counted of them by the last refresh before `as_of`."""
    now = counted_at(as_of)
    moment = int(now.timestamp() * 1_000_000)
    mine = np.flatnonzero(truth.resolved.searches["partner"] == partner)
    searches, outcomes = truth.resolved.searches[mine], truth.resolved.outcomes[mine]
    told = search_times(day, searches) < moment
    searches, outcomes = searches[told], outcomes[told]
    clicked = outcomes["clicked"] & (click_times(day, searches) < moment)
    if now < day_start(day) + timedelta(days=1) + FINAL_AFTER:
        # The same clicks are missing at every count until it is final: spam checks and late logs.
        clicked &= searches["number"] * 0.8191725134 % 1.0 >= _RESTATED_SHARE
    count, value = _conversions(truth, searches["number"], partner, moment)
    position = outcomes["position"].astype(np.int64)
    rows = pd.DataFrame(
        {
            "hotel_id": hotel_ids(int(searches["hotel"].max(initial=0)) + 1)[searches["hotel"]],
            "country": np.array(COUNTRIES, dtype=object)[searches["country"]],
            "device": np.array(DEVICES, dtype=object)[searches["device"]],
            "check_in": utc_times(searches["check_in"].astype(np.int64) * US_PER_DAY),
            "lead_days": searches["lead"].astype(np.int64),
            "los_nights": searches["los"].astype(np.int64),
            "lead_bucket": np.array(LEAD_BUCKETS, dtype=object)[bucket_index(searches["lead"], LEAD_STARTS)],
            "los_bucket": np.array(LOS_BUCKETS, dtype=object)[bucket_index(searches["los"], LOS_STARTS)],
            "default_date": searches["default_date"],
            "price": searches["price"],
            "rival_price": outcomes["rival_price"],
            "eligible_impressions": 1,
            "impressions": (position > 0).astype(np.int64),
            "clicks": clicked.astype(np.int64),
            "cost_micros": np.where(clicked, outcomes["cpc"], 0),
            "conversions": count,
            "conversions_value_micros": value,
            "position": position,
            "bid_micros": outcomes["bid"],
            "reason": _reasons(outcomes["bid"], position, outcomes["commission"]),
        }
    )
    ladder = [np.column_stack([outcomes[f"{name}_{place}"] for place in range(1, 5)]) for name in ("needed", "click")]
    noise = stream(seed, day, _NOISE + partner)
    return Seen(rows, ladder[0].astype(np.float64), ladder[1].astype(np.float64), partner, now, noise)


def total(seen: Seen, by: list[str]) -> pd.DataFrame:
    """Sums by cell, sorted, with the impression share, censored where it is small."""
    counts = ["eligible_impressions", "impressions", "clicks", "cost_micros", "conversions", "conversions_value_micros"]
    table = seen.rows.groupby(by, observed=True, sort=True)[counts].sum().reset_index()
    share = table["impressions"] / table["eligible_impressions"]
    table["impression_share"] = share.where(share >= CENSORED_SHARE, CENSORED_AS)
    return table.assign(as_of=pd.Timestamp(seen.counted_at))


def missed(seen: Seen, by: list[str]) -> pd.DataFrame:
    """Missed impressions by cell and reason, sorted: the columns `by` and missed_<reason>."""
    flags = pd.DataFrame({f"missed_{reason}": (seen.rows["reason"] == reason).astype(np.int64) for reason in REASONS})
    return flags.assign(**{name: seen.rows[name] for name in by}).groupby(by, observed=True).sum().reset_index()


def beat_meet_lose(seen: Seen, by: list[str], *, tolerance: float = 0.01) -> pd.DataFrame:
    """Share of searches at which our price was lower than, as low as, and higher than the cheapest rival's."""
    gap = np.log(seen.rows["price"] / seen.rows["rival_price"].where(np.isfinite(seen.rows["rival_price"])))
    shares = pd.DataFrame({"beat": gap < -tolerance, "meet": np.abs(gap) <= tolerance, "lose": gap > tolerance})
    return shares.assign(**{name: seen.rows[name] for name in by}).groupby(by, observed=True).mean().reset_index()


def bid_simulation(seen: Seen, by: list[str], *, first_price: bool = False) -> pd.DataFrame:
    """What our bids times each multiplier would have brought, by cell, as a partner guesses it.

    Columns: `by`, multiplier, impressions, top_slot_impressions, clicks, cost_micros; log-normal noise of 8 % on each
    cell's clicks and cost.
    """
    parts = []
    for multiplier in SIMULATED_MULTIPLIERS:
        bid = seen.rows["bid_micros"].to_numpy() * multiplier / MICROS_PER_UNIT
        step = (bid[:, None] < seen.needed).sum(axis=1)
        shown, place = step < 4, np.minimum(step, 3)[:, None]
        click = np.where(shown, np.take_along_axis(seen.click, place, axis=1)[:, 0], 0.0)
        price = bid if first_price else np.take_along_axis(seen.needed, place, axis=1)[:, 0]
        part = seen.rows[by].assign(
            multiplier=multiplier,
            impressions=shown.astype(np.int64),
            top_slot_impressions=(step == 0).astype(np.int64),
            clicks=click,
            cost_micros=click * price * MICROS_PER_UNIT,
        )
        parts.append(part.groupby([*by, "multiplier"], observed=True, sort=True).sum().reset_index())
    table = pd.concat(parts).sort_values([*by, "multiplier"], ignore_index=True)
    for name in ("clicks", "cost_micros"):
        table[name] *= np.exp(_SIMULATION_NOISE_SD * seen.noise.standard_normal(len(table)))
    return table.assign(cost_micros=table["cost_micros"].round().astype(np.int64))


def all_reports(reports: Mapping[str, Report], truth: DayTruth, *, day: date, as_of: datetime, seed: int) -> Frames:
    """Every report, under `<partner>_<report>`; the first part of its name says whose it is."""
    seen = {name: see(truth, partner=number, day=day, as_of=as_of, seed=seed) for number, name in enumerate(NAMES)}
    return {name: report(seen[name.split("_")[0]]) for name, report in reports.items()}


def _reasons(bid: Ints, position: Ints, commission: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    """Why each search did not show us; None where it did."""
    found = np.where(bid == 0, "no_bid", "insufficient_bid").astype(object)
    found[commission] = "other"
    found[position > 0] = None
    return found


def _conversions(truth: DayTruth, numbers: Ints, partner: int, moment: int) -> tuple[Ints, Ints]:
    """Conversions of each search known by then and credited to its click, and their value; each of shape (n,)."""
    rows = truth.bookings
    known = (rows["segment"] == partner) & rows["credited"] & (rows["known"] < moment)
    rows = rows[known]
    order = np.argsort(numbers)
    place = order[np.searchsorted(numbers[order], rows["number"])] if len(numbers) else np.zeros(0, dtype=np.intp)
    count, value = np.zeros(len(numbers), dtype=np.int64), np.zeros(len(numbers), dtype=np.int64)
    count[place], value[place] = 1, rows["rate"] * rows["los"]
    return count, value
