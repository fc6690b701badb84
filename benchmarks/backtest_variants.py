"""What an old value model costs, and what each column is worth, on real bookings; the peer is the model of the week."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import HOTEL_BOOKINGS, Figure, MissingData, run
from ml.evaluation.variants import Variant, compare, each_column, without

FIRST, LAST = date(2016, 7, 1), date(2017, 4, 1)
AGES = (7, 28, 56, 84)
HISTORIES = ("agent_*_*d", "company_*_*d", "segment_*_*d")
"""All columns of one history at once: each of them alone is told by its neighbours."""

MAX_LOST = {7: 0.01}
"""A model is in service for two weeks at most where one is trained each week: what the second week costs, as a share of the log loss."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Walk from July 2016 to March 2017 with all of them."""
    folder = Path(given.data)
    if not folder.is_dir():
        raise MissingData(f"there is no folder {folder}; give the hotel booking demand data with --data")
    from ml.core.settings import load_settings
    from ml.market import open_source

    variants = [Variant(age) for age in AGES] if given.what == "ages" else [without(one) for one in HISTORIES]
    if given.what == "columns":
        variants += each_column()
    with TemporaryDirectory(prefix="bidwright-benchmark-") as scratch:
        settings = load_settings(source="hotel_bookings", data=str(folder.absolute()), home=Path(scratch))
        days: dict[str, Any] = {"first": FIRST, "last": LAST, "every_days": given.every}
        found = compare(open_source(settings), settings, variants=variants, progress=_progress, **days)
    figures = {"bookings": Figure(found["rows"], "bookings")}
    for row in found["variants"]:
        figures |= _figures(row, found["model"])
    return figures


def _figures(row: Mapping[str, Any], model: Mapping[str, float]) -> dict[str, Figure]:
    loss, name = row["loss"], row["name"]
    limit = MAX_LOST.get(row["age_days"]) if not row["without"] else None
    return {
        f"{name}: log_loss": Figure(row["log_loss"], "nats", peer=model["log_loss"]),
        f"{name}: lost": Figure(loss["share"], "share of the log loss", limit=limit),
        f"{name}: lost_low": Figure(loss["low"], "nats, 95 % sure that it is more"),
        f"{name}: lost_high": Figure(loss["high"], "nats, 95 % sure that it is less"),
        f"{name}: net_value_ratio": Figure(
            row["net_value_ratio"], "predicted / realised", peer=model["net_value_ratio"]
        ),
    }


def _progress(day: date) -> None:
    sys.stderr.write(f"trained as of {day}\n")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default=str(HOTEL_BOOKINGS), help="folder of the hotel booking demand data")
    parser.add_argument("--what", choices=("ages", "columns"), default="ages", help="older models, or poorer ones")
    parser.add_argument("--every", type=int, default=7, metavar="DAYS", help="retrain every so many days")


if __name__ == "__main__":
    sys.exit(run("backtest_variants", measure, arguments=_arguments))
