"""The budget of a day holds over all workers, whatever comes; the money lasts through the day; what cannot be known is taken for spent."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.service_pacing import Service, curve, days, figures_of
from ml.bidding.day_budget import QUARTER_US, DayBudget, day_budget
from ml.serving.pacemaker import Pacemaker
from ml.serving.spend_files import SpendFiles
from ml.serving.spending import DAY_US, RESERVE, Spending
from tests.serving.test_spending import spend

ROOT = Path(__file__).parents[2]
LOOK_US = QUARTER_US // 6
BUDGET = 500_000_000
MOST = int(BUDGET * (1 - RESERVE))
EVENING = float(curve()[72:].sum())


def test_at_twice_the_expected_traffic_the_day_keeps_to_its_budget_and_the_money_lasts_into_the_evening(
    tmp_path: Path,
) -> None:
    first, second = days(tmp_path, lambda *_: 2.0, count=2, expected=1.0, killed=0.005, look_us=LOOK_US)
    for day in (first, second):
        assert day.wanted > 1.9, "there was that much to be bid on"
        assert 0.97 <= day.spent <= 1.0
        assert day.in_the_evening == pytest.approx(EVENING, abs=0.05)


def test_traffic_that_becomes_four_times_as_much_at_noon_does_not_spend_more_than_the_budget(tmp_path: Path) -> None:
    [day] = days(tmp_path, lambda _, hour: 1.0 if hour < 12 else 4.0, expected=1.0, look_us=LOOK_US)
    assert day.wanted > 2.5
    assert 0.97 <= day.spent <= 1.0
    assert day.in_the_evening > EVENING / 2


def test_at_the_expected_traffic_the_budget_takes_next_to_nothing_away(tmp_path: Path) -> None:
    [day] = days(tmp_path, lambda *_: 1.0, look_us=LOOK_US)
    assert 0.99 * day.wanted <= day.spent <= day.wanted


def test_without_a_budget_in_the_plan_twice_the_traffic_costs_twice_as_much(tmp_path: Path) -> None:
    [day] = days(tmp_path, lambda *_: 2.0, expected=1.0, paced=False, look_us=LOOK_US)
    assert day.spent == pytest.approx(day.wanted, rel=1e-6)


def service(folder: Path, *, workers: int = 2, budget: DayBudget | None = None, hour: float = 0.0) -> Service:
    folder.mkdir(exist_ok=True)
    made = Service(folder, workers=0, budget=budget or figures_of())
    made.now_us += int(hour * 4 * QUARTER_US)
    made.pacemaker = Pacemaker([folder], folder / "kept.json", now_us=lambda: made.now_us)
    made.workers = [made.worker() for _ in range(workers)]
    made.look()
    return made


def exhausted(one: Service, worker: int) -> int:
    """What a worker spends until it may not."""
    spent = 0
    while (found := one.search(worker))[0] > 0:
        spent += found[1]
    return spent


def test_workers_that_never_hear_of_the_pacemaker_again_stop_within_the_budget_together(tmp_path: Path) -> None:
    one = service(tmp_path)
    cost = one.search(0)[1]
    together = cost + exhausted(one, 0) + exhausted(one, 1)
    assert MOST - cost <= together <= MOST + 2 * cost, "one search each may have been under way"


def test_what_one_worker_leaves_another_may_spend_at_the_next_look(tmp_path: Path) -> None:
    one = service(tmp_path)
    spent = exhausted(one, 0)
    assert spent < 0.51 * BUDGET
    for _ in range(40):
        one.look()
        spent += exhausted(one, 0)
    assert 0.99 * MOST <= spent <= MOST + 41 * one.search(1)[1]


def test_two_services_that_share_their_counters_keep_to_one_budget_together(tmp_path: Path) -> None:
    one = service(tmp_path)
    other = Pacemaker([tmp_path], tmp_path / "kept.json", now_us=lambda: one.now_us)
    spent = 0
    for at in range(4_000):
        spent += sum(one.search(worker)[1] for worker in (0, 1) for _ in range(10))
        if at % 10 == 0:
            one.look()
        if at % 7 == 0:
            other.tick()
    assert 0.99 * MOST <= spent <= MOST + 20 * 20_000 * 10, "what was bid between two looks of one of them may be above"
    assert one.search(0)[0] == 0.0


def test_a_service_that_shares_its_budget_with_one_that_counts_elsewhere_spends_its_own_part(tmp_path: Path) -> None:
    one = service(tmp_path, workers=0)
    worker = Spending(tmp_path, share=0.25)
    worker.follow({"google": figures_of()}, one.now_us)
    one.workers = [worker]
    one.look()
    assert exhausted(one, 0) == pytest.approx(0.25 * MOST, rel=0.001)


CHILD = """
import sys
from pathlib import Path
from ml.serving.spending import Spending
from tests.serving.test_pacemaker import CHILDS_COST, now_us
from tests.serving.test_spending import spend
from benchmarks.service_pacing import figures_of
worker = Spending(Path(sys.argv[1]))
worker.follow({"google": figures_of(int(sys.argv[2]))}, now_us())
print("up", flush=True)
sys.stdin.readline()
asked = spent = refused = 0
while refused < 200_000:
    asked += 1
    if asked % 64 == 0:
        worker.beat(now_us())
    if worker.of("google") > 0:
        spend(worker, CHILDS_COST)
        spent += CHILDS_COST
        refused = 0
    else:
        refused += 1
print(spent, flush=True)
"""
CHILDS_COST = 700


def now_us() -> int:
    """An instant at noon, so that the day does not end while the test runs."""
    return 20_000 * DAY_US + DAY_US // 2 + int(time.monotonic() * 1e6) % 3_600_000_000


def test_two_processes_that_bid_as_fast_as_they_can_never_spend_more_than_the_budget(tmp_path: Path) -> None:
    budget = 20_000_000
    kept = tmp_path / "kept.json"
    kept.write_text('{"day": 20000, "partners": {"google": [0, 0, 1.0]}}')
    made, over = Pacemaker([tmp_path], kept, now_us=now_us), threading.Event()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(budget)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    try:
        assert [child.stdout.readline() for child in children if child.stdout] == ["up\n", "up\n"]

        def look() -> None:
            while not over.wait(0.0005):
                made.tick()

        looking = threading.Thread(target=look)
        looking.start()
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        spent = [int(child.stdout.readline()) for child in children if child.stdout]
        over.set()
        looking.join()
    finally:
        over.set()
        for child in children:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()
    assert all(spent), "both of them bid"
    assert 0.98 * budget <= sum(spent) <= budget * (1 - RESERVE) + 2 * CHILDS_COST


def restarted(one: Service, *forgets: str) -> Service:
    """The whole service once more, its parent too; the workers before it are dead, and these files are gone."""
    one.pacemaker.close()
    for path in [path for pattern in forgets for path in one.folder.glob(pattern)]:
        path.unlink()
    one.now_us += 60_000_000
    one.workers = []
    one.pacemaker = Pacemaker([one.folder], one.folder / "kept.json", now_us=lambda: one.now_us)
    one.now_us += 1
    one.workers = [one.worker()]
    one.look()
    return one


def test_a_restart_of_the_whole_service_forgets_nothing_while_the_memory_is_there(tmp_path: Path) -> None:
    one = service(tmp_path, hour=10)
    spent = sum(one.search(0)[1] for _ in range(100))
    assert spent
    one.look()
    assert one.pacemaker.paced["google"].withheld > 0
    paced = restarted(one, "kept.json").pacemaker.paced["google"]
    assert (paced.total, paced.withheld) == (spent, 0)


def test_a_restart_after_the_budget_was_spent_gives_nothing_back(tmp_path: Path) -> None:
    one = service(tmp_path)
    for _ in range(3):
        exhausted(one, 0)
        exhausted(one, 1)
        one.look()
    again = restarted(one)
    again.look()
    assert again.pacemaker.paced["google"].total >= MOST
    assert exhausted(again, 0) == 0


def test_a_restart_of_the_machine_finds_on_disk_what_was_spent(tmp_path: Path) -> None:
    one = service(tmp_path)
    one.now_us += 10 * 3_600_000_000
    one.look()
    spent = sum(one.search(0)[1] for _ in range(100))
    one.look()
    paced = restarted(one, "spend-*").pacemaker.paced["google"]
    assert paced.total == spent > 0
    assert one.search(0)[0] > 0
    one.look()
    assert paced.total == spent + one.search(0)[1], "and what comes is added"


def test_who_comes_to_a_day_of_which_nothing_is_known_leaves_alone_what_should_be_spent_by_then(tmp_path: Path) -> None:
    one = service(tmp_path, workers=1, hour=18)
    assert exhausted(one, 0) == pytest.approx(EVENING * BUDGET, rel=0.02)


def test_the_next_day_begins_with_the_whole_budget_whatever_the_day_before_took(tmp_path: Path) -> None:
    one = service(tmp_path, workers=1, hour=18)
    exhausted(one, 0)
    one.now_us += 6 * 3_600_000_000
    one.look()
    one.look()
    assert exhausted(one, 0) == pytest.approx(MOST, rel=0.001)


def test_a_smaller_budget_counts_at_once_and_what_was_spent_is_not_forgotten(tmp_path: Path) -> None:
    one = service(tmp_path, workers=1)
    for _ in range(500):
        one.search(0)
    before = one.pacemaker.paced["google"].total
    one.workers[0].follow({"google": figures_of(BUDGET // 100)}, one.now_us + 1)
    one.look()
    assert one.pacemaker.paced["google"].total > before
    assert one.search(0)[0] == 0.0


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("damage", [halve, spoil])
def test_counters_that_cannot_be_read_let_the_multiplier_fall_to_the_even_one_and_allow_nothing_more(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    one = service(tmp_path, workers=1)
    per_quarter = [int(200_000 * share) for share in curve()]  # four times what the budget has room for
    paced = one.pacemaker.paced["google"]
    for quarter in range(1, 20):
        for _ in range(per_quarter[quarter] // 100):
            spend(one.workers[0], int(100 * 20_000 * min(one.workers[0].of("google"), 1.0)))
        one.now_us = one.now_us // QUARTER_US * QUARTER_US + QUARTER_US
        one.look()
    kept, rate = paced.multiplier, paced.pacer.rate_at_one
    assert 0 < kept < 1 and rate > 0
    paced.multiplier = 1.0  # as if traffic had grown since
    allowed = _allowed(tmp_path)
    other = Spending(tmp_path)
    other.follow({"google": figures_of()}, one.now_us)
    [new] = {*tmp_path.glob("spend-*")} - {*allowed}
    damage(new)
    seen = []
    for _ in range(100):
        one.now_us += 10_000_000
        one.look()
        seen.append(one.workers[0].of("google"))
    assert one.pacemaker.trouble
    assert one.workers[0].state()["trouble"]
    assert seen == sorted(seen, reverse=True) and seen[0] > seen[-1]
    assert seen[-1] == pytest.approx(min(paced.pacer.wanted_rate / rate, 1.0), rel=0.01)
    assert _allowed(tmp_path, only=[*allowed]) == allowed


def _allowed(folder: Path, only: list[Path] | None = None) -> dict[Path, int]:
    files = SpendFiles([folder])
    files.look()
    found = {file.path: file.partners()["google"].allowed for file in files.open if only is None or file.path in only}
    files.close()
    return found


def test_a_day_whose_hours_are_not_known_is_taken_for_even_and_said_to_be(tmp_path: Path) -> None:
    dates_only = day_budget(BUDGET, [50_000] + [0] * 95)
    assert dates_only.known is False
    one = service(tmp_path, workers=1, budget=dates_only, hour=12)
    assert "not known by the hour" in one.workers[0].state()["partners"]["google"]["traffic"]
    assert exhausted(one, 0) == pytest.approx(BUDGET / 2, rel=0.01)
