"""The kill switch as a person calls it: what it says, and its exit codes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from ml.core.settings import load_settings
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.simulator.source import FIRST_DAY

ROOT = Path(__file__).parents[2]
DAY = FIRST_DAY
WORLD = {
    "BIDWRIGHT_SIMULATOR_OPPORTUNITIES_PER_DAY": "400",
    "BIDWRIGHT_SIMULATOR_HOTELS": "20",
    "BIDWRIGHT_SMTP_PORT": "9",
}


def kill_switch(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BIDWRIGHT_", "AIRFLOW"))}
    return subprocess.run(
        [sys.executable, "-m", "ml.cli", "kill-switch", *arguments],
        cwd=ROOT,
        env={**kept, **WORLD, "BIDWRIGHT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def complaint(run: subprocess.CompletedProcess[str], *, code: int) -> str:
    assert run.returncode == code, run.stderr
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("bidwright: ")
    return line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which google has bids out."""
    from datetime import UTC, datetime

    import pandas as pd

    from ml.core.clock import FixedClock
    from ml.ledger import stages
    from ml.platform import Platform
    from ml.steps import publish, switched

    folder = tmp_path_factory.mktemp("kill-switch")
    at = datetime(2026, 3, 6, tzinfo=UTC)
    platform = Platform(load_settings(home=folder, simulator_hotels=20), FixedClock(at))
    platform.db.migrate()
    cell = {
        "partner": "google",
        "market": "DE",
        "device": "mobile",
        "lead_bucket": LEAD_BUCKETS[0],
        "los_bucket": LOS_BUCKETS[0],
    }
    rows = [
        {
            **cell,
            "hotel_id": f"h{n:03d}",
            "clicks_seen": 2,
            "p_book": 0.03,
            "net_value_micros": 4e8,
            "bid_micros": 500_000,
        }
        for n in range(1, 21)
    ]
    table = pd.DataFrame(rows)
    stages.record(platform.db, stages.StageKey(platform.market, "ingest", DAY), status="done", result={}, at=at)
    publish.publish_said(
        platform, DAY, "google", switched.say_as_is(platform, "google", table),
        version="c" * 64, generation=1, policy=publish.bid_policy(platform),
    )  # fmt: skip
    return folder


def test_from_rehearsal_to_release_each_step_says_what_it_did(home: Path) -> None:
    rehearsed = kill_switch(home, "rehearse", "--level", "3", "--partner", "google", "--json")
    assert rehearsed.returncode == 0, rehearsed.stderr
    said = json.loads(rehearsed.stdout)
    assert (said["changed"], said["spend_ratio"], said["day"]) == (20, 0.0, DAY.isoformat())
    assert "no kill switch stands" in kill_switch(home, "status").stdout

    pulled = kill_switch(home, "pull", "--level", "3", "--partner", "google", "--why", "too high", "--by", "anna")
    assert pulled.returncode == 0, pulled.stderr
    assert "kill switch pulled" in pulled.stdout
    status = kill_switch(home, "status")
    assert f"level 3 (pause) at google since {DAY}, by anna: too high" in status.stdout
    with sqlite3.connect(home / "bidwright.db") as db:
        assert db.execute("select count(*) from outbox").fetchone()[0] == 1

    released = kill_switch(home, "release", "--partner", "google", "--why", "mended", "--json")
    assert released.returncode == 0, released.stderr
    assert json.loads(released.stdout)["switch"]["released_why"] == "mended"
    found = json.loads(kill_switch(home, "status", "--json").stdout)
    assert found["active"] == []
    assert found["released"][0]["by"] == "anna"


def test_a_call_that_is_wrong_ends_with_2_and_one_that_cannot_be_done_with_1(home: Path) -> None:
    assert "no kill switch level 7" in complaint(kill_switch(home, "rehearse", "--level", "7"), code=2)
    assert "'bing'" in complaint(kill_switch(home, "rehearse", "--level", "3", "--partner", "bing"), code=2)
    assert "in US" in complaint(kill_switch(home, "rehearse", "--level", "3", "--market-of-sale", "US"), code=2)
    assert "who and why" in complaint(kill_switch(home, "pull", "--level", "3", "--why", " "), code=2)
    assert "no kill switch stands" in complaint(kill_switch(home, "release", "--why", "w"), code=2)
    assert kill_switch(home, "pull", "--level", "3").returncode == 2
    nothing = complaint(kill_switch(home, "rehearse", "--level", "1", "--partner", "google"), code=1)
    assert "use level 3 (pause)" in nothing


def test_a_rehearsal_of_an_earlier_day_looks_at_the_bids_that_stood_then(home: Path) -> None:
    before: date = DAY - timedelta(days=1)
    said = complaint(kill_switch(home, "rehearse", "--level", "3", "--day", before.isoformat()), code=1)
    assert "no bids to switch off" in said
