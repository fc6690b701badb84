"""A market that starts with nothing: no history, no features, no champion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ml import pipeline
from ml.core.clock import FixedClock
from ml.core.settings import load_settings
from ml.ledger import incidents
from ml.platform import Platform


def test_the_first_days_go_through_and_training_waits_without_an_alarm(tmp_path: Path) -> None:
    settings = load_settings(source="simulator", home=tmp_path, simulator_opportunities_per_day=400)
    platform = Platform(settings, FixedClock(datetime(2025, 1, 9, tzinfo=UTC)))
    platform.db.migrate()
    first = platform.source.first_day()
    assert first is not None
    for day in (first, first + timedelta(days=1)):
        results = pipeline.run_day(platform, day)
        assert results["settle"]["expected_micros"] is None
        assert results["materialize"]["rows"] > 0
        assert results["publish"]["reason"] == "no champion yet"
        assert results["train"]["reason"].startswith("not yet: the ")
    causes = [incident.cause for incident in incidents.open_incidents(platform.db, platform.market)]
    assert not [cause for cause in causes if cause.startswith("task")]
