"""What the rows about processes do in a process of its own: market, train, ingest, fork.

Usage: python -m tests.faults.campaign.process_child WHAT ARGUMENTS...
"""

from __future__ import annotations

import json
import os
import resource
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from ml.core.clock import FixedClock
from ml.core.settings import load_settings
from ml.core.units import days_between, known_by
from ml.platform import Platform

DAYS = 45


def opened(home: str) -> Platform:
    """A small simulated market."""
    settings = load_settings(
        home=Path(home), source="simulator", simulator_opportunities_per_day=4_000, holdout_days=12,
        mlflow_url="sqlite:////dev/null/mlflow.db",
    )  # fmt: skip
    return Platform(settings, FixedClock(known_by(date(2026, 1, 1))))


def market(home: str) -> str:
    """Land days with their features; the last of them."""
    from ml.features.build import build_days, market_views
    from ml.market.ingest import ingest_range

    Path(home).mkdir(parents=True)
    platform = opened(home)
    platform.db.migrate()
    first = platform.source.first_day()
    assert first is not None
    span = days_between(first, first + timedelta(days=DAYS - 1))
    ingest_range(
        platform.source,
        platform.lake,
        platform.db,
        market=platform.market,
        days=span,
        at=platform.clock.now(),
        progress=None,
    )
    build_days(platform.lake, market_views(platform.lake).values(), span)
    return span[-1].isoformat()


def train(home: str, day: str, limit: str) -> str:
    """Build and register the candidate of a day; its digest as JSON."""
    if int(limit):
        resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    from ml.models.candidate import build_candidate

    return json.dumps({"digest": build_candidate(opened(home), date.fromisoformat(day)).digest})


def ingest(home: str) -> str:
    """Land two days by the machine's clock; the clock and the digests."""
    from ml.core.clock import SystemClock
    from ml.ledger import partitions
    from ml.market.ingest import ingest_day

    Path(home).mkdir(parents=True)
    settings = load_settings(home=Path(home), source="simulator", simulator_opportunities_per_day=400)
    platform = Platform(settings, SystemClock())
    platform.db.migrate()
    sys.stdout.write(f"{datetime.now(UTC).isoformat()}\n")
    first = platform.source.first_day()
    assert first is not None
    found: dict[str, Any] = {}
    for day in (first, first + timedelta(days=1)):
        ingest_day(
            platform.source, platform.lake, platform.db, market=platform.market, day=day, at=platform.clock.now()
        )
        found[day.isoformat()] = dict(partitions.digests(platform.db, platform.market, day))
    return json.dumps(found, sort_keys=True)


def fork(what: str) -> str:
    """Train here, fork, and predict or train in the child."""
    from benchmarks.bid_service_world import fit
    from ml.models.golden import golden_rows
    from ml.models.listing import ListingModel

    artefacts = fit(20, seed=1)
    sys.stdout.write("forked\n")
    sys.stdout.flush()
    if pid := os.fork():
        return f"child ended {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}"
    code = 1
    try:
        if what == "train":
            fit(5, seed=2)
        else:
            rows = golden_rows(artefacts["golden.json"], ListingModel.name)
            ListingModel.load(artefacts).predict(rows)
        code = 0
    finally:
        os._exit(code)


WHAT = {"market": market, "train": train, "ingest": ingest, "fork": fork}

if __name__ == "__main__":
    sys.stdout.write(WHAT[sys.argv[1]](*sys.argv[2:]) + "\n")
