"""Ways to walk the same trees, and what a whole request costs: 20 rows x 40 features, 300 trees x 63 leaves.

Every call sees rows that the call before did not see: with the same rows again and again the processor learns their branches by
heart, and compiled trees look eight times as fast as they are. The peer is LightGBM's own `predict`. lleaves, treelite and ONNX Runtime are
measured where they are installed (they are no part of the lock): `--extra <folder>` adds a folder to import from. One that refuses these trees
is left out, and says why.

`request_*` is `look_up` and `decide` of the engines together, per request, features from an online view of 100,000 keys.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import Figure, median, run, stopwatch
from ml.features.online.direct import DirectReader
from ml.features.online.keys import words_of
from ml.features.online.reader import Reader
from ml.features.online.schema import NEVER, Column, Dense, Rows, Schema
from ml.features.online.writer import upsert
from ml.models import lightgbm_text
from ml.models.golden import golden
from ml.models.lightgbm_text import Recipe, TextModel
from ml.models.listing import ListingModel
from ml.models.numbers import Floats
from ml.promotion.bundle import pack
from ml.serving.engine import ListingEngine
from ml.serving.engine_loading import load_engine
from ml.serving.messages import BidRequest, Candidate
from ml.serving.trees import Forest, proof_rows

WIDTH, TREES, LEAVES = 40, 300, 63
FRESH_ROWS, CALLS, RUNS = 20_000, 400, 5
KEYS = 100_000
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
RECIPE = Recipe(
    rounds=TREES, learning_rate=0.05, num_leaves=LEAVES, min_rows_in_leaf=20, feature_fraction=0.7, max_bins=255
)

LIMIT_ALONE_US, LIMIT_TOGETHER_US, TOGETHER, PER_REQUEST = 60.0, 40.0, 8, 20
EXACT = 1e-12

Margin = Callable[[Floats], Floats]


def synthetic(rows: int, *, seed: int) -> Floats:
    """Numbers with a twentieth missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH))
    x[rng.random(x.shape) < 0.05] = np.nan
    return x


def learnt() -> TextModel:
    """Trees of the agreed size."""
    x = synthetic(FRESH_ROWS, seed=1)
    noise = np.random.default_rng(2).normal(size=len(x))
    label = (np.nan_to_num(x[:, 2]) * np.nan_to_num(x[:, 3]) + np.nan_to_num(x[:, 0]) + noise > 0).astype(float)
    return TextModel(lightgbm_text.train(x, label, recipe=RECIPE, seed=1, names=[f"f{n:02d}" for n in range(WIDTH)]))


def ours(model: TextModel) -> Margin:
    """`ml.serving.trees`, without its proof."""
    return Forest.read(model.text).margin


def lleaves(model: TextModel) -> Margin:
    """A compiler of LightGBM's trees to machine code."""
    import lleaves as library  # type: ignore[import-not-found]

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(model.text)
        file.flush()
        found = library.Model(model_file=file.name)
        found.compile(raw_score=True)
    return lambda rows: np.asarray(found.predict(rows, n_jobs=1))


def treelite(model: TextModel) -> Margin:
    """Treelite's own interpreter."""
    import treelite as library  # type: ignore[import-not-found]

    found = library.frontend.from_lightgbm(lightgbm_text.library().Booster(model_str=model.text))
    return lambda rows: np.asarray(library.gtil.predict(found, rows, nthread=1, pred_margin=True)).ravel()


def tl2cgen(model: TextModel) -> Margin:
    """Treelite's trees as C, compiled by gcc."""
    import tl2cgen as library  # type: ignore[import-not-found]
    import treelite as trees

    found = trees.frontend.from_lightgbm(lightgbm_text.library().Booster(model_str=model.text))
    path = Path(tempfile.mkdtemp()) / "trees.so"
    library.export_lib(found, toolchain="gcc", libpath=str(path), params={"parallel_comp": 8}, verbose=False)
    loaded = library.Predictor(str(path), nthread=1)
    return lambda rows: np.asarray(loaded.predict(library.DMatrix(rows, dtype="float64"), pred_margin=True)).ravel()


def onnx(model: TextModel) -> Margin:
    """ONNX Runtime; its converter keeps thresholds as float32, and refuses the objective of cross-entropy."""
    import onnxruntime as runtime  # type: ignore[import-not-found]
    from onnxmltools import convert_lightgbm  # type: ignore[import-not-found]
    from onnxmltools.convert.common.data_types import FloatTensorType  # type: ignore[import-not-found]

    booster = lightgbm_text.library().Booster(model_str=model.text)
    found = convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, WIDTH]))])
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(found.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda rows: np.asarray(session.run(None, {"x": rows.astype(np.float32)})[0], dtype=np.float64).ravel()


ENGINES: dict[str, Callable[[TextModel], Margin]] = {
    "ours": ours,
    "lleaves": lleaves,
    "treelite": treelite,
    "tl2cgen": tl2cgen,
    "onnx": onnx,
}


def call_us(call: Callable[[int], object]) -> tuple[float, ...]:
    """Microseconds of one call, the median of many, for each run; `call` is handed a number that never comes again."""
    found = []
    for at in range(RUNS):
        times = []
        for number in range(CALLS):
            begin = time.perf_counter()
            call(at * CALLS + number)
            times.append(time.perf_counter() - begin)
        found.append(round(median(times) * 1e6, 2))
    return tuple(found)


def of_rows(margin: Margin, rows: int) -> tuple[float, ...]:
    """Microseconds of one call for so many rows."""
    fresh = synthetic(FRESH_ROWS, seed=3)
    return call_us(lambda number: margin(fresh[number * 31 % (FRESH_ROWS - rows) :][:rows]))


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """The engines, then whole requests."""
    sys.path += given.extra
    model = learnt()
    rows = np.concatenate([proof_rows(Forest.read(model.text), seed=4), synthetic(FRESH_ROWS, seed=3)])
    wanted = model.own_margin(rows)
    base = {count: of_rows(model.own_margin, count) for count in (20, 200)}
    figures = {f"lightgbm_{count}_rows": Figure(median(runs), "us a call", runs=runs) for count, runs in base.items()}
    for name in given.engines:
        try:
            with stopwatch() as seconds:
                margin = ENGINES[name](model)
        except (ImportError, NotImplementedError, RuntimeError, OSError) as error:
            sys.stderr.write(f"{name} is left out: {type(error).__name__}: {error}\n")
            continue
        off = float(np.abs(margin(rows) - wanted).max())
        figures[f"{name}_ready"] = Figure(round(seconds[0], 3), "s")
        figures[f"{name}_off_by"] = Figure(off, "log-odds, worst", limit=EXACT)
        for count, theirs in base.items():
            runs = of_rows(margin, count)
            figures[f"{name}_{count}_rows"] = Figure(median(runs), "us a call", peer=median(theirs), runs=runs)
    return figures | requests(model)


@dataclass(frozen=True)
class NoCap:
    """A plan that holds nothing back."""

    digest: str = "0" * 64
    take_share: float = 0.15
    max_bid_micros: int = 10**9
    has_cells: bool = False

    def of(self, cells: Any) -> Any:
        """Nothing is asked of it for listings."""
        raise NotImplementedError


@contextlib.contextmanager
def view_of(values: Floats) -> Iterator[Path]:
    """An online view with these numbers, float32, under the keys l0, l1, ..."""
    columns = tuple(Column(f"f{n:02d}", "f4", "FLOAT") for n in range(values.shape[1]))
    words = words_of(("text",), [[f"l{n}" for n in range(len(values))]], names=["id"])
    numbers = {
        column.name: Dense(values[:, n].astype(np.float32), ~np.isnan(values[:, n])) for n, column in enumerate(columns)
    }
    with tempfile.TemporaryDirectory() as folder:
        at = np.full(len(values), 1, dtype=np.int64)
        upsert(Path(folder), Schema((("id", "text"),), columns), Rows(words, at, np.full(len(values), NEVER), numbers))
        yield Path(folder)


def requests(model: TextModel) -> dict[str, Figure]:
    """A request of 20 listings alone, and eight together, per request."""
    from ml.models.boosted import Boosted
    from ml.models.calibration import Platt
    from ml.models.encoding import Column as Input
    from ml.models.encoding import Encoder

    encoder = Encoder(tuple(Input(f"f{n:02d}", "number", "") for n in range(WIDTH)), {})
    listing = ListingModel(Boosted(encoder, model, -0.3, Platt(0.9, 0.1)))
    some = pd.DataFrame(synthetic(50, seed=9), columns=list(listing.inputs))
    bundle = pack({**listing.artefacts(), "golden.json": golden({"listing": listing}, {"listing": some})}, {})
    figures = {}
    with view_of(synthetic(KEYS, seed=5)) as folder:
        engine = load_engine(bundle, NoCap(), open_view=lambda _, columns: DirectReader(Reader(folder), columns))
        if not isinstance(engine, ListingEngine):
            raise TypeError("another engine was made")
        for name, count, limit in (("alone", 1, LIMIT_ALONE_US), ("of_eight", TOGETHER, LIMIT_TOGETHER_US)):
            asked = [_batch(number, count) for number in range(CALLS * RUNS)]

            def decide(number: int, asked: list[list[BidRequest]] = asked) -> object:
                some = asked[number]
                return engine.decide(some, engine.look_up(some), at_us=0, pacing=0.9)

            runs = tuple(round(us / count, 2) for us in call_us(decide))
            figures[f"request_{name}"] = Figure(median(runs), "us a request", limit=limit, runs=runs)
    return figures


def _batch(number: int, count: int) -> list[BidRequest]:
    first = number * count * PER_REQUEST * 7
    return [
        BidRequest(
            f"{number}.{n}",
            [
                Candidate(f"l{(first + n * PER_REQUEST + at * 13) % KEYS}", value_micros=500_000)
                for at in range(PER_REQUEST)
            ],
        )
        for n in range(count)
    ]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--extra", action="append", default=[], help="a folder to import other engines from")
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))


if __name__ == "__main__":
    sys.exit(run("tree_engines", measure, arguments=_arguments))
