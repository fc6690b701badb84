"""The stories of the demo, and the settings that they are told with."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import pytest

from local.scenario import choose
from ml.core.errors import NoData, UsageError


def test_the_simulator_has_sixty_days_of_history_and_a_price_war_on_the_fifth_day() -> None:
    story = choose("simulator", "")
    assert story.history_first is not None
    assert (story.history_last - story.history_first).days == 59
    assert len(story.days) == 7
    assert story.settings["simulator_shock_day"] == story.days[4].isoformat()


def test_real_bookings_are_lived_through_from_october_2016(tmp_path: Path) -> None:
    story = choose("hotel_bookings", str(tmp_path))
    assert story.days == [date(2016, 10, n) for n in range(1, 8)]
    assert story.data == str(tmp_path)


def test_the_settings_file_says_what_the_story_wants(tmp_path: Path) -> None:
    settings = tomllib.loads(choose("hotel_bookings", str(tmp_path)).toml())
    assert settings == {
        "source": "hotel_bookings",
        "data": str(tmp_path),
        "schedule": "none",
        "retrain_every_days": 4,
    }


def test_a_missing_folder_or_an_unknown_source_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="is not there"):
        choose("hotel_bookings", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="reads a folder"):
        choose("hotel_bookings", "")
    with pytest.raises(UsageError, match="no story for the source 'trivago'"):
        choose("trivago", "")
