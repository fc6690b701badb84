"""Decisions come from segments into the lake once each, into their own day; what is damaged or lost is named."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml import pipeline
from ml.core.clock import FixedClock
from ml.core.errors import StoreUnavailable
from ml.core.settings import load_settings
from ml.lake.lake import Lake
from ml.lake.local import LocalBlobs
from ml.ledger import incidents
from ml.platform import Platform
from ml.serving.event_log import EventLog, events_folder
from ml.serving.event_log_frames import Event, decode_event, encode_event, record
from ml.serving.event_log_lake import COLLECTED, DAMAGED, SCHEMA, collect, days, decision, decisions
from ml.serving.event_log_recover import LOSSES
from tests.serving.event_log_samples import DAY_US, NOON, Decision, segment

AT = datetime(2026, 3, 7, 1, 30, tzinfo=UTC)
FRIDAY = date(2026, 3, 6)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(LocalBlobs(tmp_path / "lake"), "m")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return events_folder(tmp_path, "m")


def some(count: int, *, first: int = 0, at_us: int = NOON, **other: Any) -> list[Decision]:
    return [Decision(trace_id=f"{first + n:032x}", at_us=at_us + n, **other) for n in range(count)]


def gathered(lake: Lake, folder: Path, *, keep_days: int = 14, at: datetime = AT) -> Any:
    return collect(folder, lake, keep_days=keep_days, at=at)


def test_without_an_event_folder_there_is_nothing_to_do(lake: Lake, folder: Path) -> None:
    assert gathered(lake, folder) is None
    assert days(lake) == []
    assert decisions(lake, FRIDAY).num_rows == 0
    assert decision(lake, folder, "0" * 32) is None


def test_every_decision_is_in_the_lake_as_it_was_logged(lake: Lake, folder: Path) -> None:
    segment(folder / "0.a-000001.log", some(20))
    found = gathered(lake, folder)
    assert (found.segments, found.events, found.days, found.damaged, found.lost) == (1, 20, {"2026-03-06": 20}, [], 0)
    table = decisions(lake, FRIDAY)
    assert table.schema.equals(SCHEMA)
    assert table["trace_id"].to_pylist() == [f"{n:032x}" for n in range(20)]
    assert table["at"].to_pylist()[3] == datetime(2026, 3, 6, 12, 0, 0, 3, tzinfo=UTC)
    want = some(20)[7]
    assert decision(lake, folder, want.trace_id) == decode_event(encode_event(want))


def test_the_same_segment_again_doubles_nothing(lake: Lake, folder: Path) -> None:
    data = segment(folder / "0.a-000001.log", some(20))
    gathered(lake, folder)
    assert gathered(lake, folder).segments == 0
    (folder / "0.a-000001.log").write_bytes(data)
    gathered(lake, folder)
    assert decisions(lake, FRIDAY, columns=["trace_id"]).num_rows == 20


def test_a_collection_that_dies_before_its_end_is_made_good_by_the_next(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment(folder / "0.a-000001.log", [*some(5), *some(5, first=50, at_us=NOON + DAY_US)])
    put, calls = lake.blobs.put, iter(range(9))

    def once(key: str, data: bytes) -> None:
        if next(calls) == 1:
            raise StoreUnavailable("the disk is full")
        put(key, data)

    monkeypatch.setattr(lake.blobs, "put", once)
    with pytest.raises(StoreUnavailable):
        gathered(lake, folder)
    assert (folder / "0.a-000001.log").exists()
    assert gathered(lake, folder).events == 10
    assert [decisions(lake, day).num_rows for day in days(lake)] == [5, 5]


def test_late_events_come_into_their_own_day_beside_what_is_there(lake: Lake, folder: Path) -> None:
    segment(folder / "0.a-000001.log", some(3))
    gathered(lake, folder)
    segment(folder / "1.b-000001.log", [*some(2, first=90, at_us=NOON - 5), *some(1, first=99, at_us=NOON + DAY_US)])
    found = gathered(lake, folder, at=AT + timedelta(days=2))
    assert found.days == {"2026-03-06": 2, "2026-03-07": 1}
    assert decisions(lake, FRIDAY)["trace_id"].to_pylist() == [f"{n:032x}" for n in (90, 91, 0, 1, 2)]


def test_what_is_not_yet_collected_is_found_too_and_the_open_segment_of_a_living_worker_stays(
    lake: Lake, folder: Path
) -> None:
    log = EventLog(folder, market="m", worker="0", sync_s=0.001)
    log.append(some(3))
    while log.counts()["logged"] < 3:
        pass
    assert gathered(lake, folder).segments == 0
    found = decision(lake, folder, f"{2:032x}")
    assert isinstance(found, Event) and found.at_us == NOON + 2
    log.close()
    assert gathered(lake, folder).events == 3
    assert decision(lake, folder, f"{2:032x}") == found
    assert decision(lake, folder, "f" * 32) is None


@pytest.mark.ml_test_score("data5")
def test_segments_are_pruned_some_days_after_they_were_collected(lake: Lake, folder: Path) -> None:
    segment(folder / "0.a-000001.log", some(3))
    gathered(lake, folder)
    assert gathered(lake, folder, keep_days=14, at=AT + timedelta(days=14)).pruned == 0
    assert list((folder / COLLECTED).rglob("*.log"))
    assert gathered(lake, folder, keep_days=14, at=AT + timedelta(days=15)).pruned == 1
    assert not list((folder / COLLECTED).rglob("*.log"))
    assert decisions(lake, FRIDAY).num_rows == 3


def test_a_damaged_record_is_set_aside_with_its_reason_and_the_others_come_into_the_lake(
    lake: Lake, folder: Path
) -> None:
    path = folder / "0.a-000001.log"
    data = bytearray(segment(path, some(4)))
    data[data.index(b"2" + bytes([0xCF]))] ^= 1  # the last digit of the third trace id
    path.write_bytes(data)
    found = gathered(lake, folder)
    assert (found.events, found.lost_damaged, found.lost) == (3, 1, 1)
    assert any("checksum" in sentence for sentence in found.damaged)
    (kept,) = (folder / DAMAGED).iterdir()
    assert kept.read_bytes() in bytes(data)


def test_a_sealed_segment_without_its_end_is_named(lake: Lake, folder: Path) -> None:
    path = folder / "0.a-000001.log"
    path.write_bytes(segment(path, some(4))[:-30])
    found = gathered(lake, folder)
    assert found.events == 4
    assert any("its end is missing" in sentence for sentence in found.damaged)


def killed_worker(folder: Path, *, decided: int, written: int) -> None:
    """What a worker leaves that was killed after so many decisions, of which so many were written."""
    segment(folder / "0.a-000001.open", some(written), sealed=False)
    words = [int.from_bytes(b"BWEVENT1", "little"), decided, 0, written, 0]
    (folder / "0.a.count").write_bytes(b"".join(word.to_bytes(8, "little") for word in words))


def test_what_a_killed_worker_left_is_collected_and_its_loss_written_down(lake: Lake, folder: Path) -> None:
    killed_worker(folder, decided=9, written=7)
    found = gathered(lake, folder)
    assert (found.events, found.lost, found.recovered.lost_unacknowledged) == (7, 2, 2)
    assert '"unacknowledged":2' in (folder / LOSSES).read_text()
    assert gathered(lake, folder).lost == 0


def test_ingest_collects_and_tells_people_of_losses_until_a_day_without(tmp_path: Path) -> None:
    settings = load_settings(source="simulator", home=tmp_path, simulator_opportunities_per_day=400, smtp_port=9)
    platform = Platform(settings, FixedClock(AT))
    platform.db.migrate()
    first = platform.source.first_day()
    assert first is not None
    assert "decisions" not in pipeline.ingest(platform, first)
    killed_worker(events_folder(settings.home, platform.market), decided=9, written=7)
    assert pipeline.ingest(platform, first)["decisions"]["events"] == 7
    assert [one.cause for one in incidents.open_incidents(platform.db, platform.market)] == ["ingest:events"]
    assert decisions(platform.lake, FRIDAY).num_rows == 7
    assert pipeline.ingest(platform, first + timedelta(days=1))["decisions"]["lost"] == 0
    assert incidents.open_incidents(platform.db, platform.market) == []


def test_a_segment_whose_digest_does_not_fit_is_named(lake: Lake, folder: Path) -> None:
    path = folder / "0.a-000001.log"
    whole = [Decision(trace_id=f"{n:032x}") for n in (0, 1)]
    data = segment(path, whole)
    one, two = (record(encode_event(each)) for each in whole)
    path.write_bytes(data.replace(one + two, two + one))
    found = gathered(lake, folder)
    assert found.events == 2
    assert any("another digest" in sentence for sentence in found.damaged)
