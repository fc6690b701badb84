"""Plots are PNG bytes of the numbers, drawn without a display and without global state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.evaluation.plots import calibration_plot, gain_plot, importance_plot

PNG = b"\x89PNG\r\n\x1a\n"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.random(500)
    return (rng.random(500) < p).astype(float), p


def test_the_same_numbers_give_the_same_picture(sample: tuple[np.ndarray, np.ndarray]) -> None:
    for draw in (calibration_plot, gain_plot):
        first = draw(*sample, title="t")
        assert first.startswith(PNG)
        assert draw(*sample, title="t") == first
        assert draw(sample[0], 1 - sample[1], title="t") != first


def test_importance_shows_the_largest() -> None:
    shares = {f"feature_{n}": n / 100 for n in range(40)}
    picture = importance_plot(shares, title="t")
    assert picture.startswith(PNG)
    assert importance_plot({**shares, "feature_0": 0.001}, title="t") == picture  # too small to be shown
    assert importance_plot({**shares, "feature_0": 0.9}, title="t") != picture


@pytest.mark.parametrize("rows", [0, 1])
def test_next_to_no_rows_still_draw(rows: int) -> None:
    label, p = np.ones(rows), np.full(rows, 0.5)
    assert calibration_plot(label, p, title="t").startswith(PNG)
    assert gain_plot(label, p, title="t").startswith(PNG)


def test_no_window_system_is_touched() -> None:
    program = (
        "import sys; import numpy as np; from ml.evaluation.plots import gain_plot;"
        "gain_plot(np.ones(3), np.ones(3), title='t'); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
