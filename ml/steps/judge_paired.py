"""Evidence about a candidate beside the champion: whose data reach how far, rows that came, late bookings, slices, and profit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.units import known_by

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from ml.evaluation.holdout import Holdout
    from ml.ledger.champion import Champion
    from ml.ledger.versions import Version
    from ml.models.protocol import BidModel
    from ml.platform import Platform
    from ml.promotion.evidence import (
        CodeEvidence,
        ComparisonEvidence,
        DelayEvidence,
        FieldEvidence,
        ModelEvidence,
        ProfitEvidence,
        RowCount,
    )

    Floats = npt.NDArray[np.float64]

COUNTED_DAYS = 7
"""Rows of so many days are held against what the same weekdays of `COUNTED_WEEKS` before let expect."""

COUNTED_WEEKS = 4
FEWEST_WEEKS = 2

BACKTEST_DAYS = 14
"""So long ago the completion factors are asked what would still come; 98 % of it has."""

BACKTEST_AGE_DAYS = 3


def comparison(platform: Platform, day: date, version: Version, live: Champion | None) -> ComparisonEvidence:
    """What candidate and champion learned from, and when this champion was last looked at."""
    from ml.ledger import decisions, incidents, versions
    from ml.promotion.evidence import ComparisonEvidence
    from monitoring.causes import retrain_helps

    found = ComparisonEvidence(
        candidate_data_digest=version.data_digest, candidate_trained_through=version.trained_through
    )
    theirs = versions.get(platform.db, platform.market, live.digest) if live else None
    if live is None or theirs is None:
        return found
    standing = incidents.open_on(platform.db, platform.market, day)
    return replace(
        found,
        champion=live.digest,
        champion_data_digest=theirs.data_digest,
        champion_trained_through=theirs.trained_through,
        champion_since=live.since,
        last_look=decisions.last_look(
            platform.db, platform.market, generation=live.generation, day=day, candidate=version.digest
        ),
        incidents=tuple(sorted({one.cause for one in standing if retrain_helps(one.cause)})),
    )


def rejections(platform: Platform, version: Version) -> tuple[str, ...]:
    """What people answered about this very version, as sentences."""
    from ml.ledger import decisions

    refused = decisions.refusals(platform.db, platform.market, version.digest)
    return tuple(
        f"{(one.approval or {}).get('by')} answered {(one.approval or {}).get('answer')!r} to decision {one.id}"
        for one in refused
    )


def code(platform: Platform, meta: Mapping[str, Any]) -> CodeEvidence:
    """The code that the meta data of a bundle name; bundles from before they did have none."""
    from ml.promotion.evidence import CodeEvidence

    found = meta.get("code")
    told = found if isinstance(found, Mapping) else {}
    clean = told.get("clean")
    return CodeEvidence(
        commit=str(told.get("commit") or ""),
        clean=clean if isinstance(clean, bool) else None,
        production=bool(platform.settings.refuses_development_keys),
    )


def row_counts(platform: Platform, day: date) -> tuple[RowCount, ...]:
    """Rows of the last days and the number to expect: auctions where the market has them, else bookings."""
    from ml.ledger import partitions
    from ml.promotion.evidence import RowCount

    table = "opportunities" if platform.source.has_opportunities else "bookings"
    first = day - timedelta(days=COUNTED_DAYS * (COUNTED_WEEKS + 1) - 1)
    accepted = partitions.accepted(platform.db, platform.market, table, first=first, last=day)
    rows, expected, days = 0, 0.0, 0
    for age in range(COUNTED_DAYS):
        now = day - timedelta(days=age)
        before = [accepted.get(now - timedelta(days=7 * week)) for week in range(1, COUNTED_WEEKS + 1)]
        known = [count for count in before if count is not None]
        if now not in accepted or len(known) < FEWEST_WEEKS:
            continue
        days += 1
        rows += accepted[now]
        expected += sum(known) / len(known)
    return (RowCount(table, rows=rows, expected=expected if days else None, days=days),)


def delay_backtest(platform: Platform, day: date, *, exclude_days: list[date]) -> DelayEvidence:
    """Bookings of young clicks as they would have been foretold `BACKTEST_DAYS` ago, over those known by now."""
    import numpy as np

    from ml.features.training_set import click_rows
    from ml.models.conversion import known_share
    from ml.promotion.evidence import DelayEvidence

    then = day - timedelta(days=BACKTEST_DAYS)
    ages = {"first": then - timedelta(days=60), "exclude_days": exclude_days, "views": ()}
    learned = click_rows(platform.lake, as_of=known_by(then), last=then, **ages)  # type: ignore[arg-type]
    last = then - timedelta(days=BACKTEST_AGE_DAYS)
    wanted = {"first": last - timedelta(days=6), "last": last, "exclude_days": exclude_days, "views": ()}
    now = click_rows(platform.lake, as_of=known_by(day), **wanted)  # type: ignore[arg-type]
    bookings = int(now["booked"].sum())
    if learned.empty or not learned["booked"].any() or not bookings:
        return DelayEvidence(applies=True, age_days=BACKTEST_AGE_DAYS, bookings=bookings)
    share = known_share(now, learned_from=learned, as_of=known_by(then))
    at = known_by(then)
    known = now["booked"].to_numpy(dtype=bool) & (now["booking_known_at"] < at).fillna(value=False).to_numpy(dtype=bool)
    foretold = float(np.sum(known / share))
    late = float(np.mean(1 - share))
    return DelayEvidence(
        applies=True,
        age_days=BACKTEST_AGE_DAYS,
        bookings=bookings,
        error=foretold / bookings - 1,
        spread=float(np.sqrt(bookings * late / (1 - late)) / bookings),
    )


def by_field(model: ModelEvidence, due: Holdout, promised: Floats, *, said_label: Floats) -> ModelEvidence:
    """With calibration by field: of net value for a model of values, else of events; and cancellations by lead time.

    Args:
        model: the evidence so far.
        due: whole cohorts of rows.
        promised: what the model promises of each row: net value in micros, or the probability of the label.
        said_label: the probability of the label.
    """
    from ml.evaluation.slices import slice_labels
    from ml.promotion.measure_paired import measure_fields

    labels, hotels = slice_labels(due.rows), due.rows["hotel_id"].to_numpy(dtype=object)
    labels.pop("hotel_size", None)

    def fields(
        predicted: Floats, realised: Floats, events: Floats, names: Mapping[str, Any]
    ) -> tuple[FieldEvidence, ...]:
        return measure_fields(predicted, realised, events, names, due.block, hotels)

    if due.value_micros is None:
        return replace(model, fields=fields(promised, due.label, said_label, labels))
    lead = {"lead_bucket": labels["lead_bucket"]} if "lead_bucket" in labels else {}
    return replace(
        model,
        fields=fields(promised, due.value_micros, 1 - said_label, labels),
        cancelled=fields(said_label, due.label, said_label, lead),
    )


def profit(
    platform: Platform,
    day: date,
    holdouts: Mapping[str, Holdout],
    candidate: Mapping[str, BidModel],
    champion: Mapping[str, BidModel] | None,
) -> ProfitEvidence | None:
    """What the mature clicks of the holdout would have earned at bids by either version's worth; None without a champion.

    Worth is `p_book x price x nights x retained share x take`, as bids are made of it. What a booked click brought is its stay, net of the share
    that bookings of its lead bucket lost, over the share of bookings known by now.
    """
    from ml.bidding.worth import retained_share
    from ml.market.buckets import LEAD_BUCKETS
    from ml.models.scoring import score_bookings, score_traffic
    from ml.promotion.evidence import ProfitEvidence
    from ml.promotion.measure_paired import measure_profit
    from ml.steps.rows import VALUE_DAYS, recent_bookings

    if champion is None:
        return None
    clicks, due = holdouts.get("conversion"), holdouts["value_due"]
    if not platform.source.partners or clicks is None:
        return ProfitEvidence(applies=False)
    rows = clicks.rows
    if rows.empty or due.value_micros is None or not len(due.label):
        return ProfitEvidence(applies=True, clicks=len(rows), bookings=0)
    stay = rows["price_micros"].to_numpy(dtype=float) * rows["los_nights"].to_numpy(dtype=float).clip(min=1.0)
    bookings = recent_bookings(platform, day, days=VALUE_DAYS)

    def worth(models: Mapping[str, BidModel]) -> Floats:
        p_book = score_traffic({"conversion": models["conversion"]}, rows)["p_book"].to_numpy(dtype=float)
        found: Floats = p_book * stay * retained_share(score_bookings(models, bookings), rows)
        return found * platform.settings.take_share

    kept = _kept(due.rows, due.value_micros, rows["lead_bucket"], LEAD_BUCKETS)
    known = clicks.known_share if clicks.known_share is not None else 1.0
    return measure_profit(
        worth(candidate),
        worth(champion),
        clicks.label * stay * kept * platform.settings.take_share / known,
        rows["cpc_micros"].to_numpy(dtype=float, na_value=0.0),
        bookings=int(clicks.label.sum()),
        days=clicks.block,
        hotels=rows["hotel_id"].to_numpy(dtype=object),
    )


def _kept(bookings: pd.DataFrame, net_micros: Floats, wanted: pd.Series[str], buckets: tuple[str, ...]) -> Floats:
    """The share of gross value that bookings of each wanted lead bucket kept; of a bucket without any, that of all."""
    import numpy as np

    gross = bookings["value_micros"].to_numpy(dtype=float, na_value=0.0)
    lead = bookings["lead_bucket"].astype(str).to_numpy()
    whole = float(net_micros.sum() / gross.sum()) if gross.sum() > 0 else 1.0
    share = {
        name: float(net_micros[there].sum() / gross[there].sum())
        for name in buckets
        for there in [lead == name]
        if gross[there].sum() > 0
    }
    return np.array([share.get(str(name), whole) for name in wanted], dtype=np.float64)
