"""The matrix of a model depends on the codes learned in training, never on the rows at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, SchemaBreak
from ml.models.encoding import Column, Encoder

COLUMNS = (
    Column("nights", "nights", "length of stay"),
    Column("meal", "kinds", "board", "category"),
    Column("agent_id", "agents", "agent", "ranked"),
)
TRAINING = pd.DataFrame(
    {"nights": [1, 2, 3, 4], "meal": ["HB", "BB", "BB", None], "agent_id": ["9", "240", "240", None]}
)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder.fit(COLUMNS, TRAINING)


def test_categories_are_coded_by_name_and_identities_by_rank(encoder: Encoder) -> None:
    assert encoder.matrix(TRAINING).tolist()[:3] == [[1, 1, 1], [2, 0, 0], [3, 0, 0]]


def test_a_category_that_training_did_not_see_is_missing(encoder: Encoder) -> None:
    new = pd.DataFrame({"nights": [2], "meal": ["SC"], "agent_id": ["77"]})
    assert np.isnan(encoder.matrix(new)[0, 1:]).all()


def test_codes_do_not_depend_on_which_rows_are_encoded(encoder: Encoder) -> None:
    whole = encoder.matrix(TRAINING)
    one_by_one = np.vstack([encoder.matrix(TRAINING.iloc[[n]]) for n in range(len(TRAINING))])
    np.testing.assert_array_equal(whole, one_by_one)


def test_codes_do_not_depend_on_the_order_of_the_training_rows(encoder: Encoder) -> None:
    assert Encoder.fit(COLUMNS, TRAINING.iloc[::-1]) == encoder


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, np.inf, -np.inf])
def test_missing_and_not_finite_numbers_are_missing(encoder: Encoder, missing: object) -> None:
    rows = pd.DataFrame({"nights": pd.Series([missing], dtype=object), "meal": ["BB"], "agent_id": ["9"]})
    assert np.isnan(encoder.matrix(rows)[0, 0])


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float64", "object", "float32"])
def test_a_number_reads_the_same_in_every_type(encoder: Encoder, dtype: str) -> None:
    rows = TRAINING.astype({"nights": dtype})
    np.testing.assert_array_equal(encoder.matrix(rows)[:, 0], [1, 2, 3, 4])


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_a_category_reads_the_same_in_every_type(encoder: Encoder, dtype: str) -> None:
    np.testing.assert_array_equal(encoder.matrix(TRAINING.astype({"meal": dtype}))[:, 1], [1, 0, 0, np.nan])


def test_a_column_that_is_not_there_is_named(encoder: Encoder) -> None:
    with pytest.raises(SchemaBreak, match="'meal'"):
        encoder.matrix(TRAINING.drop(columns="meal"))


def test_it_reads_back_from_json(encoder: Encoder) -> None:
    assert Encoder.from_json(encoder.to_json()) == encoder


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"columns": [], "categories": []},
        {"columns": [{"name": "x"}], "categories": {}},
        {"columns": [{"name": "x", "unit": "", "meaning": "", "kind": "category"}], "categories": {}},
    ],
)
def test_a_feature_list_of_another_form_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(CorruptArtefact):
        Encoder.from_json(value)


def test_no_rows_give_an_empty_matrix(encoder: Encoder) -> None:
    assert encoder.matrix(TRAINING.iloc[:0]).shape == (0, 3)
