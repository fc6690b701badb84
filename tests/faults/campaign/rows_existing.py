"""Rows that tests and benchmarks of the house carry out already: they are run, and their counts are read.

The proof of a fault is what the test asserts (an exit by SIGKILL, a process that is stopped, rows that are held back); one that skips counts
as not injected.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from typing import Final, cast

from benchmarks.common import ROOT
from tests.faults.campaign.core import Ask, Row, Tally
from tests.faults.campaign.stand import no_postgres

Run = Callable[[Ask, Tally], None]
LIVE_CANARIES: Final = 20
_WORDS = re.compile(r"\[.*")


def tests(*nodes: str, proof: str, note: str = "", only_full: Sequence[str] = ()) -> Run:
    """Run these tests of the house; each case is a repetition.

    Args:
        nodes: files, or tests in them, as pytest names them.
        proof: what shows, in these tests, that the fault happened.
        note: what a reader should know.
        only_full: further nodes, of the full campaign.
    """

    def run(ask: Ask, tally: Tally) -> None:
        for number in range(ask.repeats):
            tally.heed()
            report = ask.folder / f"{number}.xml"
            asked = [f"tests/{node}" for node in (*nodes, *(only_full if ask.full else ()))]
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *asked]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if not report.is_file() or done.returncode not in {0, 1}:
                raise RuntimeError(done.stdout.strip().splitlines()[-1] if done.stdout else done.stderr[-200:])
            for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  (as above)
                _count(case, proof, tally)
        tally.notes += [note] if note else []

    return run


def _count(case: ElementTree.Element, proof: str, tally: Tally) -> None:
    kind = _WORDS.sub("", case.get("name", "")).removeprefix("test_").replace("_", " ")
    with tally.trial(kind, over=True) as trial:
        skipped, broken = case.find("skipped"), [one for tag in ("failure", "error") for one in case.iter(tag)]
        trial.proof(proof, skipped is None)
        trial.expect(f"skipped: {skipped.get('message')}" if skipped is not None else "", skipped is None)
        for one in broken:
            trial.expect(f"{case.get('name')}: {(one.get('message') or '').splitlines()[0][:120]}", False)


def benchmark(name: str, *arguments: str) -> dict[str, dict[str, object]]:
    """The figures of a benchmark, run in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    found: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])["figures"]
    return found


def races(ask: Ask, tally: Tally) -> None:
    """R3: benchmarks.promotion_faults, on PostgreSQL and on SQLite."""
    for kind in ("PostgreSQL", "SQLite"):
        options = ["--races", str(ask.repeats)]
        if kind == "PostgreSQL":
            ask.stand.postgres.execute("CREATE DATABASE races")
            options += ["--database", ask.stand.postgres.dsn("races")]
        found = benchmark("promotion_faults", *options)
        _counted(tally, f"two processes race, {kind}", ask.repeats, found["races that broke an invariant"]["ours"],
                 "both began at a barrier, and all racers ended with an answer",
                 happened=found["racers that ended without a reason"]["ours"] == 0)  # fmt: skip


def canaries(ask: Ask, tally: Tally) -> None:
    """R20: harmless candidates go through the ramp."""
    found = benchmark("canary", "--canaries", str(ask.repeats), "--faults", "20" if ask.full else "1")
    share = float(str(found["harmless candidates rolled back"]["ours"]))
    wrong = round(share * ask.repeats)
    # The promise is a rate: a single false alarm among a hundred is within it.
    _counted(
        tally,
        "A/A canary",
        ask.repeats,
        0 if share <= 0.01 else wrong,
        "candidate and champion are drawn from one distribution",
    )
    tally.totals["false rollbacks"] = wrong
    if not ask.full:
        tally.notes.append("the live canaries are tried in the full campaign")
        return
    live = benchmark("bid_service", "--only", "harmless", "--repeats", str(min(LIVE_CANARIES, ask.repeats)))
    answers = [int(number) for number in cast("list[float]", live["harmless_answers"]["runs"])]
    promoted = int(float(str(live["harmless_promoted"]["ours"])))
    for number, answered in enumerate(answers):
        with tally.trial("a live A/A canary climbs every step with traffic on", over=True) as trial:
            trial.proof("a bundle of the champion's model answered requests as the candidate", answered > 0)
            trial.expect("it was not promoted", number < promoted)
    tally.totals["live false rollbacks"] = int(float(str(live["harmless_rolled_back"]["ours"])))
    tally.totals["live answers of candidates"] = sum(answers)
    for name, kind in (("neither answered nor refused", "errors"), ("refused with 429", "refused")):
        tally.totals[f"live requests {name}"] = sum(
            int(n) for n in cast("list[float]", live[f"harmless_{kind}"]["runs"])
        )


def challenged(ask: Ask, tally: Tally) -> None:
    """R19: planted candidates through the real promotion; in the short campaign the tests of the gates on a small market."""
    if not ask.full:
        tests("promotion/test_bad_candidates.py", proof="a candidate with the fault was measured and judged",
              note="the twelve trained candidates are tried in the full campaign: `bidwright challenge`")(ask, tally)  # fmt: skip
        return
    command = [sys.executable, "-m", "ml.cli", "challenge", "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"BIDWRIGHT_HOME": str(ask.folder)},
    )
    for one in json.loads(done.stdout.splitlines()[-1])["candidates"]:
        with tally.trial("a good candidate" if one["good"] else "a planted candidate", over=True) as trial:
            trial.proof("it was trained, bundled and judged", True)
            trial.expect(f"{one['name']}: promoted is {one['promoted']}", one["right"])


def _counted(tally: Tally, kind: str, tried: int, wrong: object, proof: str, *, happened: bool = True) -> None:
    broken = int(float(str(wrong)))
    for number in range(tried):
        with tally.trial(kind, over=True) as trial:
            trial.proof(proof, happened)
            trial.expect("an invariant broke", number >= broken)


_KILLED = "the process ended by SIGKILL at the named place"

ROWS = {
    "R1": Row(
        "The task is killed at every fault point, twice in a row",
        "SIGKILL of itself at each of `ml.core.faultpoints.POINTS`, at each step of a materialisation and of the online store, and in the event log",
        "the ledger is whole after each kill, the rerun completes once, with the same result",
        "1,000 of 1,000",
        tests(
            "faults/test_promote_kills.py::test_a_kill_at_a_point_twice_leaves_the_ledger_whole_and_a_rerun_completes",
            "features/online/test_faults.py::test_killed_at_any_step_the_old_rows_or_the_new_ones_are_there_and_writing_goes_on",
            only_full=(
                "features/test_materialize.py::test_killed_at_any_step_and_run_again_it_ends_the_same",
                "serving/test_event_log.py::test_seventy_kills_lose_no_durable_decision_and_each_loss_is_counted_exactly",
            ),
            proof=_KILLED,
            note="each case of a fault point is two kills",
        ),
        full=21,
    ),
    "R2": Row(
        "A zombie writer wakes after somebody else did its work",
        "SIGSTOP at a fault point, the work is done by another process, SIGCONT",
        "the zombie changes nothing or is told StaleGeneration; one effect",
        "200 of 200",
        tests(
            "faults/test_promote_kills.py::test_a_zombie_that_wakes_after_another_did_its_work_changes_nothing",
            "faults/test_promote_kills.py::test_a_zombie_that_wakes_after_something_else_happened_does_not_undo_it",
            proof="the process was seen stopped (WIFSTOPPED) at the named place",
            note="the same two processes as with Airflow's heartbeat timeout, without Airflow",
        ),
        full=9,
    ),
    "R3": Row(
        "Two promotions race",
        "two processes from a barrier, nine pairs of promotion, rollout and rollback",
        "one wins, the other is told why, the ledger is whole",
        "1,000 of 1,000",
        races,
        short=27,
        full=1_000,
        needs=no_postgres,
    ),
    "R15": Row(
        "The schema of a delivery changes",
        "columns added, dropped, renamed, retyped, prices times 1,000, unknown words",
        "an added column is noted, all else stops or quarantines with the column named; nothing is trained",
        "12 kinds",
        tests(
            "market/test_conform.py",
            "market/test_ingest_faults.py::test_a_renamed_column_breaks_the_schema_and_both_names_are_told",
            "market/test_ingest_faults.py::test_prices_times_a_thousand_reject_the_day_with_the_column",
            "market/test_ingest_faults.py::test_a_column_full_of_nulls_rejects_the_day_with_the_column",
            "market/test_ingest.py::test_a_schema_break_lands_nothing_and_names_day_table_and_column",
            "market/test_check.py::test_one_damaged_row_is_quarantined_with_its_reason_and_the_others_are_accepted",
            proof="the frame without the change passes, and the changed one is refused by name",
        ),
        full=1,
    ),
    "R17": Row(
        "Silent corruption",
        "60 % nulls, 30 % infinities, a number that is the same in every row, two columns swapped, columns of another type, missing or new, half a delivery, yesterday's file, a leaky column",
        "caught before training",
        "20 kinds, 100 %",
        tests(
            "monitoring/test_completeness.py",
            "monitoring/test_swapped.py",
            "features/test_guard.py",
            "market/test_ingest_faults.py::test_yesterdays_file_under_todays_name_rejects_the_day",
            "promotion/gates/test_gate_leakage.py",
            proof="the whole day passes the same guard, and the damaged one does not",
            note="two columns whose values are alike, such as our price and a rival's, cannot be told from each other when they are swapped: drift of what is made of them is told, and does not keep the day from training",
            only_full=("e2e/test_damaged_days.py",),
        ),
        full=1,
    ),
    "R18": Row(
        "A poisoned bundle",
        "1,000 spoilt bundles: bytes, lines, truncation, files, links, signatures, formats",
        "refused by name before anything is parsed; what the right key signed and is broken inside stops in a child",
        "1,000 of 1,000",
        tests(
            "promotion/test_mutated_bundles.py",
            proof="each bundle differs from the one that is served",
            note="one case reads all 1,000 bundles",
        ),
        full=1,
    ),
    "R19": Row(
        "A bad but valid model",
        "candidates with a planted fault, and good ones",
        "bad ones are stopped by a gate and the champion stays; good ones pass",
        "12 of 12",
        challenged,
        full=1,
    ),
    "R20": Row(
        "A canary that is the champion (A/A)",
        "simulated ramps judged every 5 s by the policy in use; the champion's model in another bundle, live at 5,000 requests/s",
        "false rollbacks in at most 1 % of the simulated ramps; every live one is promoted",
        "at most 10 of 1,000; 20 live",
        canaries,
        short=30,
        full=1_000,
    ),
    "R21": Row(
        "The judge of canaries is blind",
        "metrics missing or not numbers, one arm empty, a judge that crashes, clocks that jump",
        "it holds, and rolls back when patience ends; it never promotes",
        "20 kinds",
        tests(
            "promotion/test_canary_judge.py::test_a_harmless_canary_passes_once_enough_was_seen",
            "promotion/test_canary_judge.py::test_a_blind_judge_holds_although_all_is_well",
            "promotion/test_canary_judge.py::test_a_blind_judge_never_promotes_and_is_rolled_back_in_the_end",
            "promotion/test_rollout.py::test_a_judge_that_cannot_see_holds_and_rolls_back_when_patience_ends",
            proof="the same canary passes with a judge that sees",
        ),
        full=1,
    ),
    "R22": Row(
        "Another candidate or another champion during a canary, and a controller that is killed",
        "at each state of the rollout",
        "it restarts, queues or ends as promised, and resumes from the ledger",
        "100",
        tests(
            "promotion/test_rollout.py",
            "faults/test_rollout_machine.py",
            proof="the ledger's events show the restart, the queue or the end",
            note="kills at each state are in R1",
        ),
        full=10,
    ),
}
