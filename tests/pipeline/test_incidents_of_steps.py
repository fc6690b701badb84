"""What a step's outcome does to the incidents: it opens one, keeps it open while its day is broken, and ends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ml import pipeline
from ml.core.clock import FixedClock
from ml.core.errors import SchemaBreak
from ml.core.settings import load_settings
from ml.ledger import incidents, stages
from ml.platform import Platform
from ml.steps import ingest as steps

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    it = Platform(load_settings(home=tmp_path), FixedClock(datetime(2026, 3, 4, tzinfo=UTC)))
    it.db.migrate()
    return it


@pytest.fixture
def ingest(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[[date, Any], None]:
    """Run the step for a day whose delivery is this result, or raises this error."""

    def run(day: date, outcome: Any) -> None:
        def land_day(_: Platform, __: date) -> dict[str, Any]:
            if isinstance(outcome, Exception):
                raise outcome
            return dict(outcome)

        monkeypatch.setattr(steps, "land_day", land_day)
        pipeline.ingest(platform, day)

    return run


def open_causes(platform: Platform) -> list[str]:
    return [incident.cause for incident in incidents.open_incidents(platform.db, platform.market)]


def broken(day: date) -> SchemaBreak:
    return SchemaBreak(f"{day}: bookings lacks the column rate_micros", next="have it corrected")


def test_a_good_day_leaves_the_incident_of_an_earlier_day_that_is_still_broken(
    platform: Platform, ingest: Callable[[date, Any], None]
) -> None:
    with pytest.raises(SchemaBreak):
        ingest(MONDAY, broken(MONDAY))
    assert stages.stopped_days(platform.db, platform.market, "ingest") == [MONDAY]
    ingest(TUESDAY, {"accepted": 1})
    assert open_causes(platform) == ["ingest:schema"]


def test_the_incident_ends_when_every_day_it_is_about_was_delivered_anew(
    platform: Platform, ingest: Callable[[date, Any], None]
) -> None:
    for day in (MONDAY, TUESDAY):
        with pytest.raises(SchemaBreak):
            ingest(day, broken(day))
    ingest(TUESDAY, {"accepted": 1})
    assert open_causes(platform) == ["ingest:schema"]
    ingest(MONDAY, {"accepted": 1})
    assert open_causes(platform) == []


def test_a_day_without_repeated_rows_ends_the_incident_of_repeats(
    platform: Platform, ingest: Callable[[date, Any], None]
) -> None:
    steps._tell_repeated(platform, MONDAY, 3)
    ingest(MONDAY, {"accepted": 1, "repeated": 3})
    assert open_causes(platform) == ["ingest:repeated"]
    ingest(TUESDAY, {"accepted": 1, "repeated": 0})
    assert open_causes(platform) == []
