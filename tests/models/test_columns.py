"""A frame and plain arrays go through the same functions: what serves says what was judged, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.models import MODELS
from ml.models.encoding import Columns
from ml.models.protocol import BidModel
from ml.models.rival_level import RivalLevel
from ml.models.rows import AUCTIONS
from ml.models.training import train
from tests.models.conftest import AS_OF
from tests.models.test_rival_level import make_auctions

EVERY = pytest.mark.parametrize("name", list(MODELS))
TIMES = ("ts", "check_in", "booked_at")


@pytest.fixture(scope="module")
def fitted(rows: dict[str, pd.DataFrame]) -> dict[str, BidModel]:
    """Every model, the conversion model with a level of rivals."""
    auctions = make_auctions().assign(known_at=AS_OF - pd.Timedelta(days=1))
    return dict(train({**rows, AUCTIONS: auctions}, as_of=AS_OF, seed=7).by_folder())


def strange(rows: pd.DataFrame, model: BidModel, *, seed: int) -> pd.DataFrame:
    """Some rows, with values missing and categories that training did not see."""
    rng = np.random.default_rng(seed)
    found = rows[list(model.inputs)].sample(400, random_state=seed).reset_index(drop=True)
    needed = {*TIMES, "lead_days", "los_nights", "default_date", "hotel_id", "price_micros", "value_micros"}
    for name in set(found.columns) - needed:
        found[name] = found[name].astype(object).where(rng.random(len(found)) > 0.1, None)
    for name in ("hotel_id", "device", "partner", "segment", "user_country"):
        if name in found:
            found[name] = found[name].where(rng.random(len(found)) > 0.1, "never seen")
    return found


def by_hand(rows: pd.DataFrame) -> Columns:
    """The form that a server would give, written without the functions under test."""
    found: dict[str, Any] = {}
    for name in rows.columns:
        if name in TIMES:
            found[name] = np.array([stamp.tz_convert(None) for stamp in rows[name]], dtype="datetime64[us]")
            continue
        values = [None if value is None or value is pd.NA or value != value else value for value in rows[name]]
        texts = any(isinstance(value, str) for value in values)
        found[name] = values if texts else np.array([np.nan if v is None else float(v) for v in values])
    return found


@EVERY
def test_arrays_give_what_a_frame_gives_to_the_last_bit(
    name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]
) -> None:
    model = fitted[name]
    frame = strange(rows[name.removesuffix("_baseline")], model, seed=3)
    wanted, said = model.predict(frame), model.predict_columns(by_hand(frame))
    assert set(said) == set(model.outputs)
    for output in model.outputs:
        np.testing.assert_array_equal(said[output], wanted[output].to_numpy())


@EVERY
def test_a_row_comes_out_the_same_to_the_last_bit_whichever_rows_are_with_it(
    name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]
) -> None:
    model = fitted[name]
    frame = strange(rows[name.removesuffix("_baseline")], model, seed=4).iloc[:60]
    whole = model.predict(frame)
    parts = [model.predict(frame.iloc[at : at + size]) for size in (1, 7) for at in range(0, len(frame), size)]
    for part in parts:
        pd.testing.assert_frame_equal(part, whole.loc[part.index], check_exact=True)


def test_a_level_of_rivals_is_the_same_from_a_frame_and_from_arrays() -> None:
    auctions = make_auctions()
    level = RivalLevel.fit(auctions)
    assert level is not None
    rows = auctions[["partner", "hotel_id", "device", "user_country", "lead_days", "los_nights", "default_date"]]
    rows = rows.assign(price_micros=auctions["price_micros"]).head(500)
    np.testing.assert_array_equal(level.of_columns(by_hand(rows)), level.of(rows))
