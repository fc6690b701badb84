"""Check a market day: hand what it brought, what came before, and the champion's view of both to the judgement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.errors import CorruptArtefact
from ml.core.units import known_by
from ml.steps.observe import observe_day
from ml.steps.rows import held_days

if TYPE_CHECKING:
    import pandas as pd

    from ml.ledger.champion import Champion
    from ml.models.protocol import BidModel
    from ml.platform import Platform
    from monitoring.subject import Predict, Subject

Models = Mapping[str, "BidModel"]
Statistics = Mapping[str, Mapping[str, Any]]
"""Per column of a model its `kind` and its `importance`, as its reference statistics name them."""

TRAFFIC_SHARE_ROWS = 60_000
"""About so many shown offers are watched in all; more would say the same."""

MATURED_DAYS = 28
"""Calibration rests on bookings whose stay was to end in these last days."""

TRAFFIC_NUMBERS = ("relative_price", "price_micros", "lead_days", "los_nights")
"""Our bid and the place that it wins are not among them: they move with each retrain, by our own doing."""

TRAFFIC_LABELS = ("device", "user_country")


def watch_day(platform: Platform, day: date, *, run_id: str = "") -> dict[str, Any]:
    """Judge the day with the champion of the day before, so that a repeat judges as it did the first time."""
    from ml.ledger import champion
    from monitoring.check import check_day
    from monitoring.windows import WINDOWS

    live = champion.on_day(platform.db, platform.market, day - timedelta(days=1))
    models, statistics = _champion(platform, live)
    first = day - timedelta(days=WINDOWS.days_of_use - 1)
    subjects = [_bookings(platform, first, day, models, statistics)]
    if platform.source.has_opportunities:
        subjects.append(_traffic(platform, first, day, models))
    return check_day(
        platform.blobs,
        platform.db,
        platform.settings,
        market=platform.market,
        day=day,
        subjects=subjects,
        matured=_matured(platform, day, live, models),
        served=_served(platform, day),
        observed=observe_day(platform, day, live, models),
        run_id=run_id,
        at=platform.clock.now(),
    )


def _champion(platform: Platform, live: Champion | None) -> tuple[Models | None, Statistics]:
    """The champion's models, and what its value model says of each of its columns: the kind, the share of the gain.

    While there is no champion, the columns that one would have, each of which matters as much as the others.
    """
    if live is None:
        from ml.models.value import ValueModel

        return None, {column.name: {"kind": column.kind, "importance": 0.0} for column in ValueModel.columns}
    from ml.promotion.bundle import load_models, read_bundle

    bundle = read_bundle(platform.blobs, live.digest, platform.keys)
    return load_models(bundle), json.loads(bundle.artefacts["reference.json"])["value"]["features"]


def _served(platform: Platform, day: date) -> Mapping[str, Any]:
    """What materialising the day found of the features that were served on it."""
    from ml.ledger import stages

    record = stages.get(platform.db, stages.StageKey(platform.market, "materialize", day))
    found: Mapping[str, Any] = record.result.get("parity", {}) if record else {}
    return found


def _others_held(platform: Platform, day: date) -> list[date]:
    """Held days but this one, which is about to be judged anew."""
    return [held for held in held_days(platform, day) if held != day]


def _bookings(platform: Platform, first: date, day: date, models: Models | None, statistics: Statistics) -> Subject:
    """The bookings of the day beside those before it, in the columns of the value model."""
    from ml.features.training_set import decision_rows
    from ml.models.value import ValueModel
    from monitoring.subject import Subject

    rows = decision_rows(
        platform.lake, market=platform.market, first=first, last=day, exclude_days=_others_held(platform, day)
    )
    # The gain is told of the model's columns, so those are watched: a rate in currency, not the micros it comes from.
    current, reference = _split(ValueModel.context(rows), day)
    # A column that this source never fills cannot go missing; one that it filled until today can.
    filled = {name: found for name, found in statistics.items() if reference[name].notna().any()}
    return Subject.of_model(
        "bookings", current, reference, filled, predict=_predict(models, "value", "p_cancel", "net_value_micros")
    )


def _traffic(platform: Platform, first: date, day: date, models: Models | None) -> Subject:
    """The offers shown on the day beside those before it: the searches, our price among our rivals', what is predicted.

    The click is predicted for the first place, so that a change of our own bids is no shift of the market.
    """
    from ml.evaluation.rows import traffic_share
    from ml.features.training_set import opportunity_rows
    from ml.ledger import partitions
    from monitoring.subject import Subject

    held = _others_held(platform, day)
    rows = opportunity_rows(
        platform.lake,
        as_of=known_by(day),
        first=first,
        last=day,
        exclude_days=held,
        share=traffic_share(platform, day, days=(day - first).days + 1, rows=TRAFFIC_SHARE_ROWS),
    )
    rows = rows.assign(
        relative_price=rows["price_micros"].astype("float64") / rows["rival_price_micros"].astype("float64"),
        position=1,
    )
    current, reference = _split(rows, day)
    landed = partitions.accepted(platform.db, platform.market, "opportunities", first=first, last=day)
    return Subject(
        "traffic",
        current,
        reference,
        list(TRAFFIC_NUMBERS),
        list(TRAFFIC_LABELS),
        predict=_predict(models, "click", "p_click"),
        # How often we are shown is our own bids' doing; whether the delivery is whole shows in all of it.
        volume={d: rows for d, rows in landed.items() if d not in held},
    )


def _split(rows: pd.DataFrame, day: date) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that became known on the day, and those known before."""
    from ml.core.units import day_start

    today = rows["known_at"] >= day_start(day)
    return rows[today].reset_index(drop=True), rows[~today].reset_index(drop=True)


def _predict(models: Models | None, name: str, *outputs: str) -> Predict | None:
    """What one model says of rows; None while there is no champion, or while it has no such model."""
    if models is None or name not in models:
        return None
    model = models[name]
    return lambda rows: model.predict(rows)[list(outputs)]


def _matured(platform: Platform, day: date, live: Champion | None, models: Models | None) -> pd.DataFrame | None:
    """Bookings due since the champion was trained, with what it expects of them and what came of them."""
    if live is None or models is None:
        return None
    import pandas as pd

    from ml.evaluation.holdout import due_bookings
    from ml.features.training_set import booking_rows
    from ml.ledger import versions

    version = versions.get(platform.db, platform.market, live.digest)
    if version is None:
        raise CorruptArtefact(
            f"the champion {live.digest[:12]} is not registered", next=f"bidwright explain {live.digest[:12]}"
        )
    bookings = booking_rows(
        platform.lake, market=platform.market, as_of=known_by(day), exclude_days=_others_held(platform, day)
    )
    first = max(version.trained_through + timedelta(days=1), day - timedelta(days=MATURED_DAYS))
    due = due_bookings(bookings, first=first, last=day - timedelta(days=1))
    expected = models["value"].predict(due.rows)["net_value_micros"].to_numpy(dtype=float)
    return pd.DataFrame({"day": due.block, "expected_micros": expected, "realised_micros": due.value_micros})
