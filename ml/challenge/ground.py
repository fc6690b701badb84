"""The markets that planted candidates are tried on: one simulated history, and branches of it.

A ground is a home folder with everything in it: lake, ledger, bundles, published bids. It is made once; every candidate gets a
copy. The champion of all grounds but the young one knows the market's first four weeks, and was crowned before there were gates.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.core.settings import Settings
    from ml.platform import Platform

Say = Callable[[str], None]

SHARED, YOUNG, PRICE_WAR, FIRST_PRICE = "shared", "young", "price_war", "first_price"
GROUNDS: Mapping[str, str] = {
    SHARED: "the market with an old champion that has seen little",
    YOUNG: "the same market without a champion",
    PRICE_WAR: "the same market, whose rivals cut prices and raise bids for six weeks",
    FIRST_PRICE: "the same market, where google charges the bid since a week",
}
"""Every ground by name."""

MARKET = "challenge"

FIRST_DAY = date(2025, 1, 6)
"""The first market day of the simulator."""


@dataclass(frozen=True)
class Size:
    """How large the market is and how long its history.

    Attributes:
        opportunities: auctions a day.
        hotels: hotels.
        days: market days; candidates are trained on the last.
        holdout_days: outcomes of these last days judge them.
        champion_day: number of the day on which the champion was trained, from 1.
        champion_holdout_days: those that it was not to see.
        war_days, first_price_days: days since which the market is another one.
        daily_budget_micros: what all bids of a day may cost.
    """

    opportunities: int = 20_000
    hotels: int = 240
    days: int = 84
    holdout_days: int = 28
    champion_day: int = 42
    champion_holdout_days: int = 14
    war_days: int = 42
    first_price_days: int = 7
    daily_budget_micros: int = 60_000_000

    def last(self, first: date) -> date:
        """The market day of the candidates."""
        return first + timedelta(days=self.days - 1)


class DayClock:
    """A clock that shows two in the morning after the market day."""

    def __init__(self, day: date) -> None:
        self.day = day

    def now(self) -> datetime:
        """The present instant, UTC."""
        return datetime.combine(self.day + timedelta(days=1), time(2), tzinfo=UTC)


@dataclass(frozen=True)
class Field:
    """Where the grounds of one challenge lie, and what they are made of."""

    folder: Path
    seed: int
    size: Size = field(default_factory=Size)

    def home(self, name: str) -> Path:
        """The folder of a ground, or of a candidate's copy of one."""
        return self.folder / name

    def open(self, name: str, *, ground: str, **given: Any) -> tuple[Platform, DayClock]:
        """The platform of a folder. Nothing of the environment's stores is touched: all of them lie in the folder.

        Args:
            name: of the folder.
            ground: whose scenarios its market has.
            given: further settings.
        """
        from ml.platform import Platform

        clock = DayClock(self.size.last(FIRST_DAY))
        return Platform(self._settings(name, ground, given), clock), clock

    def _settings(self, name: str, ground: str, given: Mapping[str, Any]) -> Settings:
        from ml.core.settings import load_settings

        last = self.size.last(FIRST_DAY)
        scenarios = {
            PRICE_WAR: (f"price_war@{last - timedelta(days=self.size.war_days)}",),
            FIRST_PRICE: (f"first_price@{last - timedelta(days=self.size.first_price_days)}",),
        }
        own = {
            "home": self.home(name),
            "source": "simulator",
            "market": MARKET,
            "seed": self.seed,
            "simulator_opportunities_per_day": self.size.opportunities,
            "simulator_hotels": self.size.hotels,
            "simulator_scenarios": scenarios.get(ground, ()),
            "simulator_shock_day": "",
            "holdout_days": self.size.holdout_days,
            "daily_budget_micros": self.size.daily_budget_micros,
            "approval": "never",
            "mail_to": "",
        }
        stores = dict.fromkeys(
            ("data", "database_url", "lake_url", "blobs_url", "mlflow_url", "s3_endpoint", "redis"), ""
        )
        keys = {"production": False, "trusted_keys": (), "signing_key": ""}
        return load_settings(**{**own, **stores, **keys, **given})

    def copy(self, source: str, target: str) -> None:
        """A folder of its own with the same content. Files are shared until one side replaces them; databases are not."""
        shutil.copytree(self.home(source), self.home(target), copy_function=_shared, dirs_exist_ok=False)


def _shared(source: str, target: str) -> None:
    """Stores replace files as a whole; only databases change within one."""
    if Path(source).suffix == ".parquet":
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def make_grounds(field: Field, names: set[str], pool: Executor, say: Say) -> None:
    """Make these grounds, and what they branch off from.

    Args:
        field: where, and of what size.
        names: keys of `GROUNDS`.
        pool: finishes the grounds side by side, once they have branched off.
        say: is told what is being done.
    """
    from ml import pipeline
    from ml.evaluation.tracking import prepare

    size = field.size
    last = size.last(FIRST_DAY)
    field.home(YOUNG).mkdir(parents=True, exist_ok=True)
    platform, clock = field.open(YOUNG, ground=YOUNG)
    platform.db.migrate()
    prepare(platform.settings)
    onsets = {
        PRICE_WAR: last - timedelta(days=size.war_days),
        FIRST_PRICE: last - timedelta(days=size.first_price_days),
    }
    branches = sorted((onset, name) for name, onset in onsets.items() if name in names)
    begin, waiting = FIRST_DAY, []
    trunk = [(last, "")] if names & {SHARED, YOUNG} else []
    for until, name in [*branches, *trunk]:
        clock.day = until - timedelta(days=1)
        say(f"importing {begin} to {clock.day}")
        pipeline.import_history(platform, begin, clock.day)
        begin = until
        if name:
            field.copy(YOUNG, name)
            waiting.append(pool.submit(finish_ground, field, name, begin))
    if SHARED in names:
        field.copy(YOUNG, SHARED)
        waiting.append(pool.submit(finish_ground, field, SHARED, begin))
    if YOUNG in names:
        waiting.append(pool.submit(finish_ground, field, YOUNG, begin))
    for done in as_completed(waiting):
        say(f"made the ground {done.result()}: {GROUNDS[done.result()]}")


def finish_ground(field: Field, name: str, begin: date) -> str:
    """The days from `begin` that a ground still lacks, its champion, and its last day up to the training; its name."""

    last = field.size.last(FIRST_DAY)
    if begin < last:
        _import_rest(field, name, begin, last)
    if name != YOUNG:
        _crown(field, name, FIRST_DAY + timedelta(days=field.size.champion_day - 1))
    _last_day(field, name, last)
    return name


def _import_rest(field: Field, name: str, begin: date, last: date) -> None:
    from ml import pipeline

    platform, clock = field.open(name, ground=name)
    clock.day = last - timedelta(days=1)
    pipeline.import_history(platform, begin, clock.day)


def _crown(field: Field, name: str, day: date) -> None:
    """Train a champion on the little that was known on an early day, and make it live without asking the gates."""
    from ml import pipeline
    from ml.core.digests import Digest
    from ml.core.verdict import Verdict
    from ml.ledger import champion, decisions

    platform, clock = field.open(name, ground=name, holdout_days=field.size.champion_holdout_days)
    clock.day = day
    digest = Digest(pipeline.train(platform, day)["candidate"])
    decision = decisions.Decision(
        market=platform.market,
        day=day,
        candidate=digest,
        champion=None,
        generation=0,
        verdict=Verdict.PASS,
        gates=[],
        policy_digest=Digest("0" * 64),
        approval=None,
    )
    made = decisions.record(platform.db, decision, clock.now())
    champion.move(
        platform.db, platform.market, digest=digest, expected_generation=0, decision_id=made, day=day, at=clock.now()
    )


def _last_day(field: Field, name: str, last: date) -> None:
    """The champion publishes on the day before; then the day itself, up to its training."""
    from ml import pipeline

    platform, clock = field.open(name, ground=name)
    clock.day = last - timedelta(days=1)
    pipeline.publish_bids(platform, clock.day)
    clock.day = last
    pipeline.ingest(platform, last)
    pipeline.settle(platform, last)
    pipeline.materialize(platform, last)
