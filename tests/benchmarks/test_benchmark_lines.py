"""A benchmark prints one line of JSON of the agreed form, and says so when its data are missing."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import names
from benchmarks.backtest import LIMITS, quarter_figures
from benchmarks.common import Figure, as_line, as_table, median, run, stopwatch

ROOT = Path(__file__).parents[2]


def test_a_line_has_exactly_the_agreed_keys() -> None:
    line = as_line("x", {"speed": Figure(1.5, "s", peer=2.0, limit=3.0, runs=(1.4, 1.6))})
    assert "\n" not in line
    assert json.loads(line)["figures"] == {
        "speed": {"ours": 1.5, "peer": 2.0, "limit": 3.0, "unit": "s", "runs": [1.4, 1.6]}
    }
    assert set(json.loads(line)) == {"benchmark", "machine", "figures"}
    assert set(json.loads(line)["machine"]) == {"cpus", "memory_gib", "python"}


def test_a_number_that_is_none_is_not_printed() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        as_line("x", {"speed": Figure(float("nan"), "s")})


def test_the_command_line_prints_the_line_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(given: argparse.Namespace) -> dict[str, Figure]:
        return {"speed": Figure(1.0, "s")}

    assert run("x", measure, argv=["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["benchmark"] == "x"
    assert run("x", measure, argv=[]) == 0
    assert "speed" in capsys.readouterr().out


def test_missing_data_are_one_sentence_and_a_failure() -> None:
    command = [sys.executable, "-m", "benchmarks.backtest", "--json", "--data", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("there is no folder /nowhere")
    assert len(done.stderr.splitlines()) == 1


def test_a_quarter_becomes_figures_with_the_baseline_for_a_peer() -> None:
    quality = {"auc": 0.8, "log_loss": 0.5, "net_value_ratio": 0.97}
    theirs = {"auc": 0.7, "log_loss": 0.6, "net_value_ratio": 1.1}
    figures = quarter_figures({"quarter": "2016Q4", "model": quality, "logistic": theirs})
    assert figures["2016Q4 auc"] == Figure(0.8, "share", peer=0.7, limit=LIMITS["2016Q4"]["auc"], runs=(0.8,))
    assert (figures["2016Q4 value_error"].ours, figures["2016Q4 value_error"].peer) == (0.03, 0.1)


def test_every_benchmark_is_found_and_none_is_a_helper() -> None:
    assert {"backtest", "training"} <= set(names())
    assert not {"common", "__main__"} & set(names())


def test_the_table_shows_every_figure() -> None:
    table = as_table("x", {"a": Figure(1.0, "s", limit=2.0), "b": Figure(3.0, "MiB", peer=4.0)})
    assert [line.split()[0] for line in table.splitlines()] == ["x", "figure", "a", "b"]


def test_the_median_and_the_stopwatch() -> None:
    assert (median([3.0, 1.0, 2.0]), median([1.0, 2.0])) == (2.0, 1.5)
    with stopwatch() as seconds:
        pass
    assert len(seconds) == 1
