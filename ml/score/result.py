"""From what pytest wrote of the marked tests to a score: 1 for an item held by tests that passed, 0 for any other.

The paper gives half a point for what is done by hand and written down; here only tests count. The whole score is that of
the weakest section.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml.core.errors import CorruptArtefact, NoData
from ml.score.items import ITEMS, MISSED, SECTIONS, section

RESULTS = Path("ml-test-score.json")
"""Where pytest writes, in the project's folder; version control ignores it."""

_RUN = "run the marked tests: make score"

Held = Literal["held", "failed", "skipped", "no test", "not run"]


@dataclass(frozen=True)
class Item:
    """What became of one item: `passed`, `failed` and `skipped` count the tests that hold it."""

    name: str
    meaning: str
    state: Held
    passed: int
    failed: int
    skipped: int
    missed: str = ""

    @property
    def point(self) -> int:
        """1 where its tests hold it, else 0."""
        return int(self.state == "held")


@dataclass(frozen=True)
class Score:
    """All items, and the commit whose tests these were (empty: not known)."""

    items: tuple[Item, ...]
    commit: str = ""

    @property
    def sections(self) -> dict[str, int]:
        """Points of each section."""
        return {name: sum(item.point for item in self.items if section(item.name) == name) for name in SECTIONS}

    @property
    def total(self) -> int:
        """The points of the weakest section."""
        return min(self.sections.values())

    def as_json(self) -> dict[str, Any]:
        """The score, sections and items."""
        return {
            "score": self.total,
            "sections": self.sections,
            "commit": self.commit,
            "items": [vars(item) | {"point": item.point} for item in self.items],
        }


def read_score(file: Path = RESULTS) -> Score:
    """The score of the tests that ran last.

    Raises:
        NoData: pytest has not written the file.
        CorruptArtefact: the file is not of its form.
    """
    try:
        found = json.loads(file.read_bytes())
        commit, tests = str(found["commit"]), dict(found["tests"])
        return score_of(tests, commit=commit)
    except FileNotFoundError:
        raise NoData(f"there is no {file}", next=_RUN) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtefact(f"{file} is no result of the marked tests ({type(error).__name__})", next=_RUN) from error


def score_of(tests: Mapping[str, Mapping[str, Any]], *, commit: str = "") -> Score:
    """The score of test results.

    Args:
        tests: by pytest's node id: `items`, which the test holds, and `outcome`: passed, failed or skipped.
        commit: of the code.
    """
    return Score(
        tuple(_item(name, [one["outcome"] for one in tests.values() if name in one["items"]]) for name in ITEMS), commit
    )


def _item(name: str, outcomes: list[str]) -> Item:
    """One failure loses the item; a test that was skipped shows nothing, but takes nothing away."""
    passed, failed, skipped = (outcomes.count(outcome) for outcome in ("passed", "failed", "skipped"))
    state: Held = "held" if passed and not failed else "failed" if failed else "skipped" if skipped else "not run"
    if name in MISSED and not outcomes:
        state = "no test"
    return Item(name, ITEMS[name], state, passed, failed, skipped, MISSED.get(name, ""))
