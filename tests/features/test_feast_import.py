"""Importing Feast leaves the process as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CODE = """
import warnings, typeguard, ml.features.build
before = typeguard.typechecked, list(warnings.filters)
import ml.features.store
import feast
assert (typeguard.typechecked, list(warnings.filters)) == before
print(feast.__version__)
"""


def test_typeguard_and_the_warning_filters_are_as_before() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", CODE], env=environment, check=True, capture_output=True, text=True)
    assert run.stdout.startswith("0.")
