"""How long `make demo ONCE=1` takes after installation, and how much memory everything together needs at its peak."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.common import HOTEL_BOOKINGS, ROOT, Figure, MissingData, run
from local.stack import Stack
from local.supervisor import Supervisor

SAMPLE_S = 1.0
LIMIT_S = 300.0
LIMIT_GIB = 3.0


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Tell the whole story once in an empty working folder."""
    source: str = given.source
    data = str(HOTEL_BOOKINGS) if source == "hotel_bookings" else ""
    if data and not HOTEL_BOOKINGS.is_dir():
        raise MissingData(f"{HOTEL_BOOKINGS} is not there: put the hotel booking demand data beside the clone")
    with TemporaryDirectory(prefix="bidwright-demo-") as folder:
        home = Path(folder) / "home"
        log = Path(folder) / "demo.log"
        argv = [sys.executable, "-m", "local", "demo", "--source", source, "--data", data, "--once"]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        began = time.perf_counter()
        with log.open("wb") as out:
            demo = subprocess.Popen(argv, cwd=ROOT, env=env | {"BIDWRIGHT_HOME": str(home)}, stdout=out, stderr=out)
            process, services, peak = psutil.Process(demo.pid), Stack(home).supervisor, 0
            while demo.poll() is None:
                peak = max(peak, _memory_bytes(process, services))
                time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - began
        if demo.returncode != 0:
            raise MissingData(f"the demo failed: {log.read_text()[-500:]}")
    return {
        "wall": Figure(ours=round(seconds, 1), limit=LIMIT_S, unit="s", runs=(round(seconds, 1),)),
        "peak_memory": Figure(ours=round(peak / 2**30, 2), limit=LIMIT_GIB, unit="GiB", runs=(round(peak / 2**30, 2),)),
    }


def _memory_bytes(demo: psutil.Process, services: Supervisor) -> int:
    """Proportional set size of the demo and of every process of its services: pages that several share count once.

    By session and not by environment: several of Airflow's processes write their title over it.
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in {demo, *demo.children(recursive=True), *services.processes()}:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="simulator", choices=["simulator", "hotel_bookings"])


if __name__ == "__main__":
    sys.exit(run("demo", measure, arguments=_arguments))
