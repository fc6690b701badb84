"""Whoever is called at night finds a page that says what to do: every cause of an incident has its runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitoring.causes import CAUSES
from monitoring.links import runbook_of

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
LIKELY = ("demand", "rivals", "parity", "tracking", "feed", "cancellations", "auction", "model", "unknown")
PAGES = sorted(RUNBOOKS.glob("*.md"))


@pytest.mark.parametrize("cause", [*CAUSES, "meteor"])
def test_every_cause_has_its_page(cause: str) -> None:
    assert (RUNBOOKS / f"{runbook_of(cause)}.md").exists()


@pytest.mark.parametrize("likely", LIKELY)
def test_every_likely_cause_of_drift_has_its_page(likely: str) -> None:
    assert (RUNBOOKS / f"drift-{likely}.md").exists()


def test_every_page_is_that_of_a_cause() -> None:
    causes = {cause.replace(":", "-") for cause in CAUSES} | {f"drift-{likely}" for likely in LIKELY} | {"unknown"}
    assert {page.stem for page in PAGES} == causes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_and_says_what_it_means_where_to_look_what_to_do_and_when_it_ends(page: Path) -> None:
    text = page.read_text()
    headings = re.findall(r"^\*\*([^*]+?)\.?\*\*", text, re.MULTILINE)
    assert headings == ["What it means", "Look at", "Do", "It ends"]
    assert len(text.split()) < 250
