"""A task that only predicts does not pay for what it does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

PREDICT = """
import sys
from ml.models.lightgbm_import import light_import
with light_import():
    import lightgbm
assert "sklearn" not in sys.modules, "scikit-learn was imported"
import sklearn.isotonic
assert "sklearn" in sys.modules
print(lightgbm.__version__)
"""

AFTER = """
import sklearn
from ml.models.lightgbm_import import light_import
with light_import():
    import lightgbm
print(lightgbm.LGBMModel.__mro__[1].__name__)
"""


@pytest.mark.parametrize(("script", "says"), [(PREDICT, "4."), (AFTER, "_LGBMModelBase")])
def test_lightgbm_is_imported_without_scikit_learn_and_scikit_learn_can_be_imported_afterwards(
    script: str, says: str
) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout or "BaseEstimator" in done.stdout
