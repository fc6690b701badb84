"""Which columns are watched, and which of them matter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from monitoring.subject import Subject, day_number, day_numbers, labels

STATISTICS: dict[str, dict[str, Any]] = {
    "rate": {"kind": "number", "importance": 0.6},
    "agent_id": {"kind": "ranked", "importance": 0.3},
    "segment": {"kind": "category", "importance": 0.05},
    "arrival_yearday": {"kind": "number", "importance": 0.05},
}


def test_a_model_is_watched_by_the_columns_and_the_gain_of_its_own_statistics() -> None:
    rows = pd.DataFrame()
    subject = Subject.of_model("bookings", rows, rows, STATISTICS, predict=None)
    assert subject.numeric == ["rate"]
    assert subject.categorical == ["agent_id", "segment"]
    assert subject.important == {"rate", "agent_id"}


def test_columns_that_move_with_the_calendar_are_not_watched() -> None:
    rows = pd.DataFrame()
    assert "arrival_yearday" not in Subject.of_model("b", rows, rows, STATISTICS, predict=None).columns


def test_without_gain_every_column_matters() -> None:
    rows = pd.DataFrame()
    assert Subject("b", rows, rows, ["x"], ["y"]).important == {"x", "y"}
    assert Subject("b", rows, rows, ["x"], ["y"], {"x": 0.0}).important == {"x", "y"}


def test_a_day_is_a_day_in_utc() -> None:
    rows = pd.DataFrame(
        {
            "known_at": pd.to_datetime(
                ["2026-05-20T23:59:59.999999Z", "2026-05-21T00:00:00Z", "2026-05-21T01:00:00+02:00"],
                format="ISO8601",
                utc=True,
            )
        }
    )
    expected = [day_number(datetime(2026, 5, d, tzinfo=UTC).date()) for d in (20, 21, 20)]
    assert day_numbers(rows, "known_at").tolist() == expected


def test_microsecond_and_nanosecond_times_are_the_same_day() -> None:
    times = pd.Series(pd.to_datetime(["2026-05-20T12:00:00Z"]))
    for unit in ("us", "ns", "s"):
        assert day_numbers(pd.DataFrame({"t": times.dt.as_unit(unit)}), "t").tolist() == [20593]


def test_labels_keep_missing_values_missing() -> None:
    assert labels(pd.Series(["a", None, "b"], dtype="category")).tolist() == ["a", None, "b"]
    assert labels(pd.Series([True, None], dtype="boolean")).tolist() == ["True", None]
