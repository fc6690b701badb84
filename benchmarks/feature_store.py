"""The feature store: figures of the embedded online store beside Feast's SQLite and Redis stores, in the same run.

Every measurement is made in a process of its own. Redis is measured where a redis-server and the Python package redis are
there. 20 float32 features of entities with whole numbers for keys, DuckDB offline, 50 entities per read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from benchmarks.common import Figure, run
from benchmarks.feature_store_online import online_store

SECTIONS: Mapping[str, Callable[[argparse.Namespace], Mapping[str, Figure]]] = {"online": online_store}
"""What can be measured, by name."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """The figures of the sections asked for."""
    return {name: figure for section in given.sections for name, figure in SECTIONS[section](given).items()}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=1_000_000, help="entities of the large view")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-runs", type=int, default=1, help="0: ours alone")


if __name__ == "__main__":
    sys.exit(run("feature_store", measure, arguments=_arguments))
