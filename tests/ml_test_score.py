"""Writes what became of each test that holds an item of the ML Test Score; `bidwright ml-test-score` reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ml.core.code_version import commit_of_tree
from ml.score.result import RESULTS

ROOT = Path(__file__).parents[1]
_ORDER = ("passed", "skipped", "failed")


class Recorder:
    """Collects outcomes by node id; a test has the worst of its phases."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: dict[str, list[str]] = {}
        self._outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if names := sorted({str(name) for mark in item.iter_markers("ml_test_score") for name in mark.args}):
                self._held[item.nodeid] = names

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._held:
            before = self._outcomes.get(report.nodeid, "passed")
            self._outcomes[report.nodeid] = max(before, report.outcome, key=_ORDER.index)

    def pytest_sessionfinish(self) -> None:
        if not self._outcomes:
            return
        commit = commit_of_tree()
        kept = self._earlier(commit)
        ran = {node: {"items": self._held[node], "outcome": outcome} for node, outcome in self._outcomes.items()}
        text = json.dumps({"commit": commit, "tests": dict(sorted((kept | ran).items()))}, indent=1)
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        beside.write_text(text + "\n")
        beside.replace(self._file)

    def _earlier(self, commit: str) -> dict[str, Any]:
        """What other runs found of the same commit, so that a suite may run in parts; nothing of another, or of changes besides."""
        try:
            found = json.loads(self._file.read_text())
            return dict(found["tests"]) if found["commit"] == commit and not commit.endswith("+") else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def recorder() -> Recorder:
    """The one of this run, which writes where `BIDWRIGHT_ML_TEST_SCORE` says, else into the project's folder."""
    return Recorder(Path(os.environ.get("BIDWRIGHT_ML_TEST_SCORE", "") or ROOT / RESULTS))
