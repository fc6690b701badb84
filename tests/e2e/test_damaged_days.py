"""A damaged day through the DAGs: stopped or quarantined for the right reason, nothing learned from it, told by mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pendulum
import pytest

from local.mailbox import Mailbox
from local.mailbox_page import mails, read_mail
from local.ports import free_port
from ml.core.clock import SystemClock
from ml.core.settings import load_settings
from ml.platform import Platform

DAY = date(2026, 3, 5)
"""The day after those that the demo lived through."""

Frames = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class World:
    """A market whose next day is delivered as files that a test may damage."""

    platform: Platform
    delivery: Path
    mail: Path

    def file(self, table: str) -> Path:
        return self.delivery / table / f"day={DAY}.parquet"

    def deliver(self, frames: Mapping[str, pd.DataFrame]) -> None:
        for table, frame in frames.items():
            self.file(table).parent.mkdir(parents=True, exist_ok=True)
            frame.to_parquet(self.file(table), index=False)

    def subjects(self) -> list[str]:
        return [str(read_mail(file)["Subject"]) for file in reversed(mails(self.mail))]


@pytest.fixture(scope="module")
def whole_day(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """The delivery of the day as the simulator makes it."""
    from ml.market import open_source

    home = tmp_path_factory.mktemp("simulator")
    return dict(open_source(load_settings(source="simulator", home=home)).fetch(DAY))


@pytest.fixture
def world(
    continued: Callable[[str], Path], whole_day: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    smtp = free_port()
    delivery = tmp_path / "delivery"
    home = continued(f'source = "files"\nmarket = "simulator"\ndata = "{delivery}"\nretrain_every_days = 1\n')
    monkeypatch.setenv("BIDWRIGHT_HOME", str(home))
    monkeypatch.setenv("BIDWRIGHT_SMTP_PORT", str(smtp))
    made = World(Platform(load_settings(home=home), SystemClock()), delivery, tmp_path / "mailbox")
    made.deliver(whole_day)
    with Mailbox(made.mail, smtp_port=smtp, page_port=None):
        yield made


@contextmanager
def keyed(key: str) -> Iterator[None]:
    """`dag.test()` has no argument for a partition key."""
    from airflow.serialization.definitions.dag import SerializedDAG

    original = SerializedDAG.create_dagrun
    values = {"partition_key": key, "partition_date": pendulum.parse(key)}
    with patch.object(SerializedDAG, "create_dagrun", lambda self, **given: original(self, **given | values)):
        yield


def live_through(dagbag: Any, *, last: str = "") -> dict[str, str]:
    """Run the DAGs of the day as their assets wake each other, up to `last`; returns the state of each that ran."""
    states: dict[str, str] = {}
    woken = ["ingest_market"]
    follow = {
        "ingest_market": ["settle_outcomes", "materialize_features"],
        "materialize_features": ["check_drift"],
        "check_drift": ["publish_bids", "train_bid_model"],
    }
    while woken:
        dag_id = woken.pop(0)
        dag = dagbag.get_dag(dag_id)
        # `dag.test()` cannot look up a deadline: see tests/dags/conftest.py.
        with keyed(DAY.isoformat()), patch.object(dag, "deadline", None):
            run = dag.test(logical_date=None)
        states[dag_id] = str(run.state)
        if run.state == "success" and dag_id != last:
            woken += follow.get(dag_id, [])
    return states


def learned(world: World) -> tuple[Any, list[str]]:
    """What a damaged day must not change: the champion, and the versions there are."""
    from ml.ledger import champion, versions

    db, market = world.platform.db, world.platform.market
    return champion.current(db, market), [v.digest for v in versions.newest(db, market, 99)]


def quarantine(world: World) -> pd.DataFrame:
    return world.platform.lake.read("quarantine", DAY)


def test_a_whole_day_goes_through_and_is_learned_from(world: World, dagbag: Any) -> None:
    """The others mean something only if this one trains: with `retrain_every_days = 1` it does."""
    _, before = learned(world)
    assert set(live_through(dagbag).values()) == {"success"}
    _, after = learned(world)
    assert len(after) == len(before) + 1


def test_a_truncated_file_stops_the_day(world: World, dagbag: Any) -> None:
    before = learned(world)
    file = world.file("bookings")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert live_through(dagbag) == {"ingest_market": "failed"}
    assert learned(world) == before
    assert not world.platform.lake.days("bookings")[-1] >= DAY
    [subject] = world.subjects()
    assert DAY.isoformat() in subject


def test_a_renamed_column_stops_the_day_and_is_named(world: World, whole_day: Frames, dagbag: Any) -> None:
    from ml.ledger import stages

    before = learned(world)
    renamed = whole_day["bookings"].rename(columns={"rate_micros": "rate_micro"})
    world.deliver({"bookings": renamed})
    assert live_through(dagbag) == {"ingest_market": "failed"}
    assert learned(world) == before
    record = stages.get(world.platform.db, stages.StageKey("simulator", "ingest", DAY))
    assert record is not None and record.status == "stopped"
    assert record.result["error"] == "SchemaBreak"
    assert "rate_micros" in record.result["reason"]
    assert len(world.subjects()) == 1


def test_prices_a_thousand_times_too_high_stop_the_day(world: World, whole_day: Frames, dagbag: Any) -> None:
    from ml.ledger import stages

    before = learned(world)
    dear = whole_day["bookings"].assign(rate_micros=whole_day["bookings"]["rate_micros"] * 1000)
    world.deliver({"bookings": dear})
    assert live_through(dagbag) == {"ingest_market": "failed"}
    assert learned(world) == before
    record = stages.get(world.platform.db, stages.StageKey("simulator", "ingest", DAY))
    assert record is not None and record.result["error"] == "DayRejected"
    assert "rate_micros" in record.result["reason"]
    assert set(quarantine(world)["reason"]) >= {"range:rate_micros"}
    assert len(world.subjects()) == 1


def test_a_feature_that_is_mostly_empty_holds_the_day(world: World, whole_day: Frames, dagbag: Any) -> None:
    """60 % nulls keep the contract, so the day lands; the completeness guard holds it before anything learns from it."""
    from ml.ledger import publications, stages

    before = learned(world)
    published = publications.latest(world.platform.db, "simulator", "google", before=DAY)
    offers = whole_day["opportunities"].copy()
    offers.loc[offers.index % 5 < 3, "rival_price_micros"] = pd.NA
    world.deliver({"opportunities": offers})
    assert set(live_through(dagbag).values()) == {"success"}
    assert learned(world) == before
    db = world.platform.db
    assert stages.held_days(db, "simulator", last=DAY) == [DAY]
    drift = stages.get(db, stages.StageKey("simulator", "drift", DAY))
    assert drift is not None and drift.status == "held"
    assert any("relative_price is null" in reason for reason in drift.result["reasons"])
    assert publications.for_day(db, "simulator", DAY) == []
    assert publications.latest(db, "simulator", "google", before=date(2026, 3, 5)) == published
    assert len(world.subjects()) == 1


def test_a_file_delivered_twice_changes_nothing_and_is_told(world: World, whole_day: Frames, dagbag: Any) -> None:
    from ml.ledger import partitions

    twice = pd.concat([whole_day["bookings"], whole_day["bookings"]], ignore_index=True)
    world.deliver({"bookings": twice})
    assert live_through(dagbag, last="ingest_market") == {"ingest_market": "success"}
    landed = partitions.current(world.platform.db, "simulator", "bookings", DAY)
    assert landed is not None
    assert (landed.rows_in, landed.accepted) == (len(twice), len(whole_day["bookings"]))
    assert set(landed.reasons) == {"repeated_row"}
    assert sum("twice" in subject for subject in world.subjects()) == 1
