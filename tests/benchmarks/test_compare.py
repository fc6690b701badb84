"""Benchmarks against their history: a loss of more than a tenth of the advantage over the same run's peer fails."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare as module
from benchmarks.common import Figure, as_line
from benchmarks.compare import advantage, compare, history, main, record


def line(**figures: Figure) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_line("trees", figures))
    return found


def seconds(ours: float, peer: float | None) -> Figure:
    return Figure(ours, "s", peer=peer)


@pytest.mark.ml_test_score("monitor6")
@pytest.mark.parametrize(
    ("ours", "verdict"), [(1.0, "kept"), (1.1, "kept"), (1.12, "lost"), (0.5, "kept"), (3.0, "lost")]
)
def test_more_than_a_tenth_lost_against_the_same_runs_peer_fails(ours: float, verdict: str) -> None:
    (found,) = compare(line(a=seconds(ours, 10.0)), [{"a": 10.0}])
    assert (found.verdict, found.fails) == (verdict, verdict == "lost")


@pytest.mark.ml_test_score("monitor6")
@pytest.mark.parametrize("slower", [0.2, 1.0, 7.0])
def test_a_slower_machine_changes_nothing(slower: float) -> None:
    (found,) = compare(line(a=seconds(slower, 10 * slower)), [{"a": 10.0}])
    assert found.lost == pytest.approx(0.0)


@pytest.mark.ml_test_score("monitor6")
def test_memory_counts_as_time_does() -> None:
    (found,) = compare(line(peak=Figure(600.0, "MB", peer=1000.0)), [{"peak": 2.0}])
    assert found.fails


def test_the_median_of_the_last_five_runs_is_what_counts() -> None:
    earlier = [{"a": value} for value in (100.0, 8.0, 10.0, 12.0, 1.0, 10.0)]
    assert compare(line(a=seconds(1.0, 10.0)), earlier)[0].before == 10.0


def test_a_figure_that_is_not_measured_any_more_fails_and_a_new_one_does_not() -> None:
    found = compare(line(b=seconds(1.0, 2.0)), [{"a": 3.0}])
    assert [(one.figure, one.verdict) for one in found] == [("b", "new"), ("a", "missing")]


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ({"ours": 4.0, "peer": 2.0, "unit": "rows/s"}, 2.0),
        ({"ours": 4.0, "peer": None, "unit": "s"}, None),
        ({"ours": 4.0, "peer": 2.0, "unit": "share of profit, worst"}, None),
        ({"ours": 0.0, "peer": 2.0, "unit": "s"}, None),
    ],
)
def test_only_a_figure_with_a_peer_and_a_direction_is_compared(figure: dict[str, Any], expected: float | None) -> None:
    assert advantage(figure) == expected


def test_what_was_recorded_is_history(tmp_path: Path) -> None:
    record(line(a=seconds(1.0, 4.0)), tmp_path)
    record(line(a=seconds(1.0, 5.0), b=seconds(1.0, None)), tmp_path)
    assert history("trees", tmp_path) == [{"a": 4.0}, {"a": 5.0}]
    assert history("others", tmp_path) == []


def test_the_command_fails_on_a_loss_and_records_only_what_lost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "HISTORY", tmp_path)
    monkeypatch.setattr(history, "__defaults__", (tmp_path,))
    monkeypatch.setattr(record, "__defaults__", (tmp_path,))

    def run(ours: float) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(line(a=seconds(ours, 10.0))) + "\n"))
        return main(["--record", "--json"])

    assert [run(1.0), run(2.0), run(1.0)] == [0, 1, 0]
    assert [json.loads(text)["ok"] for text in capsys.readouterr().out.splitlines()] == [True, False, True]
    assert len(history("trees", tmp_path)) == 2


def test_nothing_to_compare_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["--json"]) == 1
