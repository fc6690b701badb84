"""Materialising a day compares what was served first, and never drops a feature from under the champion."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ml import pipeline
from ml.core.clock import SystemClock
from ml.core.errors import SchemaBreak
from ml.core.settings import load_settings
from ml.ledger import champion, stages, watermarks
from ml.platform import Platform
from ml.promotion import bundle

DAYS = 4
ROOT = Path(__file__).parents[2]
PART = """
import json, sys
from datetime import date
from pathlib import Path
from ml import pipeline
from ml.core.clock import SystemClock
from ml.core.settings import load_settings
from ml.platform import Platform

home, day, part = sys.argv[1:]
settings = load_settings(source="simulator", home=Path(home), simulator_opportunities_per_day=4_000, mail_to="")
done = pipeline.materialize_part(Platform(settings, SystemClock()), date.fromisoformat(day), part=int(part), parts=2)
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, date]:
    """A few days of a simulated market imported, and the next one landed."""
    home = tmp_path_factory.mktemp("materialize")
    settings = load_settings(source="simulator", home=home, simulator_opportunities_per_day=4_000, mail_to="")
    platform = Platform(settings, SystemClock())
    platform.db.migrate()
    first = platform.source.first_day()
    assert first is not None
    last = first + timedelta(days=DAYS - 1)
    pipeline.import_history(platform, first, last)
    pipeline.ingest(platform, last + timedelta(days=1))
    return platform, last + timedelta(days=1)


def record(platform: Platform, day: date) -> Any:
    found = stages.get(platform.db, stages.StageKey(platform.market, "materialize", day))
    assert found is not None
    return {name: value for name, value in found.result.items() if name != "code"}  # which commit did it


def test_an_import_leaves_its_read_back_and_a_repeat_of_the_day_what_was_served(market: tuple[Platform, date]) -> None:
    platform, day = market
    assert record(platform, day - timedelta(days=1))["verified"] > 0
    first = pipeline.materialize(platform, day)["parity"]
    assert first["hotel_traffic"]["compared"] > 0
    assert set(first["hotel_traffic"]["equal"].values()) == {first["hotel_traffic"]["compared"]}
    assert pipeline.materialize(platform, day)["parity"] == first
    assert record(platform, day)["parity"] == first


def test_parts_side_by_side_make_the_day_that_one_task_would_have_made(market: tuple[Platform, date]) -> None:
    platform, day = market
    whole = pipeline.materialize(platform, day)
    # Processes, as tasks are: Feast has one connection to DuckDB in a process.
    command = [sys.executable, "-c", PART, str(platform.settings.home), day.isoformat()]
    started = [
        subprocess.Popen([*command, str(part)], stdout=subprocess.PIPE, text=True, cwd=ROOT) for part in range(2)
    ]
    parts = [json.loads(one.communicate(timeout=300)[0].splitlines()[-1]) for one in started]
    assert [set(part["views"]) for part in parts] == [
        {"agent_history", "company_history"},
        {"hotel_traffic", "segment_history"},
    ]
    assert pipeline.materialized(platform, day, results=parts) == whole
    assert record(platform, day) == whole


def test_more_parts_than_views_leave_some_with_nothing_to_do(market: tuple[Platform, date]) -> None:
    platform, day = market
    parts = [pipeline.materialize_part(platform, day, part=part, parts=9) for part in range(9)]
    assert sum(bool(part["views"]) for part in parts) == 4
    assert set(pipeline.materialized(platform, day, results=parts)["views"]) == set(
        watermarks.all_views(platform.db, platform.market)
    )


def test_a_feature_that_the_champion_reads_is_not_dropped(
    market: tuple[Platform, date], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, day = market
    marks = watermarks.all_views(platform.db, platform.market)
    meta = {"training": {"value": {"inputs": ["lead_days", "agent_gone_28d"]}}}
    monkeypatch.setattr(champion, "current", lambda *_: SimpleNamespace(digest="3fa9c1" * 10))
    monkeypatch.setattr(bundle, "read_bundle", lambda *_: SimpleNamespace(meta=meta))
    with pytest.raises(SchemaBreak, match=r"agent_gone_28d any more, which the value model of champion 3fa9c1"):
        pipeline.materialize(platform, day + timedelta(days=1))
    assert watermarks.all_views(platform.db, platform.market) == marks
