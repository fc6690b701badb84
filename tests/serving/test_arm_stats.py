"""The counters of the arms: summed over workers, never mixed, readable at any moment."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.core.errors import StoreUnavailable
from ml.serving.arm_stats import BUCKET_TOPS_US, LOG_SCALE, ArmStats, Count, StatsKey, bucket, read_all, sweep
from ml.serving.arms import Arm

KEY = StatsKey(generation=3, rollout=7, analysis=1)
NOW = 1_700_000_000_000_000


def _count(stats: ArmStats, times: int, arm: Arm = Arm.CANARY, *, flags: tuple[Count, ...] = ()) -> None:
    for _ in range(times):
        stats.record(arm, latency_us=700, candidates=20, bids=4, bid_micros=800_000, spend_micros=50, flags=flags)


def test_all_workers_are_summed(tmp_path: Path) -> None:
    for times in (3, 4):
        with ArmStats(tmp_path, KEY, at_us=NOW) as stats:
            _count(stats, times, flags=(Count.ERRORS, Count.FALLBACK))
            _count(stats, 1, Arm.BASELINE)
    found = read_all(tmp_path, KEY, now_us=NOW)
    canary = found.arms[Arm.CANARY]
    assert canary[Count.REQUESTS] == canary[Count.ERRORS] == canary[Count.FALLBACK] == 7
    assert (canary[Count.CANDIDATES], canary[Count.BID_MICROS], canary[Count.SPEND_MICROS]) == (140, 5_600_000, 350)
    assert canary[Count.LOG_BID] == 7 * round(math.log(200_000) * LOG_SCALE)
    assert canary.latency.sum() == canary.latency[bucket(700)] == 7
    assert found.arms[Arm.BASELINE][Count.REQUESTS] == 2
    assert found.arms[Arm.STABLE][Count.REQUESTS] == 0
    assert found.alive == 2


def test_what_a_canary_was_tried_on_is_counted_apart_from_its_requests(tmp_path: Path) -> None:
    with ArmStats(tmp_path, KEY, at_us=NOW) as stats:
        _count(stats, 2)
        for failed in (True, False, False):
            stats.tried(failed=failed)
    found = read_all(tmp_path, KEY, now_us=NOW).arms
    assert [found[Arm.CANARY][name] for name in (Count.REQUESTS, Count.TRIED, Count.TRIED_ERRORS)] == [2, 3, 1]
    assert [found[arm][Count.TRIED] for arm in (Arm.STABLE, Arm.BASELINE)] == [0, 0]


def test_workers_that_count_in_another_folder_are_summed_too(tmp_path: Path) -> None:
    for name in ("memory", "home"):
        with ArmStats(tmp_path / name, KEY, at_us=NOW) as stats:
            _count(stats, 2)
    found = read_all(tmp_path / "home", KEY, now_us=NOW, also=tmp_path / "memory")
    assert (found.arms[Arm.CANARY][Count.REQUESTS], found.alive) == (4, 2)
    assert read_all(tmp_path / "home", KEY, now_us=NOW, also=tmp_path / "none").arms[Arm.CANARY][Count.REQUESTS] == 2


def test_a_request_without_a_bid_counts_as_such_and_not_in_the_means(tmp_path: Path) -> None:
    with ArmStats(tmp_path, KEY, at_us=NOW) as stats:
        stats.record(Arm.CANARY, latency_us=10, candidates=5, bids=0, bid_micros=0)
    canary = read_all(tmp_path, KEY, now_us=NOW).arms[Arm.CANARY]
    assert (canary[Count.NO_BID], canary[Count.WITH_BIDS], canary[Count.LOG_BID]) == (1, 0, 0)


@pytest.mark.parametrize("other", [StatsKey(4, 7, 1), StatsKey(3, 8, 1), StatsKey(3, 7, 2), StatsKey(3)])
def test_another_generation_rollout_or_analysis_starts_from_zero(tmp_path: Path, other: StatsKey) -> None:
    with ArmStats(tmp_path, KEY, at_us=NOW) as stats:
        _count(stats, 5)
    found = read_all(tmp_path, other, now_us=NOW)
    assert found.arms[Arm.CANARY][Count.REQUESTS] == 0
    assert found.workers == ()


def test_what_a_killed_worker_counted_is_kept_and_it_is_stale(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from ml.serving.arm_stats import ArmStats, StatsKey\n"
        f"stats = ArmStats(Path(sys.argv[1]), StatsKey(3, 7, 1), at_us={NOW})\n"
        "for _ in range(9): stats.record(2, latency_us=5, candidates=1, bids=1, bid_micros=1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    with ArmStats(tmp_path, KEY, at_us=NOW) as stats:
        stats.beat(NOW + 60_000_000)
        _count(stats, 1)
        found = read_all(tmp_path, KEY, now_us=NOW + 60_000_000)
    assert found.arms[Arm.CANARY][Count.REQUESTS] == 10
    assert sorted(worker.stale for worker in found.workers) == [False, True]


def test_a_beat_from_the_future_is_stale(tmp_path: Path) -> None:
    with ArmStats(tmp_path, KEY, at_us=NOW + 3_600_000_000):
        assert read_all(tmp_path, KEY, now_us=NOW).alive == 0


def test_no_folder_gives_zeros(tmp_path: Path) -> None:
    found = read_all(tmp_path / "absent", KEY, now_us=NOW)
    assert found.workers == ()
    assert not any(found.arms[arm].counts.any() for arm in Arm)


@pytest.mark.parametrize("damage", [b"", b"\0" * 8, b"\xff" * 4000, b"abc"])
def test_a_damaged_file_is_named_and_counts_nothing(tmp_path: Path, damage: bytes) -> None:
    with ArmStats(tmp_path, KEY, at_us=NOW) as stats:
        _count(stats, 2)
    broken = tmp_path / "arms-3-7-1-broken.i64"
    broken.write_bytes(damage)
    found = read_all(tmp_path, KEY, now_us=NOW)
    assert found.damaged == (broken.name,)
    assert found.arms[Arm.CANARY][Count.REQUESTS] == 2


def test_the_file_of_another_key_under_this_name_counts_nothing(tmp_path: Path) -> None:
    with ArmStats(tmp_path, StatsKey(3, 7, 2), at_us=NOW) as stats:
        _count(stats, 2)
        (tmp_path / "arms-3-7-1-moved.i64").write_bytes(stats.path.read_bytes())
    assert read_all(tmp_path, KEY, now_us=NOW).damaged == ("arms-3-7-1-moved.i64",)


def test_sweep_removes_what_is_past_and_keeps_what_is_not(tmp_path: Path) -> None:
    keys = [StatsKey(2, 9, 9), StatsKey(3, 7, 0), KEY, StatsKey(3, 7, 2), StatsKey(4)]
    made = []
    for key in keys:
        with ArmStats(tmp_path, key, at_us=NOW) as stats:
            made.append(stats.path)
    assert sweep(tmp_path, KEY) == 2
    assert [path.exists() for path in made] == [False, False, True, True, True]


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        ArmStats(tmp_path / "file", KEY, at_us=NOW)


@given(st.integers(0, 1 << 23))
def test_a_latency_lies_within_its_bucket_which_is_an_eighth_wide_at_most(latency: int) -> None:
    place = bucket(latency)
    low = int(BUCKET_TOPS_US[place - 1]) if place else 0
    assert low <= latency < BUCKET_TOPS_US[place]
    assert BUCKET_TOPS_US[place] - low <= max(1, latency / 8)


def test_why_a_worker_cannot_load_the_candidate_is_read_back_shortened_and_taken_back(tmp_path: Path) -> None:
    with ArmStats(tmp_path, KEY, at_us=NOW) as stats:
        _count(stats, 2)

        def said() -> str:
            [worker] = read_all(tmp_path, KEY, now_us=NOW).workers
            return worker.refused

        assert said() == ""
        stats.refuse("not signed")
        assert said() == "not signed"
        stats.refuse("\N{EURO SIGN}" * 1_000)
        assert said().startswith("\N{EURO SIGN}" * 100)
        assert read_all(tmp_path, KEY, now_us=NOW).arms[Arm.CANARY][Count.REQUESTS] == 2
        stats.refuse("")
        assert said() == ""
