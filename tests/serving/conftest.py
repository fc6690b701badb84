"""Rows to train the engines' models on: the small market of the models' own tests."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.models.conftest import AS_OF, clicks_known, make_offers


@pytest.fixture(scope="session")
def searches() -> dict[str, pd.DataFrame]:
    """Rows of the conversion and the click model."""
    offers = make_offers()
    return {"conversion": clicks_known(offers, AS_OF), "click": offers[offers["ts"] < AS_OF].reset_index(drop=True)}
