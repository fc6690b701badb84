"""R13: rows that are known late, and days that are delivered late, in any order."""

from __future__ import annotations

import math
import random
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from ml.core.settings import Settings
from ml.core.units import day_start
from ml.features.build import market_views
from ml.features.definitions import FEATURE_VIEWS
from ml.features.materialize import materialize_day, materialize_history
from ml.features.store import FeatureStore
from ml.features.training_set import decision_rows, outcome_events, with_outcomes
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.ledger.database import Database
from ml.market.ingest import ingest_range
from ml.market.quarantine import QUARANTINE
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.late_market import DAYS, FIRST, MISPLACED, Market, Oracle, entity_of
from tests.faults.campaign.rows_existing import tests

_AT = datetime(2030, 1, 1, tzinfo=UTC)
_VIEWS = [FEATURE_VIEWS[name] for name in ("agent_history", "segment_history")]
_KIND = "rows 1 h to 30 d late, 1 to 3 days 1 to 40 days late"
_CASES = {False: 3, True: 100}

LATE = tests(
    "features/test_training_set.py::test_no_planted_row_reached_a_decision_before_it_was_known",
    "features/test_training_set.py::test_features_are_the_newest_that_were_known_in_both_clocks",
    "features/test_training_set.py::test_a_correction_is_used_once_it_is_known",
    "features/test_materialize.py::test_a_day_that_comes_late_is_known_from_the_watermark_on_and_does_not_set_the_store_back",
    "features/online/test_contract.py::test_an_older_row_written_later_changes_nothing",
    "market/test_ingest.py::test_a_late_cancellation_never_reaches_yesterdays_partition",
    "market/test_ingest.py::test_a_late_cancellation_delivered_under_an_old_day_is_quarantined",
    proof="planted rows were found later than they happened",
)


class House:
    """The platform's own steps of a market, in a folder of their own."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        self.settings = Settings(home=home / "home", market="m", lake_url=str(home / "lake"))
        self.settings.home.mkdir()
        self.lake = Lake(open_blobs(str(home / "lake"), cache=home / "cache"), "m")
        self.db = Database.open(self.settings.database)
        self.db.migrate()

    def close(self) -> None:
        """Let go of the ledger."""
        self.db.close()

    def take(self, market: Market, days: list[date], trial: Trial | None = None) -> None:
        """These days are delivered: landed and materialised."""
        for landing in ingest_range(market, self.lake, self.db, market="m", days=days, at=_AT, progress=None):
            if trial is None:
                continue
            reasons = {name: count for table in landing.tables.values() for name, count in table.reasons.items()}
            trial.expect(f"{landing.day}: rows went missing", landing.accepted + landing.quarantined == landing.rows_in)
            trial.expect(
                f"{landing.day}: {reasons} in quarantine",
                landing.quarantined == market.misplaced[landing.day] and set(reasons) <= {MISPLACED},
            )
        if len(days) == 1:
            materialize_day(self.lake, self.db, self.settings, market="m", day=days[0], at=_AT)
        else:
            materialize_history(self.lake, self.db, self.settings, market="m", first=days[0], last=days[-1], at=_AT)


def late(ask: Ask, tally: Tally) -> None:
    """R13: what tests show of planted rows, and markets drawn whole."""
    LATE(ask, tally)
    first = ask.before.get(_KIND, 0)
    numbers = range(first, first + ask.repeats * _CASES[ask.full])
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        coming = [pool.submit(lived, number, ask.folder / f"late{number}") for number in numbers]
        try:
            for one in coming:
                with tally.trial(_KIND) as trial:
                    found, totals = one.result()
                    trial.proofs, trial.wrong = found.proofs, found.wrong
                    tally.totals.update(totals)
        finally:
            pool.shutdown(cancel_futures=True)


def lived(number: int, home: Path) -> tuple[Trial, Counter[str]]:
    """One market, which its number draws, in an empty folder that is gone afterwards; what was counted in it."""
    rng = random.Random(number)  # noqa: S311  (a market)
    market, trial = Market.drawn(rng), Trial(_KIND)
    in_order = [day for days in market.arrivals for day in days] == list(market.rows)
    trial.proof("a day came after later ones", not in_order)
    trial.proof("rows were known an hour or more after they happened", market.late_rows)
    try:
        _case(home, market, rng, trial)
    except Exception as error:  # noqa: BLE001  (whatever breaks is a miss of this repetition)
        trial.wrong.append(f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    trial.wrong = [f"market {number}: {what}" for what in trial.wrong]
    totals = {
        "rows known an hour or more after they happened": market.late_rows,
        "rows under another day than they were known on, all of them in quarantine": sum(market.misplaced.values()),
        "days that came late": len(market.waits),
    }
    return trial, Counter(totals)


def _case(home: Path, market: Market, rng: random.Random, trial: Trial) -> None:
    oracle = Oracle()
    with closing(House(home / "late")) as house, closing(House(home / "in order")) as other:
        for days in market.arrivals:
            house.take(market, days, trial)
            oracle.come(market, days)
        other.take(market, list(market.rows))
        _knew_what_was_known(house, oracle, rng, trial)
        _ends_as_in_order(house, other, trial)


def _knew_what_was_known(house: House, oracle: Oracle, rng: random.Random, trial: Trial) -> None:
    """Each decision has the features that were there for it, and outcomes are those that were known."""
    last = FIRST + timedelta(days=DAYS - 1)
    rows = decision_rows(house.lake, market="m", last=last)
    trial.expect("no decisions", len(rows))
    for row in rows.to_dict("records"):
        for view in _VIEWS:
            expected = oracle.at(view, entity_of(view, row), row["decision_at"].date())
            for name in (name for name in view.feature_names if "cancel_ratio" not in name):
                found, wanted = float(row[name]), expected.get(name, math.nan)
                # Money is rounded to whole micros.
                same = (math.isnan(found) and math.isnan(wanted)) or abs(found - wanted) <= max(
                    0.51 * ("micros" in name), 1e-9
                )
                trial.expect(f"{row['booking_id']} was decided with {name} {found}, not {wanted}", same)
    events = outcome_events(house.lake, market="m", last=last)
    as_of = day_start(FIRST) + timedelta(minutes=rng.randrange(DAYS * 24 * 60))
    for row in with_outcomes(rows, events, as_of=as_of).to_dict("records"):
        outcome, known = oracle.outcome(row["booking_id"], as_of)
        at = None if pd.isna(row["outcome_known_at"]) else row["outcome_known_at"]
        trial.expect(
            f"{row['booking_id']} is {row['outcome']} as of {as_of}, not {outcome}",
            (row["outcome"], at) == (outcome, known),
        )


def _ends_as_in_order(house: House, other: House, trial: Trial) -> None:
    """The day after the last late one is as if none had been late, and so is what is served."""
    last = FIRST + timedelta(days=DAYS - 1)
    stores = [FeatureStore.open(one.settings, one.lake) for one in (house, other)]
    for name, view in market_views(house.lake).items():
        mine, theirs = (one.lake.read(view.table, last) for one in (house, other))
        trial.expect(f"{name} of the last day differs", mine.equals(theirs))
        served = [store.read_online(name, theirs[list(view.entity)]) for store in stores]
        trial.expect(f"{name} is served otherwise", served[0].equals(served[1]))
        values = theirs[list(view.feature_names)].astype("float64").to_numpy()
        trial.expect(
            f"{name} is not served as it was built",
            np.array_equal(served[0][list(view.feature_names)].to_numpy(), values, equal_nan=True),
        )
    quarantined = [
        sum(len(one.lake.read(QUARANTINE, day)) for day in one.lake.days(QUARANTINE)) for one in (house, other)
    ]
    trial.expect(f"in quarantine are {quarantined}", quarantined[0] == quarantined[1])


ROWS = {
    "R13": Row(
        "Late and out-of-order data",
        "rows, corrections and outcomes that become known days after they happened; days that are delivered weeks after their turn",
        "training sees what was known in both clocks; the next day and the store are as if nothing had been late; what is delivered under another day is quarantined and counted",
        "500 cases",
        late,
        short=1,
        full=5,
    ),
}
