"""A plan and online features in memory, and small bundles, for the engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.core.digests import digest_bytes
from ml.core.errors import NoData
from ml.models.golden import golden
from ml.models.lightgbm_text import Recipe
from ml.models.listing import ListingModel
from ml.models.training import train
from ml.promotion.bundle import Bundle, pack
from ml.serving.engine_protocol import Matrix
from tests.models.conftest import AS_OF

LISTING_COLUMNS = tuple(f"n{number:02d}" for number in range(6))
SMALL = Recipe(rounds=30, num_leaves=15, min_rows_in_leaf=20)


@dataclass(frozen=True)
class Rows:
    retained: Any
    shading: Any
    last_bid_micros: Any
    cap_micros: Any


@dataclass(frozen=True)
class FixedPlan:
    """The same for every cell, but for what `hotels` says of some: (retained, shading, cap)."""

    digest: str = "p" * 64
    take_share: float = 0.15
    max_bid_micros: int = 2_000_000
    has_cells: bool = True
    hotels: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)

    def of(self, cells: Mapping[str, Any]) -> Rows:
        said = [self.hotels.get(hotel, (0.8, 0.7, self.max_bid_micros)) for hotel in cells["hotel_id"].tolist()]
        retained, shading, cap = map(np.array, zip(*said, strict=True))
        return Rows(retained, shading, np.full(len(said), -1), cap)


@dataclass
class Table:
    """Online features by key; `gone` says that nothing can be read."""

    columns: Sequence[str]
    rows: Mapping[tuple[str, ...], Sequence[float]]
    dtype: Any = np.float32
    gone: bool = False
    not_before_us: int | None = None

    def read(self, *keys: Sequence[str], not_before_us: int | None = None) -> Matrix:
        if self.gone:
            raise NoData("there are no features")
        self.not_before_us = not_before_us
        nothing = [np.nan] * len(self.columns)
        found = [self.rows.get(key, nothing) for key in zip(*keys, strict=True)]
        return np.array(found, dtype=self.dtype).reshape(len(found), len(self.columns))


def made(files: Mapping[str, bytes], meta: Mapping[str, Any] | None = None) -> Bundle:
    return pack(files, meta or {})


def itinerary_bundle(rows: Mapping[str, pd.DataFrame], *, click: bool = True) -> Bundle:
    wanted = {name: frame for name, frame in rows.items() if name != "value" and (click or name != "click")}
    return made(train(wanted, as_of=AS_OF, seed=7).artefacts(wanted))


def listing_rows(count: int = 4_000, *, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, len(LISTING_COLUMNS)))
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    score = np.nan_to_num(numbers[:, 0]) - np.nan_to_num(numbers[:, 1]) ** 2 - 1.0
    ts = pd.Series(AS_OF - pd.to_timedelta(1 + 20 * rng.random(count), unit="D")).dt.as_unit("us")
    clicked = rng.random(count) < 1 / (1 + np.exp(-score))
    frame = pd.DataFrame(numbers, columns=list(LISTING_COLUMNS))
    ids = [f"l{number}" for number in range(count)]
    return frame.assign(id=ids, ts=ts, known_at=ts, clicked_known_at=ts.where(clicked))


def listing_bundle(rows: pd.DataFrame) -> Bundle:
    model = ListingModel.fit(rows, as_of=AS_OF, seed=3, recipe=SMALL)
    return made({**model.artefacts(), "golden.json": golden({"listing": model}, {"listing": rows})})


def damaged(bundle: Bundle, name: str, old: bytes, new: bytes) -> Bundle:
    """The bundle with other bytes in one file, as if it had been made so."""
    data = bundle.artefacts[name].replace(old, new, 1)
    assert data != bundle.artefacts[name]
    return replace(bundle, artefacts={**bundle.artefacts, name: data}, digest=digest_bytes(data))
