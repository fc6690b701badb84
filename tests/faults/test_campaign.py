"""The campaign counts what it should, says what was not run, and its quickest rows hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import page, rows_data, rows_platform
from tests.faults.campaign.core import Ask, Row, Tally, carry_out, together
from tests.faults.campaign.rows import ROWS

ROOT = Path(__file__).parents[2]
QUICK = ("R5", "R8", "R16")


def done(run: Any, **given: Any) -> dict[str, Any]:
    row = Row("a fault", "somehow", "something holds", "all", run, **given)
    return carry_out(row, Ask(None, Path(), 1, full=False), lambda _: None)  # type: ignore[arg-type]


def test_there_is_one_row_for_each_fault_of_the_plan() -> None:
    assert list(ROWS) == [f"R{number}" for number in range(1, 29)]
    for row in ROWS.values():
        assert all((row.fault, row.injection, row.invariant, row.target)) and row.full >= row.short >= 0 < row.full


def test_a_repetition_holds_when_its_fault_happened_and_everything_after_it_is_right() -> None:
    def run(_: Ask, tally: Tally) -> None:
        with tally.trial("kind") as trial:
            trial.proof("it was seen", 1)
            trial.expect("it is whole", holds=True)

    found = done(run)
    assert (found["verdict"], found["held"], found["proofs"]) == ("held", 1, {"it was seen": 1})


def test_a_fault_that_did_not_happen_is_a_failure_although_everything_is_right() -> None:
    def run(_: Ask, tally: Tally) -> None:
        with tally.trial("kind") as trial:
            trial.proof("it was seen", 0)
            trial.expect("it is whole", holds=True)

    found = done(run)
    assert (found["verdict"], found["injected"], found["held"]) == ("not injected", 0, 0)


def test_what_does_not_hold_and_what_breaks_is_a_miss_with_its_reason_and_the_row_goes_on() -> None:
    def run(_: Ask, tally: Tally) -> None:
        for number in range(3):
            with tally.trial("kind") as trial:
                trial.proof("it was seen", 1)
                trial.expect("it is not whole", number != 0)
                if number == 1:
                    raise ValueError("broken")

    found = done(run)
    assert (found["verdict"], found["tried"], found["held"]) == ("missed", 3, 1)
    assert found["misses"] == ["kind: it is not whole", "kind: ValueError: broken"]


def test_a_row_that_tries_nothing_or_breaks_has_not_held() -> None:
    def breaks(_: Ask, __: Tally) -> None:
        raise ValueError("broken")

    assert done(lambda _, __: None)["verdict"] == "not injected"
    assert done(breaks)["misses"] == ["the row broke: ValueError: broken"]


def test_a_row_that_is_ended_early_keeps_what_it_tried_and_goes_on_later() -> None:
    def run(_: Ask, tally: Tally) -> None:
        for number in range(9):
            with tally.trial("kind") as trial:
                trial.proof("it was seen", 1)
                wanted.append(number)

    wanted: list[int] = []
    row = Row("a fault", "somehow", "something holds", "all", run)
    ask = Ask(None, Path(), 1, full=False)  # type: ignore[arg-type]
    found = carry_out(row, ask, lambda _: None, lambda: len(wanted) >= 4)
    assert (found["verdict"], found["held"], found["tried"], wanted) == ("held", 4, 4, [0, 1, 2, 3])
    assert found["notes"] == ["it was ended before all was tried; ADD=1 goes on"]
    whole = together(found, carry_out(row, ask, lambda _: None))
    assert (whole["tried"], whole["notes"]) == (13, [])
    assert carry_out(row, ask, lambda _: None, lambda: True)["verdict"] == "not run"


def test_what_was_tried_already_is_counted_although_the_row_is_to_end() -> None:
    def run(_: Ask, tally: Tally) -> None:
        with tally.trial("kind", over=True) as trial:
            trial.proof("it was seen", 1)

    row = Row("a fault", "somehow", "something holds", "all", run)
    found = carry_out(row, Ask(None, Path(), 1, full=False), lambda _: None, lambda: True)  # type: ignore[arg-type]
    assert (found["verdict"], found["tried"]) == ("held", 1)


def test_what_cannot_run_here_says_why() -> None:
    found = done(lambda _, __: None, needs=lambda: "no such server")
    assert found == {"verdict": "not run", "why": "no such server"}


@pytest.mark.parametrize(
    ("commit", "why"), [("0" * 40 + "+", "this tree has changes that are in no commit"), ("", "no commit of this tree")]
)
def test_code_of_no_commit_goes_through_no_cluster(monkeypatch: pytest.MonkeyPatch, commit: str, why: str) -> None:
    """A gate stops its models there, and not in the undisturbed run beside it."""
    monkeypatch.setattr(rows_platform.stores, "find_programs", dict)
    monkeypatch.setattr(rows_platform, "commit_of_tree", lambda: commit)
    assert why in rows_platform.no_cluster()


def test_the_page_has_every_row_with_its_misses_and_says_what_was_not_run(tmp_path: Path) -> None:
    missed = {
        "verdict": "missed", "tried": 2, "injected": 2, "held": 1, "kinds": {"kill -9": [1, 2]}, "proofs": {"SIGKILL": 2},
        "misses": ["kill -9: half a write"], "notes": [], "figures": {"s": 1.5}, "seconds": 3.0, "full": True, "at": "2026-11-21",
    }  # fmt: skip
    file = tmp_path / "faults.md"
    page.keep(file, {"R4": missed, "R5": {"verdict": "not run", "why": "no PostgreSQL"}})
    text = file.read_text()
    assert f"0 of {len(ROWS)} rows held, 1 missed, 0 were not injected, 27 were not run" in text
    assert "**missed**: kill -9: half a write" in text
    assert "Not run: no PostgreSQL." in text
    page.keep(file, {"R4": {"verdict": "not run", "why": "not this time"}})
    assert "half a write" in file.read_text(), "a row that is left out keeps its last numbers"


def test_hours_may_be_lived_through_in_parts_and_no_miss_of_an_earlier_part_is_forgotten(tmp_path: Path) -> None:
    def run(_: Ask, tally: Tally) -> None:
        for number in range(2):
            with tally.trial("kill -9") as trial:
                trial.proof("SIGKILL", 1)
                trial.expect("half a write", number or len(parts) != 1)
        tally.worst("s", 3.0 - len(parts))
        tally.totals["answers"] += 10

    file = tmp_path / "faults.md"
    parts: list[dict[str, Any]] = []
    for _ in range(3):
        parts.append(done(run) | {"at": "2026-11-21"})
        page.keep(file, {"R4": parts[-1]}, add=True)
    (found,) = json.loads(file.with_suffix(".json").read_text())["rows"].values()
    assert (found["verdict"], found["runs"], found["tried"], found["injected"], found["held"]) == ("missed", 3, 6, 6, 5)
    assert (found["kinds"], found["proofs"], found["misses"]) == (
        {"kill -9": [5, 6]}, {"SIGKILL": 6}, ["kill -9: half a write"],
    )  # fmt: skip
    assert (found["figures"], found["totals"]) == ({"s": 3.0}, {"answers": 30})
    assert "short in 3 runs" in file.read_text()
    page.keep(file, {"R4": parts[0] | {"full": True}}, add=True)
    (found,) = json.loads(file.with_suffix(".json").read_text())["rows"].values()
    assert (found["tried"], found["verdict"]) == (2, "held"), "a full campaign does not go on from a short one"


def test_a_part_that_goes_on_draws_other_cases_than_the_parts_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Any, ...]] = []

    def state(_: Path, __: Any, order: Any) -> dict[str, str]:
        drawn.append(tuple(order))
        return {}

    monkeypatch.setattr(rows_data, "DELIVERED_AGAIN", lambda _, __: None)
    monkeypatch.setattr(rows_data, "_state", state)
    monkeypatch.setattr(rows_data.shutil, "rmtree", lambda _: None)
    row = Row("a fault", "somehow", "something holds", "all", rows_data.delivered_again)
    file = tmp_path / "faults.md"
    for _ in range(2):
        before = page.tried(file, "R12", full=False)
        ask = Ask(None, tmp_path, 1, False, before)  # type: ignore[arg-type]
        page.keep(file, {"R12": carry_out(row, ask, lambda _: None) | {"at": "2026-11-23"}}, add=True)
    cases = [order for order in drawn if len(order) != len(set(order))]
    assert sum(page.tried(file, "R12", full=False).values()) == 6
    assert len(cases) == len(set(cases)) == 6
    assert page.tried(file, "R12", full=True) == {}, "a full campaign does not go on from a short one"


def test_the_page_of_the_house_is_the_one_that_its_numbers_give() -> None:
    numbers = json.loads((ROOT / "docs" / "faults.json").read_text())["rows"]
    assert (ROOT / "docs" / "faults.md").read_text() == page.render(numbers)


def test_the_quickest_rows_hold() -> None:
    command = [sys.executable, "-m", "tests.faults.campaign", "--only", *QUICK, "--repeats", "1", "--json"]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    rows = json.loads(ended.stdout)["rows"]
    for name in QUICK:
        assert rows[name]["verdict"] in {"held", "not run"}, rows[name]
    assert ended.returncode == 0, ended.stderr
    if all(rows[name]["verdict"] == "not run" for name in QUICK):
        pytest.skip(f"nothing of it can run here: {[rows[name]['why'] for name in QUICK]}")
