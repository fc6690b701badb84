"""Single columns: one that tells the outcome is found, whatever its kind, and chance is not taken for one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.columns import strongest

ROWS = 4_000
RNG = np.random.default_rng(3)
LABEL = (RNG.random(ROWS) < 0.2).astype(float)
DAY = np.arange(ROWS) // 200
NOISE = RNG.normal(size=ROWS)


def found(column: object) -> tuple[str, float]:
    return strongest(pd.DataFrame({"noise": NOISE, "told": column}), ["noise", "told"], LABEL, DAY)


@pytest.mark.parametrize(
    "column",
    [
        np.where(LABEL == 1, 1.0, 0.0),
        np.where(LABEL == 1, np.nan, NOISE),
        np.where(LABEL == 1, NOISE % 0.1, 5 + NOISE),
        np.where(LABEL == 1, "late", "early"),
        pd.Series(np.where(LABEL == 1, None, "x"), dtype=object),
        pd.to_datetime(np.where(LABEL == 1, "2025-01-05", "2025-01-01"), utc=True),
        np.where(LABEL == 1, np.abs(NOISE) + 9, np.where(NOISE > 0, 20 + NOISE, NOISE)),
    ],
    ids=["flag", "missing", "number", "category", "missing category", "time", "in the middle"],
)
def test_a_column_that_was_filled_in_after_the_outcome_is_named(column: object) -> None:
    name, area = found(column)
    assert name == "told"
    assert area > 0.97


def test_a_category_of_its_own_for_every_row_tells_nothing() -> None:
    assert found([f"id-{number}" for number in range(ROWS)])[1] < 0.55


def test_chance_is_not_taken_for_a_finding() -> None:
    assert found(RNG.integers(0, 500, ROWS))[1] < 0.55


def test_a_single_day_is_halved_by_rows() -> None:
    rows = pd.DataFrame({"told": LABEL})
    assert strongest(rows, ["told"], LABEL, np.zeros(ROWS))[1] == 1.0


def test_without_columns_or_without_both_outcomes_there_is_no_number() -> None:
    assert np.isnan(strongest(pd.DataFrame({"a": LABEL}), [], LABEL, DAY)[1])
    assert np.isnan(strongest(pd.DataFrame({"a": NOISE}), ["a"], np.zeros(ROWS), DAY)[1])
