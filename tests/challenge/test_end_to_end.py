"""The challenge as a whole, on a market that is far too small to promote anything on chance alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.challenge.ground import SHARED, YOUNG, Field, Size
from ml.challenge.run import Answer, run_challenge

SMALL = Size(opportunities=3_000, hotels=30, days=44, holdout_days=14, champion_day=24, daily_budget_micros=5_000_000)
NAMES = ["stale_features", "budget_blind", "first_champion"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    field = Field(tmp_path_factory.mktemp("challenge"), 7, SMALL)
    said: list[str] = []
    told: list[Answer] = []
    found = run_challenge(field, NAMES, say=said.append, tell=told.append, workers=1)
    assert [answer.name for answer in found] == NAMES
    assert sorted(answer.name for answer in told) == sorted(NAMES)
    assert said
    assert {path.name for path in Path(field.folder).iterdir()} == {SHARED, YOUNG}
    return {answer.name: answer for answer in found}


def test_features_that_stopped_being_built_are_named_by_the_gate_of_freshness(answers: dict[str, Answer]) -> None:
    found = answers["stale_features"]
    assert (found.promoted, found.right) == (False, True)
    assert "contract_and_freshness" in {one.by for one in found.stopped}
    assert any("features are 30 days behind" in one.reason for one in found.stopped)


def test_a_bad_candidate_leaves_the_champion_where_it_was(answers: dict[str, Answer]) -> None:
    assert not answers["budget_blind"].promoted
    assert answers["budget_blind"].stopped


def test_a_good_candidate_comes_before_the_gates_and_none_of_them_finds_fault_with_its_inputs(
    answers: dict[str, Answer],
) -> None:
    found = {one.by for one in answers["first_champion"].stopped}
    assert not found & {"train", "contract_and_freshness", "leakage", "feature_parity"}
