"""What the campaign of killed schedulers calls skipped, doubled and different: each is found when it is planted."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest

from local.client import DagRun
from local.cluster import effects

DAYS = [date(2026, 3, 4), date(2026, 3, 5)]
LEFT: dict[str, Any] = {
    "landed": {"2026-03-04": {"clicks": "aa"}, "2026-03-05": {"clicks": "bb"}},
    "learned": [("2026-03-04", "c1")],
    "decided": [("2026-03-04", "c1", "PASS", 0)],
    "champions": [(1, "c1", "2026-03-04")],
    "published": {"2026-03-04": [("google", "c1", "p1")], "2026-03-05": [("google", "c1", "p2")]},
    "stages": {day.isoformat(): [*effects.STAGES] for day in DAYS},
}


class Airflow:
    """An api-server whose days ran each DAG once, and `publish_bids` once more on the day of a champion."""

    def __init__(self, **more: int) -> None:
        self._more = more

    def runs(self, key: str) -> list[DagRun]:
        times = {"ingest_market": 1, "publish_bids": 2 if key == "2026-03-04" else 1}
        return [
            DagRun(dag, f"run {number}", key, "success")
            for dag, usual in times.items()
            for number in range(usual + self._more.get(dag, 0))
        ]


def changed(**parts: Any) -> dict[str, Any]:
    return copy.deepcopy(LEFT) | parts


def doubled(left: dict[str, Any], **more: int) -> list[str]:
    return effects.doubled(left, Airflow(**more), DAYS)  # type: ignore[arg-type]


def test_two_runs_that_left_the_same_behind_differ_in_nothing() -> None:
    assert effects.differences(LEFT, copy.deepcopy(LEFT)) == []
    assert effects.skipped(LEFT) == [] and doubled(LEFT) == []


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"landed": {"2026-03-04": {"clicks": "aa"}, "2026-03-05": {"clicks": "XX"}}}, ["landed of 2026-03-05"]),
        ({"landed": {"2026-03-04": {"clicks": "aa"}}}, ["landed of 2026-03-05"]),
        ({"learned": [("2026-03-04", "XX")]}, ["learned"]),
        ({"decided": []}, ["decided"]),
        ({"champions": [(1, "c1", "2026-03-05")]}, ["champions"]),
        ({"published": {**LEFT["published"], "2026-03-04": []}}, ["published of 2026-03-04"]),
    ],
)
def test_another_digest_a_missing_day_and_another_champion_are_each_found(
    parts: dict[str, Any], found: list[str]
) -> None:
    assert effects.differences(LEFT, changed(**parts)) == found


def test_a_day_without_one_of_its_stages_was_skipped() -> None:
    stages = {**LEFT["stages"], "2026-03-05": [name for name in effects.STAGES if name != "train"]}
    assert effects.skipped(changed(stages=stages)) == ["2026-03-05"]


def test_a_run_more_than_was_due_is_doubled_on_each_of_its_days() -> None:
    assert doubled(LEFT, ingest_market=1) == [f"ingest_market of {day} ran 2 times, 1 were due" for day in DAYS]
    [first, second] = doubled(LEFT, publish_bids=1)
    assert first == "publish_bids of 2026-03-04 ran 3 times, 2 were due" and "2026-03-05 ran 2 times" in second


@pytest.mark.parametrize(
    "parts",
    [
        {"decided": LEFT["decided"] * 2},
        {"champions": [(1, "c1", "2026-03-04"), (1, "c2", "2026-03-05")]},
        {"learned": [("2026-03-04", "c1"), ("2026-03-04", "c2")]},
    ],
)
def test_a_decision_a_generation_or_a_version_that_is_there_twice_is_doubled(parts: dict[str, Any]) -> None:
    assert len(doubled(changed(**parts))) == 1
