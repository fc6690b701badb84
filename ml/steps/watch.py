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
"""About so many auctions of this year are scored by the champion; columns are counted over all of them."""

MATURED_DAYS = 28
"""Calibration rests on bookings whose stay was to end in these last days."""

TRAFFIC_NUMBERS = ("relative_price", "price_micros", "lead_days", "los_nights")
"""Our bid and the place that it wins are not among them: they move with each retrain, by our own doing."""

TRAFFIC_LABELS = ("device", "user_country")


def watch_day(platform: Platform, day: date, *, run_id: str = "", report: bool = True) -> dict[str, Any]:
    """Judge the day with the champion of the day before, so that a repeat judges as it did the first time.

    Without `report`, Evidently is not asked: neither for its HTML nor for its opinion.
    """
    from ml.ledger import champion
    from monitoring.check import check_day

    live = champion.on_day(platform.db, platform.market, day - timedelta(days=1))
    models, statistics = _champion(platform, live)
    subjects = [_bookings(platform, day, models, statistics)]
    if platform.source.has_opportunities:
        subjects.append(_traffic(platform, day, models))
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
        report=report,
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


def _bookings(platform: Platform, day: date, models: Models | None, statistics: Statistics) -> Subject:
    """The bookings of the day beside those before it, in the columns of the value model."""
    import pandas as pd

    from ml.features.training_set import decision_rows
    from ml.models.value import ValueModel
    from monitoring.subject import Subject

    held = _others_held(platform, day)
    parts = [
        decision_rows(platform.lake, market=platform.market, first=days[0], last=days[-1], exclude_days=held)
        for days in _days_of_use(platform, "bookings", day)
    ]
    rows = pd.concat([part for part in parts if len(part)] or parts[-1:], ignore_index=True)
    # The gain is told of the model's columns, so those are watched: a rate in currency, not the micros it comes from.
    current, reference = _split(ValueModel.context(rows), day)
    # A column that this source never fills cannot go missing; one that it filled until today can.
    filled = {name: found for name, found in statistics.items() if reference[name].notna().any()}
    return Subject.of_model(
        "bookings", current, reference, filled, predict=_predict(models, "value", "p_cancel", "net_value_micros")
    )


def _traffic(platform: Platform, day: date, models: Models | None) -> Subject:
    """The searches of the day beside those before it, our price among our rivals', and what is predicted.

    Every eligible auction counts, won or not: what is shown is our own bids' doing. Columns are counted over all rows
    where they lie; a sample of the same share of every day is scored. The click is predicted for the first place, so
    that a change of our own bids is no shift of the market.
    """
    import pandas as pd

    from ml.evaluation.rows import traffic_share
    from ml.features.tally import ranges
    from ml.features.training_set import opportunity_rows, traffic_tally
    from ml.ledger import partitions
    from monitoring.histograms import of_tally
    from monitoring.subject import Subject, numbers
    from monitoring.windows import WINDOWS

    held = _others_held(platform, day)
    spans = _days_of_use(platform, "opportunities", day)
    share = traffic_share(platform, day, days=WINDOWS.days_of_use, rows=TRAFFIC_SHARE_ROWS)
    parts = [
        opportunity_rows(
            platform.lake,
            as_of=known_by(day),
            first=days[0],
            last=days[-1],
            exclude_days=held,
            share=share,
            eligible=True,
        )
        for days in spans
    ]
    rows = pd.concat([part for part in parts if len(part)] or parts[-1:], ignore_index=True)
    rows = rows.assign(
        relative_price=rows["price_micros"].astype("float64") / rows["rival_price_micros"].astype("float64"),
        position=1,
    )
    current, reference = _split(rows, day)
    counted = traffic_tally(
        platform.lake,
        day=day,
        first=spans[0][0],
        days=[one for days in spans for one in days if one not in held],
        numbers=ranges({name: numbers(rows[name]) for name in TRAFFIC_NUMBERS}),
        labels=TRAFFIC_LABELS,
    )
    landed = partitions.accepted(platform.db, platform.market, "opportunities", first=spans[0][0], last=day)
    return Subject(
        "traffic",
        current,
        reference,
        list(TRAFFIC_NUMBERS),
        list(TRAFFIC_LABELS),
        predict=_predict(models, "click", "p_click"),
        # The rows at hand are a sample; whether the delivery is whole shows in all of it.
        volume={d: rows for d, rows in landed.items() if d not in held},
        tallies={name: of_tally(found) for name, found in counted.items()},
    )


def _days_of_use(platform: Platform, table: str, day: date) -> list[list[date]]:
    """The days of a table that a judgement uses: of last year, if there are any, and of this year up to `day`."""
    from monitoring.windows import WINDOWS

    oldest, newest = WINDOWS.year_of_use
    ages = {one: (day - one).days for one in platform.lake.days(table) if one <= day}
    recent = [one for one, age in ages.items() if age < WINDOWS.days_of_use]
    last_year = [one for one, age in ages.items() if newest <= age <= oldest]
    return [last_year, recent] if last_year else [recent or [day]]


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
    first = max(version.trained_through + timedelta(days=1), day - timedelta(days=MATURED_DAYS))
    last, held = day - timedelta(days=1), _others_held(platform, day)
    bookings = booking_rows(
        platform.lake, market=platform.market, as_of=known_by(day), due=(first, last), exclude_days=held
    )
    due = due_bookings(bookings, first=first, last=last)
    expected = models["value"].predict(due.rows)["net_value_micros"].to_numpy(dtype=float)
    return pd.DataFrame({"day": due.block, "expected_micros": expected, "realised_micros": due.value_micros})
