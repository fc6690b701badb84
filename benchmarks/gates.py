"""What the gates say of the candidates of real bookings, every other week, on dates that no limit was chosen on.

Ours is the share of candidates with each verdict. A candidate that passes becomes the champion that the next one is
held against, as in the lifecycle; `first_day` and `last_day` can be moved to look at other dates.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import HOTEL_BOOKINGS, Figure, MissingData, run

EVERY_DAYS = 14


def measure(given: argparse.Namespace) -> Mapping[str, Figure]:
    """Import the bookings up to the last day, then train, judge and promote on every fourteenth one."""
    from ml.core.units import days_between, parse_day

    data = Path(given.data)
    if not data.is_dir():
        raise MissingData(f"there is no folder {data}; give the hotel booking demand data with --data")
    with TemporaryDirectory(prefix="bidwright-gates-") as folder:
        platform = _platform(Path(folder), data, last=parse_day(given.last_day))
        days = days_between(parse_day(given.first_day), parse_day(given.last_day))[::EVERY_DAYS]
        found = [_judge(platform, day) for day in days]
    verdicts = Counter(one["verdict"] for one in found)
    return {
        f"share of candidates {verdict}": Figure(verdicts[verdict] / len(found), "share", runs=(float(len(found)),))
        for verdict in ("PASS", "HOLD", "FAIL")
    }


def _platform(home: Path, data: Path, *, last: Any) -> Any:
    from ml import pipeline
    from ml.core.clock import SystemClock
    from ml.core.settings import load_settings
    from ml.evaluation.tracking import prepare
    from ml.platform import Platform

    settings = load_settings(
        source="hotel_bookings", data=str(data.absolute()), home=home, retrain_every_days=EVERY_DAYS, mail_to=""
    )
    platform = Platform(settings, SystemClock())
    platform.db.migrate()
    prepare(settings)
    pipeline.import_history(platform, platform.source.first_day() or last - timedelta(days=730), last)
    return platform


def _judge(platform: Any, day: Any) -> dict[str, Any]:
    """One candidate: its verdict and every gate, told on the way."""
    from ml import pipeline

    pipeline.materialize(platform, day)  # features online: an imported history alone has served nothing to compare
    # As every day: the champion's own bids first, so that a candidate is held against what stands now.
    pipeline.publish_bids(platform, day)
    if pipeline.train(platform, day)["candidate"] is None:
        return {"verdict": "NOT DUE"}
    judged = pipeline.judge(platform, day)
    if judged["verdict"] == "PASS":
        pipeline.promote(platform, day, decision_id=judged["decision_id"])
        pipeline.publish_bids(platform, day)
    open_gates = [
        f"{gate['gate']} {gate['verdict']}: {gate['reason']}" for gate in judged["gates"] if gate["verdict"] != "PASS"
    ]
    sys.stderr.write(f"{day} {judged['verdict']} {'; '.join(open_gates)}\n")
    return judged


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default=str(HOTEL_BOOKINGS), help="folder of the hotel booking demand data")
    parser.add_argument("--first-day", default="2017-04-03", help="the first candidate's market day")
    parser.add_argument("--last-day", default="2017-06-26", help="no candidate after this market day")


if __name__ == "__main__":
    sys.exit(run("gates", measure, arguments=_arguments))
