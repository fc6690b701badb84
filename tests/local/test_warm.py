"""What the scheduler has imported, its forks can use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

FORK = """
import os, sys
from local.warm import warm_up
warm_up()
assert {"lightgbm", "evidently", "duckdb"} <= set(sys.modules), "nothing was imported before the fork"
child = os.fork()
if not child:
    import duckdb
    import numpy as np
    import pandas as pd
    from ml.models.lightgbm_text import Recipe, TextModel, train
    from monitoring.distances import JENSEN_SHANNON, WASSERSTEIN
    from monitoring.drift import _evaluate
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4_000, 3))
    text = train(x, (x[:, 0] > 0).astype(float), recipe=Recipe(rounds=20), seed=1, names=("a", "b", "c"))
    assert TextModel(text).margin(x)[x[:, 0] > 1].min() > 0
    assert duckdb.sql("select sum(i) from range(1000000) t(i)").fetchall() == [(499999500000,)]
    now, before = (pd.DataFrame({"a": rng.normal(shift, 1, 500), "b": ["u", "v"] * 250}) for shift in (3, 0))
    scores, html = _evaluate(now, before, {"a": WASSERSTEIN, "b": JENSEN_SHANNON}, {"a": 0.1, "b": 0.1})
    assert scores["a"] > 1 and html
    print("done", flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_of_the_scheduler_trains_predicts_queries_and_compares_with_what_was_imported_before_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr
