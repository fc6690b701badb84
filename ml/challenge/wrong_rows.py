"""Candidates that learned from wrong rows, or from rows that they must not know."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ml.challenge.planted import Planted, Rows
from ml.core.units import days_between, known_by
from ml.models import candidate

if TYPE_CHECKING:
    import pandas as pd

    from ml.evaluation.holdout import Holdout
    from ml.features.training_set import TrainingSet
    from ml.models.training import Trained
    from ml.platform import Platform


class LeakyFeature(Planted):
    """A column of the history was filled in after the fact.

    The history came from an export that gives each guest's cancellations as of today, the booking's own among them. Days
    that were delivered as they happened do not have it. Planted in the lake: `previous_cancellations` of the bookings.
    """

    def prepare(self, platform: Platform, day: date) -> None:
        """Land the history once more, as such an export would have it."""
        from ml.ledger import partitions

        last = day - timedelta(days=1)
        landed = [one for one in platform.lake.days("bookings") if one <= last]
        events = platform.lake.scan("booking_events", last=last, columns=["booking_id", "kind"]).to_pandas()
        cancelled = set(events["booking_id"][events["kind"] == "cancelled"])
        for each in landed:
            rows = platform.lake.read("bookings", each)
            known = partitions.current(platform.db, platform.market, "bookings", each)
            if known is None or rows.empty:
                continue
            later = rows["booking_id"].isin(cancelled).astype(rows["previous_cancellations"].dtype)
            rows["previous_cancellations"] += later
            entry = partitions.PartitionEntry(
                "bookings",
                platform.lake.write("bookings", each, rows),
                known.rows_in,
                known.accepted,
                known.quarantined,
                known.reasons,
            )
            partitions.land(platform.db, platform.market, each, [entry], platform.clock.now())


class OverCalibrated(Planted):
    """Clicks without a booking were thinned out to train faster, and nothing set the probabilities right again.

    Planted in the rows of the conversion model: two in three of such clicks are left, so that it promises 1.5 times as many
    bookings as come.
    """

    kept: ClassVar[float] = 1 / 1.5

    def rows(self, name: str, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:  # noqa: ARG002
        """All bookings, and a share of the other clicks."""
        if name != "conversion":
            return rows
        drawn = np.random.default_rng(0).random(len(rows)) < self.kept
        return rows[rows["booked"].to_numpy(dtype=bool) | drawn].reset_index(drop=True)


class StaleFeatures(Planted):
    """The features stopped being built thirty days ago; training and bids go on with what is there.

    Planted in the lake and the watermarks: no feature rows of the last thirty days.
    """

    stopped_days: ClassVar[int] = 30

    def prepare(self, platform: Platform, day: date) -> None:
        """Take the feature rows of these days away, and set the watermarks to the last day that has some."""
        from ml.features.definitions import views_for

        last = day - timedelta(days=self.stopped_days)
        for view in views_for(platform.source.tables):
            for each in days_between(last + timedelta(days=1), day):
                platform.lake.delete(f"features_{view}", each)
        # Past the ledger, which lets no watermark move back: here it never moved that far.
        with closing(sqlite3.connect(platform.settings.home / "bidwright.db")) as db, db:
            db.execute("UPDATE watermarks SET day = ? WHERE market = ?", (last.isoformat(), platform.market))


class NonMonotone(Planted):
    """The dearest bookings are booked anew when they change, and the old ones are recorded as cancelled.

    The model learns that much money cancels, and values a dear booking below a cheaper one. Planted in the rows of the value
    model: nine in ten of the dearest fifth that ended count as cancelled.
    """

    dearest: ClassVar[float] = 0.8
    rebooked: ClassVar[float] = 0.9

    def rows(self, name: str, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:  # noqa: ARG002
        """The dearest bookings with the wrong outcome."""
        if name != "value":
            return rows
        dear = rows["value_micros"] >= rows["value_micros"].quantile(self.dearest)
        drawn = np.random.default_rng(0).random(len(rows)) < self.rebooked
        wrong = dear & (rows["outcome"] == "stayed") & drawn
        return rows.assign(
            outcome=rows["outcome"].mask(wrong, "cancelled"), net_value_micros=rows["net_value_micros"].mask(wrong, 0)
        )


class TrackingOutage(Planted):
    """No click was credited with its booking for two weeks, nobody held these days, and the model learned from them.

    Planted in the rows of the conversion model: the bookings of the last fourteen days of training are missing.
    """

    lost_days: ClassVar[int] = 14

    def rows(self, name: str, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
        """No booking of a click of these days."""
        if name != "conversion":
            return rows
        lost = rows["ts"] >= as_of - timedelta(days=self.lost_days)
        return rows.assign(
            booked=rows["booked"] & ~lost,
            booking_known_at=rows["booking_known_at"].mask(lost),
            booking_value_micros=rows["booking_value_micros"].mask(lost),
        )


class RandomSplit(Planted):
    """All rows that are there were split at random, so that the model learned from the very days it is judged on.

    The most flexible model wins such a split: it knows the days by heart. Planted in the reading and the fit: what became known
    up to the day of training is learned from, by trees with far more leaves, and the split says that they serve.
    """

    trained_share: ClassVar[float] = 0.8

    def read(self, platform: Platform, as_of: datetime, exclude_days: Sequence[date]) -> dict[str, TrainingSet]:
        """A random share of what is known by now, whatever `as_of` says."""
        through = as_of.date() - timedelta(days=1) + timedelta(days=platform.settings.holdout_days)
        sets = candidate.read_sets(platform, known_by(through), exclude_days)
        return {name: replace(made, rows=self._drawn(made.rows)) for name, made in sets.items()}

    def fit(self, rows: Rows, as_of: datetime, seed: int) -> Trained:  # noqa: ARG002
        """Large trees, on everything."""
        from ml.challenge.other_recipes import fit_with_trees

        newest = max(frame["known_at"].max() for frame in rows.values())
        now = datetime.combine(newest.date() + timedelta(days=1), time(), tzinfo=UTC)
        return fit_with_trees(rows, now, seed, {"num_leaves": 127, "rounds": 200, "min_rows_in_leaf": 5, "l2": 0.0})

    def serves(self, trained: Trained, judged: Mapping[str, Holdout], seed: int) -> dict[str, str]:  # noqa: ARG002
        """The trees: the random split says that they are better."""
        return {name: name for name in trained.models}

    def _drawn(self, rows: pd.DataFrame) -> pd.DataFrame:
        drawn = np.random.default_rng(0).random(len(rows)) < self.trained_share
        return rows[drawn].reset_index(drop=True)


class CancellationsIgnored(Planted):
    """Bookings were joined to their stays alone, so that hardly any counts as cancelled.

    Planted in the rows of the value model: of the cancelled bookings nineteen in twenty count as stayed, at full value.
    """

    seen: ClassVar[float] = 0.05

    def rows(self, name: str, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:  # noqa: ARG002
        """Cancellations turned into stays."""
        if name != "value":
            return rows
        drawn = np.random.default_rng(0).random(len(rows)) >= self.seen
        wrong = (rows["outcome"] == "cancelled") & drawn
        net = rows["net_value_micros"].mask(wrong, rows["value_micros"].astype("Int64"))
        return rows.assign(outcome=rows["outcome"].mask(wrong, "stayed"), net_value_micros=net)


class RawRatioHotels(Planted):
    """Each hotel's own bookings over what is expected of it multiply its probability; nothing pulls few bookings back.

    Planted in the fitted conversion models: the multipliers of the hotels are raw ratios.
    """

    def fit(self, rows: Rows, as_of: datetime, seed: int) -> Trained:
        """The usual models, with such multipliers."""
        from ml.challenge.other_recipes import with_raw_ratios

        return with_raw_ratios(candidate.fit_models(rows, as_of, seed), rows, as_of)
