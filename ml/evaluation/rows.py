"""The rows that every model of a candidate is judged on, gathered once for training and for the gates."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from ml.core.units import known_by
from ml.evaluation import holdout
from ml.evaluation.holdout import Holdout

if TYPE_CHECKING:
    from ml.platform import Platform


def evaluation_rows(platform: Platform, day: date, *, known_from: datetime) -> dict[str, Holdout]:
    """What became certain from `known_from` to the end of `day`, per model; held days are left out.

    Besides the models' names, `value_due` holds the bookings due in the window, on which calibration in money rests.
    """
    from ml.features.training_set import booking_rows
    from ml.ledger import stages

    held = stages.held_days(platform.db, platform.market, last=day)
    bookings = booking_rows(platform.lake, market=platform.market, as_of=known_by(day), exclude_days=held)
    found = {
        "value": holdout.settled_bookings(bookings, known_from=known_from),
        "value_due": holdout.due_bookings(bookings, first=known_from.date(), last=day - timedelta(days=1)),
    }
    if platform.source.has_opportunities:
        share = traffic_share(platform, day, days=platform.settings.holdout_days, rows=holdout.TRAFFIC_ROWS)
        found["conversion"] = holdout.mature_clicks(platform.lake, day=day, known_from=known_from, exclude_days=held)
        found["click"] = holdout.shown_offers(
            platform.lake, day=day, known_from=known_from, exclude_days=held, share=share
        )
    return found


def traffic_share(platform: Platform, day: date, *, days: int, rows: int) -> float:
    """The share of opportunities that makes about `rows` of them over `days` days like `day`; at most 1."""
    from ml.ledger import partitions

    today = partitions.current(platform.db, platform.market, "opportunities", day)
    if today is None or not today.accepted:
        return 1.0
    return min(1.0, rows / (today.accepted * days))
