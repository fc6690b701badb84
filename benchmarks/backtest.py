"""Quality of the value model on real bookings, retrained weekly; ours is the model, the peer the logistic baseline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import HOTEL_BOOKINGS, Figure, MissingData, run, stopwatch

FIRST, LAST, EVERY_DAYS = date(2016, 7, 1), date(2017, 4, 1), 7

LIMITS: Mapping[str, Mapping[str, float]] = {
    "2016Q3": {"auc": 0.742, "log_loss": 0.561},
    "2016Q4": {"auc": 0.828, "log_loss": 0.489},
    "2017Q1": {"auc": 0.806, "log_loss": 0.487},
}
"""The same weekly retraining of the model before this one: trees on expected labels of open bookings."""

MAX_VALUE_ERROR = 0.04
MAX_SECONDS = 180.0


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Walk from July 2016 to March 2017."""
    folder = Path(given.data)
    if not folder.is_dir():
        raise MissingData(f"there is no folder {folder}; give the hotel booking demand data with --data")
    from ml.core.settings import load_settings
    from ml.evaluation.backtest import backtest
    from ml.market import open_source

    with TemporaryDirectory(prefix="bidwright-benchmark-") as scratch, stopwatch() as seconds:
        settings = load_settings(source="hotel_bookings", data=str(folder.absolute()), home=Path(scratch))
        found = backtest(open_source(settings), settings, first=FIRST, last=LAST, every_days=EVERY_DAYS)
    figures = {key: f for quarter in found["quarters"] for key, f in quarter_figures(quarter).items()}
    return figures | {"wall": Figure(round(seconds[0], 1), "s", limit=MAX_SECONDS, runs=(round(seconds[0], 1),))}


def quarter_figures(quarter: Mapping[str, Any]) -> dict[str, Figure]:
    """AUC, log loss, predicted / realised net value and its distance from 1, of one quarter."""
    name, model, logistic = quarter["quarter"], quarter["model"], quarter["logistic"]
    limits = LIMITS.get(name, {})
    figures = {
        f"{name} {what}": Figure(model[what], unit, peer=logistic[what], limit=limits.get(what), runs=(model[what],))
        for what, unit in (("auc", "share"), ("log_loss", "nats"), ("net_value_ratio", "predicted / realised"))
    }
    error, theirs = (round(abs(who["net_value_ratio"] - 1), 6) for who in (model, logistic))
    return figures | {f"{name} value_error": Figure(error, "share", peer=theirs, limit=MAX_VALUE_ERROR, runs=(error,))}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default=str(HOTEL_BOOKINGS), help="folder of the hotel booking demand data")


if __name__ == "__main__":
    sys.exit(run("backtest", measure, arguments=_arguments))
