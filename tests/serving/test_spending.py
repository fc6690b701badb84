"""What a worker spends is counted through every change, and it goes no further than it may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ml.bidding.day_budget import QUARTERS, DayBudget, day_budget
from ml.serving.joints import Step
from ml.serving.messages import Scored
from ml.serving.spend_files import SpendFiles
from ml.serving.spending import DAY_US, LOCKED_AT, RESERVE, SLOTS, Spending, first_allowance

NOON = 20_000 * DAY_US + DAY_US // 2
BUDGET = 6_400_000_000
FIRST = first_allowance(BUDGET)


def even(micros: int = BUDGET) -> DayBudget:
    return day_budget(micros, [0] * QUARTERS)


def spend(worker: Spending, micros: int, partner: str = "google", *, step: Step = Step.MODEL) -> None:
    worker.add(partner, Scored([10 * micros], [float(micros)], [0]), 0 if step is Step.TABLE else micros, step)


@pytest.fixture
def worker(tmp_path: Path) -> Spending:
    made = Spending(tmp_path)
    made.follow({"google": even()}, NOON)
    return made


def counted(folder: Path) -> dict[str, int]:
    files = SpendFiles([folder])
    assert files.look() == ""
    return {name: one.spent for file in files.open for name, one in file.partners().items()}


def test_without_figures_or_without_a_pacemaker_every_multiplier_is_one_and_it_is_said_why(tmp_path: Path) -> None:
    nobody, nothing = Spending(None, why_not="serve_pacing is off"), Spending(tmp_path)
    nothing.follow({}, NOON)
    for one in (nobody, nothing):
        one.turn(NOON)
        spend(one, BUDGET)
        assert (one.of("google"), one.partners) == (1.0, ())
    assert nobody.state()["why_not"] == "serve_pacing is off"
    assert "no budget" in nothing.state()["why_not"]
    assert [*tmp_path.iterdir()] == []


def test_a_partner_that_the_plan_does_not_name_is_not_paced(worker: Spending) -> None:
    spend(worker, 2 * FIRST)
    assert (worker.of("google"), worker.of("trivago"), worker.of("")) == (0.0, 1.0, 1.0)


def test_before_it_heard_of_the_pacemaker_a_worker_spends_its_first_allowance_and_no_more(worker: Spending) -> None:
    assert worker.of("google") == 1.0
    spend(worker, FIRST - 1)
    assert worker.of("google") == 1.0
    spend(worker, 1)
    assert worker.of("google") == 0.0


def test_the_first_allowances_of_all_the_workers_that_there_may_be_are_within_the_reserve() -> None:
    for budget in (10**6, 10**9, 123_456_789_012):
        assert 64 * first_allowance(budget) <= RESERVE * budget


def test_what_was_spent_survives_a_change_of_plan_and_the_return_of_a_partner(tmp_path: Path, worker: Spending) -> None:
    spend(worker, 70)
    worker.follow({"google": even(2 * BUDGET), "trivago": even()}, NOON + 1)
    spend(worker, 5)
    spend(worker, 3, "trivago")
    worker.follow({"trivago": even()}, NOON + 2)
    assert worker.of("google") == 1.0
    worker.follow({"google": even(), "trivago": even()}, NOON + 3)
    spend(worker, 1)
    assert counted(tmp_path) == {"google": 76, "trivago": 3}


def test_a_new_utc_day_begins_at_nothing_with_or_without_a_request(tmp_path: Path, worker: Spending) -> None:
    spend(worker, 2 * FIRST)
    worker.beat(NOON + DAY_US // 2 - 1)
    assert (worker.of("google"), counted(tmp_path)) == (0.0, {"google": 2 * FIRST})
    worker.beat(NOON + DAY_US // 2)
    assert (worker.of("google"), counted(tmp_path)) == (1.0, {"google": 0})


def test_a_clock_that_goes_back_over_midnight_for_a_moment_forgets_nothing(tmp_path: Path, worker: Spending) -> None:
    midnight = NOON + DAY_US // 2
    worker.turn(midnight)
    spend(worker, 9)
    worker.turn(midnight - 1_000_000)
    worker.turn(midnight + 1)
    assert counted(tmp_path) == {"google": 9}
    worker.turn(midnight - 2 * DAY_US)
    assert counted(tmp_path) == {"google": 0}, "a clock that was set right is believed"


def test_bids_of_the_published_table_are_counted_apart_because_nobody_knows_their_cost(
    tmp_path: Path, worker: Spending
) -> None:
    spend(worker, 7)
    spend(worker, 100, step=Step.TABLE)
    files = SpendFiles([tmp_path])
    files.look()
    [file] = files.open
    one = file.partners()["google"]
    assert (one.spent, one.bids, one.table_bids) == (7, 70, 1000)


def test_a_worker_that_cannot_keep_its_counters_says_so_and_stops_after_its_first_allowance(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    worker = Spending(tmp_path / "file")
    worker.follow({"google": even()}, NOON)
    assert "cannot be counted" in worker.state()["why_not"]
    assert worker.of("google") == 1.0
    spend(worker, FIRST)
    assert worker.of("google") == 0.0


def test_more_partners_than_there_is_room_for_are_left_unpaced_and_the_others_are_paced(tmp_path: Path) -> None:
    worker = Spending(tmp_path)
    worker.follow({f"p{number}": even() for number in range(SLOTS + 1)} | {"ü" * 200: even()}, NOON)
    assert len(worker.partners) == SLOTS
    assert worker.of("ü" * 200) == 1.0


def live(folder: Path, micros: int, *, at_us: int = NOON) -> int:
    """One life of a worker that spends as much as it may, at most so much; what it spent."""
    worker, spent = Spending(folder), 0
    worker.follow({"google": even()}, at_us)
    while spent < micros and worker.of("google"):
        spend(worker, FIRST // 10)
        spent += FIRST // 10
    return spent


def test_a_worker_that_dies_all_day_long_has_one_file_and_one_first_allowance(tmp_path: Path) -> None:
    spent = sum(live(tmp_path, FIRST // 5) for _ in range(100))
    assert len([*tmp_path.iterdir()]) == 1
    assert FIRST <= spent < FIRST + FIRST // 10
    assert counted(tmp_path) == {"google": spent}


def test_what_a_living_worker_counts_in_is_taken_by_nobody(tmp_path: Path, worker: Spending) -> None:
    spend(worker, 7)
    others = [Spending(tmp_path) for _ in range(3)]
    for other in others:
        other.follow({"google": even()}, NOON)
    assert len([*tmp_path.iterdir()]) == 4
    assert counted(tmp_path) != {}
    assert worker.of("google") == 1.0


def test_what_a_killed_process_left_is_gone_on_with(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.serving.test_spending import *;"
        "worker = Spending(Path(sys.argv[1])); worker.follow({'google': even()}, NOON); spend(worker, 42);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    assert died.returncode == -9
    assert counted(tmp_path) == {"google": 42}
    spent = 42 + live(tmp_path, 10 * FIRST)
    assert len([*tmp_path.iterdir()]) == 1
    assert counted(tmp_path) == {"google": spent}
    assert spent < 42 + FIRST + FIRST // 10


def test_a_file_of_yesterday_and_one_of_a_version_without_locks_are_left_alone(tmp_path: Path) -> None:
    live(tmp_path, 1, at_us=NOON - DAY_US)
    live(tmp_path, 1)
    yesterdays, todays = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    words = memoryview(bytearray(todays.read_bytes())).cast("q")
    words[LOCKED_AT] = 0
    todays.write_bytes(words)
    before = yesterdays.read_bytes(), todays.read_bytes()
    live(tmp_path, FIRST)
    assert len([*tmp_path.iterdir()]) == 3
    assert (yesterdays.read_bytes(), todays.read_bytes()) == before
