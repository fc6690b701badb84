"""A decision counts as logged once it is on the disk; whatever is lost, by a kill or by a full disk, is counted exactly."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.serving.event_log import COUNT, OPEN, SEALED, Disk, EventLog
from ml.serving.event_log_frames import Scan, decode_event, encode_event, footer, header, record, scan
from ml.serving.event_log_recover import recover
from tests.serving.event_log_samples import Decision

LIVES = 72
ROOT = Path(__file__).resolve().parents[2]


def decisions(count: int, *, first: int = 0, size: int = 0) -> list[Decision]:
    return [Decision(trace_id=f"{first + number:032x}", body=b"b" * size) for number in range(count)]


def ids(one: Scan) -> list[int]:
    return [int(decode_event(payload).trace_id, 16) for _, payload in one.records]


def segments(folder: Path, end: str = SEALED) -> list[Path]:
    return sorted(folder.glob(f"*{end}"))


def logged(folder: Path) -> list[int]:
    return [number for path in segments(folder) for number in ids(scan(path.read_bytes()))]


class Gate(Disk):
    """A disk that waits until it is let through, and fails with an error while it has one."""

    def __init__(self) -> None:
        self.open, self.error, self.at = threading.Event(), 0, ""
        self.tried = threading.Semaphore(0)
        self.open.set()

    def _pass(self, at: str) -> None:
        self.open.wait()
        self.tried.release()
        if self.error and self.at in {"", at}:
            raise OSError(self.error, os.strerror(self.error))

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        self._pass("write")
        return super().write(handle, data, offset)

    def sync(self, handle: int) -> None:
        self._pass("sync")
        super().sync(handle)


@pytest.fixture
def open_log(tmp_path: Path) -> Callable[..., EventLog]:
    def opened(folder: Path = tmp_path, **settings: object) -> EventLog:
        return EventLog(folder, market="m", worker="0", sync_s=0.001, **settings)  # type: ignore[arg-type]

    return opened


def test_what_was_decided_is_read_back_bit_for_bit() -> None:
    want = Decision()
    found = decode_event(encode_event(want))
    for name in (
        "trace_id",
        "at_us",
        "body",
        "digest",
        "plan",
        "generation",
        "arm",
        "arm_name",
        "share",
        "step",
        "pacing",
        "shadow",
    ):
        assert getattr(found, name) == getattr(want, name)
    for name in ("bid_micros", "score", "reasons", "missing", "features"):
        assert getattr(found, name) == getattr(want.scored, name)
    assert [one.hex() for one in found.score] == [one.hex() for one in want.scored.score]


def test_a_closed_log_holds_every_decision_in_order_and_leaves_nothing_to_recover(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    log = open_log()
    for start in range(0, 500, 5):
        log.append(decisions(5, first=start))
    log.close()
    log.close()
    assert logged(tmp_path) == list(range(500))
    assert log.counts() == {"taken": 500, "logged": 500, "lost": 0}
    assert not segments(tmp_path, OPEN) and not segments(tmp_path, COUNT)
    assert recover(tmp_path).as_json() == dict.fromkeys(recover(tmp_path).as_json(), 0)


def test_a_full_segment_is_sealed_with_the_digest_of_its_bytes(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    log = open_log(segment_bytes=3000)
    for start in range(40):
        log.append(decisions(1, first=start, size=1000))
        while log.counts()["logged"] <= start:
            pass
    log.close()
    found = [scan(path.read_bytes()) for path in segments(tmp_path)]
    assert len(found) > 5
    for one in found:
        assert one.footer is not None and one.header is not None and not one.gaps
        assert (one.footer.sha256, one.footer.records) == (one.sha256, len(one.records))
    assert [one.header.first for one in found if one.header] == [
        sum(len(b.records) for b in found[:n]) for n in range(len(found))
    ]


def test_an_old_segment_is_sealed_although_nothing_more_comes(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    log = open_log(segment_s=0.0)
    log.append(decisions(3))
    while not segments(tmp_path):
        pass
    assert logged(tmp_path) == [0, 1, 2]
    log.close()


def test_without_a_decision_there_is_no_segment(tmp_path: Path, open_log: Callable[..., EventLog]) -> None:
    open_log().close()
    assert list(tmp_path.iterdir()) == []


def test_a_decision_counts_as_logged_only_after_the_sync(open_log: Callable[..., EventLog]) -> None:
    disk = Gate()
    disk.open.clear()
    log = open_log(disk=disk)
    log.append(decisions(4))
    assert log.counts() == {"taken": 4, "logged": 0, "lost": 0}
    disk.open.set()
    log.close()
    assert log.counts() == {"taken": 4, "logged": 4, "lost": 0}


def test_where_the_disk_cannot_keep_up_memory_is_bounded_and_the_rest_counted_as_lost(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    disk = Gate()
    disk.open.clear()
    log = open_log(disk=disk, memory_bytes=100_000)
    for start in range(0, 1000, 10):
        log.append(decisions(10, first=start, size=1000))
    counts = log.counts()
    assert counts["taken"] == 1000
    assert counts["lost"] > 900
    assert dict(log.lost()) == {"behind": counts["lost"]}
    disk.open.set()
    log.close()
    assert len(logged(tmp_path)) == 1000 - counts["lost"] == log.counts()["logged"]
    assert recover(tmp_path).lost_counted == counts["lost"]
    assert recover(tmp_path).lost_counted == 0


@pytest.mark.parametrize(("error", "reason"), [(errno.ENOSPC, "disk full"), (errno.EIO, "disk")])
def test_a_disk_that_fails_for_a_while_loses_nothing_that_fits_into_memory(
    tmp_path: Path, open_log: Callable[..., EventLog], error: int, reason: str
) -> None:
    disk = Gate()
    log = open_log(disk=disk)
    log.append(decisions(10))
    while log.counts()["logged"] < 10:
        pass
    disk.error = error
    log.append(decisions(10, first=10))
    while not log.trouble:
        pass
    assert (log.trouble, log.counts()["logged"]) == (reason, 10)
    disk.error = 0
    log.close()
    assert logged(tmp_path) == list(range(20))
    assert log.counts() == {"taken": 20, "logged": 20, "lost": 0}


def test_a_disk_that_stays_full_stops_nothing_and_its_losses_are_named(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    disk = Gate()
    disk.error = errno.ENOSPC
    log = open_log(disk=disk)
    log.append(decisions(7))
    log.close()
    assert log.counts() == {"taken": 7, "logged": 0, "lost": 7}
    assert dict(log.lost()) == {"disk full": 7}
    found = recover(tmp_path)
    assert (found.lost_counted, found.lost_unacknowledged) == (7, 0)


FULL = """
import json, resource, sys
from pathlib import Path
from tests.serving.event_log_samples import Decision
from ml.serving.event_log import EventLog
log = EventLog(Path(sys.argv[1]), market="m", worker="0", sync_s=0.001, memory_bytes=200_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for number in range(1000):
    log.append([Decision(trace_id=f"{number:032x}", body=b"b" * 900)])
log.close()
print(json.dumps([dict(log.counts()), dict(log.lost())]))
"""


def test_a_write_that_the_kernel_cuts_short_spoils_nothing_and_the_rest_is_counted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, check=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    counts, lost = json.loads(done.stdout)
    assert counts["taken"] == 1000 == counts["logged"] + counts["lost"]
    assert counts["lost"] == sum(lost.values()) > 0
    found = recover(tmp_path)
    kept = logged(tmp_path)
    assert kept[: counts["logged"]] == list(range(counts["logged"]))
    # Records that were written and could not be synced with their whole group are there all the same.
    assert len(kept) >= counts["logged"]
    assert (found.lost_counted, found.lost_unacknowledged, found.damaged_bytes) == (counts["lost"], 0, 0)


def test_records_whose_sync_failed_are_written_again_and_come_once(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    disk = Gate()
    log = open_log(disk=disk)
    log.append(decisions(10))
    while log.counts()["logged"] < 10:
        pass
    disk.at, disk.error = "sync", errno.EIO
    log.append(decisions(10, first=10))
    while not log.trouble:
        pass
    disk.error = 0
    log.close()
    assert log.counts() == {"taken": 20, "logged": 20, "lost": 0}
    assert recover(tmp_path).lost_unacknowledged == 0
    assert sorted(logged(tmp_path)) == list(range(20))


def test_what_cannot_be_encoded_is_counted_and_its_neighbours_are_logged(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    log = open_log()
    good, bad = decisions(2), Decision(body=object())  # type: ignore[arg-type]
    log.append([good[0], bad, good[1]])
    log.close()
    assert dict(log.lost()) == {"not encodable": 1}
    assert logged(tmp_path) == [0, 1]


def test_after_close_decisions_are_lost_and_said_so(open_log: Callable[..., EventLog]) -> None:
    log = open_log()
    log.close()
    log.append(decisions(2))
    assert dict(log.lost()) == {"closed": 2}


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        EventLog(tmp_path / "file", market="m", worker="0")


def test_recovery_leaves_a_worker_alone_that_lives(tmp_path: Path, open_log: Callable[..., EventLog]) -> None:
    log = open_log()
    log.append(decisions(3))
    while log.counts()["logged"] < 3:
        pass
    assert recover(tmp_path).workers == 0
    assert segments(tmp_path, OPEN) and not segments(tmp_path)
    log.append(decisions(3, first=3))
    log.close()
    assert logged(tmp_path) == list(range(6))


def test_a_folder_that_is_not_there_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(tmp_path / "none").segments == 0


@pytest.mark.parametrize("counted", ["beside the segments", "in memory"])
def test_seventy_kills_lose_no_durable_decision_and_each_loss_is_counted_exactly(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, counted: str
) -> None:
    child = Path(__file__).with_name("event_log_child.py")
    memory = tmp_path_factory.mktemp("memory") if counted == "in memory" else None
    done = subprocess.run(
        [sys.executable, str(child), str(tmp_path), str(LIVES), *([str(memory)] if memory else [])],
        capture_output=True, check=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lives) == LIVES and {life["signal"] for life in lives} == {9}
    lost = {}
    for life in lives:
        own = [path for path in tmp_path.iterdir() if path.name.startswith(f"{life['life']}.")]
        (count,) = [path for path in own if path.suffix == COUNT]
        decided = int.from_bytes((memory / count.name if memory else count).read_bytes()[8:16], "little")
        # The last batch may have been told to the parent and not been counted yet, never the other way round.
        assert life["answered"] - 8 <= decided <= life["answered"]
        alone = tmp_path / f"life{life['life']}"
        alone.mkdir()
        for path in own:
            path.rename(alone / path.name)
        found = recover(alone, memory)
        kept = logged(alone)
        prefix = f"{life['life']:08x}"
        numbers = [number - (int(prefix, 16) << 96) for number in kept]
        assert numbers == list(range(len(kept)))  # a beginning of what was decided, nothing twice, nothing between
        assert len(kept) >= life["durable"]
        assert found.lost_unacknowledged == decided - len(kept)
        assert (found.lost_counted, found.lost_damaged, found.damaged_bytes) == (0, 0, 0)
        assert not segments(alone, OPEN) and not segments(alone, COUNT)
        assert all(not scan(path.read_bytes()).gaps for path in segments(alone))
        assert recover(alone).lost_unacknowledged == 0
        lost[life["life"]] = found
    assert memory is None or not list(memory.iterdir())
    assert any(one.torn_bytes for one in lost.values())
    assert any(one.lost_unacknowledged for one in lost.values())


def test_counters_in_memory_are_copied_with_each_commit_and_the_copy_counts_where_they_are_gone(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    disk, folder, memory = Gate(), tmp_path / "log", tmp_path / "memory"
    log = open_log(folder, disk=disk, memory=memory)
    log.append(decisions(5))
    while log.counts()["logged"] < 5:
        pass
    disk.open.clear()
    log.append(decisions(3, first=5))
    [count], [live] = segments(folder, COUNT), segments(memory, COUNT)
    assert [path.read_bytes()[8:16] for path in (count, live)] == [number.to_bytes(8, "little") for number in (5, 8)]
    left = tmp_path / "after a loss of power"
    left.mkdir()
    for path in folder.iterdir():
        (left / path.name).write_bytes(path.read_bytes())
    assert recover(left, tmp_path / "nothing").lost_unacknowledged == 0
    assert logged(left) == list(range(5))
    disk.open.set()
    log.close()
    assert not segments(memory, COUNT)


def test_a_folder_in_memory_that_cannot_be_written_is_no_reason_to_log_nothing(
    tmp_path: Path, open_log: Callable[..., EventLog]
) -> None:
    (tmp_path / "file").write_text("")
    log = open_log(memory=tmp_path / "file")
    log.append(decisions(4))
    log.close()
    assert log.counts() == {"taken": 4, "logged": 4, "lost": 0}


def whole(count: int = 8) -> tuple[bytes, list[bytes]]:
    pieces = [header("m", "0.x", 1, 0), *(record(encode_event(one)) for one in decisions(count, size=40))]
    return b"".join(pieces), pieces


def test_a_tail_cut_anywhere_costs_no_record_that_is_whole() -> None:
    data, pieces = whole(3)
    ends = [sum(len(piece) for piece in pieces[: number + 1]) for number in range(len(pieces))]
    for cut in range(len(data)):
        found = scan(data[:cut])
        count = sum(end <= cut for end in ends[1:])
        assert ids(found) == list(range(count))
        assert found.torn_bytes == cut - max((end for end in ends if end <= cut), default=0)
        assert found.damaged_bytes == 0


def test_a_flipped_byte_costs_its_own_record_and_is_named() -> None:
    data, pieces = whole(4)
    begins = [sum(len(piece) for piece in pieces[:number]) for number in range(len(pieces) + 1)]
    for at in range(len(data)):
        found = scan(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        hit = max(number for number, begin in enumerate(begins) if begin <= at)
        assert ids(found) == [number for number in range(4) if number != hit - 1]
        (gap,) = found.gaps
        assert (gap.offset, gap.length) == (begins[hit], len(pieces[hit]))
        assert gap.reason


def test_a_record_that_the_footer_counts_and_that_is_gone_is_missed() -> None:
    data, pieces = whole(3)
    sealed = data + footer(3, b"x" * 32)
    assert scan(sealed).missing == 0
    assert scan(sealed.replace(pieces[2], b"")).missing == 1


def test_recovery_keeps_what_follows_a_damaged_record_and_counts_it(tmp_path: Path) -> None:
    data, pieces = whole(5)
    spoiled = bytearray(data)
    spoiled[len(pieces[0]) + len(pieces[1]) + 30] ^= 1
    (tmp_path / f"0.x-000001{OPEN}").write_bytes(spoiled + b"\xb1\xd3")
    words = [int.from_bytes(b"BWEVENT1", "little"), 6, 0, 5, 0]
    (tmp_path / f"0.x{COUNT}").write_bytes(b"".join(word.to_bytes(8, "little") for word in words))
    found = recover(tmp_path)
    assert (found.segments, found.events, found.torn_bytes) == (1, 4, 2)
    assert found.damaged_bytes == len(pieces[2])
    assert (found.lost_damaged, found.lost_unacknowledged) == (1, 1)
    assert logged(tmp_path) == [0, 2, 3, 4]
    (one,) = [scan(path.read_bytes()) for path in segments(tmp_path)]
    assert Counter(gap.reason for gap in one.gaps) == {"length and checksum do not fit": 1}


def test_a_recovery_that_died_itself_counts_the_same_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = whole(5)
    (tmp_path / f"0.x-000001{OPEN}").write_bytes(data)
    words = [int.from_bytes(b"BWEVENT1", "little"), 9, 1, 2, 0]
    (tmp_path / f"0.x{COUNT}").write_bytes(b"".join(word.to_bytes(8, "little") for word in words))
    calls = iter(range(9))

    def once(folder: Path) -> None:
        if next(calls) == 0:
            raise OSError(errno.EIO, "died")

    monkeypatch.setattr("ml.serving.event_log_recover.sync_folder", once)
    with pytest.raises(StoreUnavailable, match="cannot be recovered"):
        recover(tmp_path)
    assert segments(tmp_path) and segments(tmp_path, COUNT)
    assert recover(tmp_path).lost_unacknowledged == 9 - 1 - 5


def test_a_payload_that_is_no_event_is_named() -> None:
    with pytest.raises(CorruptArtefact, match="cannot be read"):
        decode_event(b"\x93\x01\x02\x03")
