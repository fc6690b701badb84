"""Scoring adds columns and keeps rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact
from ml.models.scoring import score_bookings, score_traffic
from ml.models.training import train
from tests.models.conftest import AS_OF


@pytest.fixture(scope="module")
def models(rows: dict[str, pd.DataFrame]) -> dict[str, object]:
    return train(rows, as_of=AS_OF, seed=7).by_folder()  # type: ignore[return-value]


def test_bookings_get_an_expected_value_in_place_of_a_realised_one(models, rows) -> None:  # type: ignore[no-untyped-def]
    scored = score_bookings(models, rows["value"])
    assert len(scored) == len(rows["value"])
    np.testing.assert_allclose(scored["net_value_micros"], (1 - scored["p_cancel"]) * scored["value_micros"])
    assert scored["net_value_micros"].dtype == np.float64


def test_traffic_gets_both_probabilities(models, rows) -> None:  # type: ignore[no-untyped-def]
    scored = score_traffic(models, rows["click"])
    assert scored[["p_book", "p_click"]].notna().all().all()
    without = {name: model for name, model in models.items() if name != "click"}
    assert "p_click" not in score_traffic(without, rows["click"])


@pytest.mark.parametrize("score", [score_bookings, score_traffic])
def test_a_version_without_the_model_is_refused(score, rows) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CorruptArtefact, match=r"no (value|conversion) model"):
        score({}, rows["value"])
