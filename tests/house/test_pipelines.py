"""What the pipelines of code hosts run is what anybody runs: make targets that exist, the same on both, with no more rights than needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB, GITLAB = ROOT / ".github/workflows/ci.yml", ROOT / ".gitlab-ci.yml"
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ASKED = {"lint", "check", "contract", "docs", "compare", "sbom", "audit", "challenge", "faults", "smoke"}
"""Of a change: style, types and tests, contracts of sources and models, docs, benchmarks against history, what is installed and
what is known of it; of every night besides: the challenge, the faults, and the images with a day through them."""


def commands(value: Any) -> list[str]:
    """Every shell line of a pipeline, in order."""
    if isinstance(value, list):
        return [one for inner in value for one in commands(inner)]
    if not isinstance(value, dict):
        return []
    lines = list(value.get("script", []))
    if isinstance(value.get("run"), str):
        lines.append(value["run"])
    return lines + [one for key, inner in value.items() if key not in {"script", "run"} for one in commands(inner)]


def made(file: Path) -> set[str]:
    """The make targets that a pipeline runs."""
    lines = commands(yaml.safe_load(file.read_text()))
    return {target for line in lines for target in re.findall(r"^make ([a-z-]+)", line)}


@pytest.mark.parametrize("file", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_a_pipeline_runs_make_targets_that_exist_and_all_that_are_asked(file: Path) -> None:
    assert made(file) - TARGETS == set()
    assert ASKED - made(file) == set()


@pytest.mark.parametrize("file", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_a_pipeline_runs_nothing_but_make_and_our_own_command(file: Path) -> None:
    allowed = re.compile(r"make [a-z-]+( [A-Z]+=\w+)?$|\.venv/bin/bidwright |chown --recursive root:root \.$")
    assert [line for line in commands(yaml.safe_load(file.read_text())) if not allowed.match(line)] == []


def test_the_pipeline_of_github_may_read_and_keeps_no_credentials() -> None:
    found = yaml.safe_load(GITHUB.read_text())
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert "permissions" not in job and job["timeout-minutes"] > 0
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets." not in GITHUB.read_text()
