"""How long `make install` takes in a fresh clone of what is committed here: the locked environment, with its bytecode."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import ROOT, Figure, MissingData, run, stopwatch

LIMIT_S = 180.0


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:  # noqa: ARG001  (there is nothing to choose)
    """Clone, install, and let the installed command say that it is there."""
    if not (ROOT / ".git").exists():
        raise MissingData(f"{ROOT} is no git checkout, so there is nothing to clone")
    env = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}}
    with TemporaryDirectory(prefix="bidwright-install-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        with stopwatch() as seconds:
            subprocess.run(["make", "--silent", "install"], cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([clone / ".venv/bin/bidwright", "--help"], check=True, env=env, stdout=subprocess.DEVNULL)
    took = round(seconds[0], 1)
    return {"wall": Figure(took, "s", limit=LIMIT_S, runs=(took,))}


if __name__ == "__main__":
    sys.exit(run("install", measure))
