"""Two columns that changed places hold the day; columns that only move, or that nobody could tell apart, do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.verdict import Verdict
from monitoring.completeness import guards
from monitoring.findings import Finding
from monitoring.subject import Subject

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
QUIET_MARKETS = 200


def exchanged(one: str, other: str, share: float = 1.0) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Every row's values of the two columns under each other's name, or the first rows' alone."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        rows = np.arange(len(frame)) < share * len(frame)
        a, b = frame[one].to_numpy(), frame[other].to_numpy()
        return frame.assign(**{one: np.where(rows, b, a), other: np.where(rows, a, b)})

    return change


def swaps(subject: Subject, day: date) -> list[Finding]:
    return [finding for finding in guards(subject, day) if finding.check == "swapped"]


def fails(subject: Subject, day: date) -> list[str]:
    return [finding.column for finding in swaps(subject, day) if finding.verdict is Verdict.FAIL]


def drawn(
    draws: Mapping[str, Draw], *, seed: int = 0, days: int = 30, rows: int = 150, text: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame, date]:
    """A day and the days before it, each column as it is drawn for a day's number."""
    rng, last = np.random.default_rng(seed), date(2026, 5, 20)
    frames = []
    for age in range(days, -1, -1):
        day = pd.Timestamp(last - timedelta(days=age), tz="UTC")
        times = day + pd.to_timedelta(np.sort(rng.integers(0, 86_400, rows)), unit="s")
        values = {name: draw(rng, rows, age) for name, draw in draws.items()}
        frames.append(pd.DataFrame({"known_at": times, **values}))
    if text:
        frames = [frame.astype(dict.fromkeys(draws, "string")) for frame in frames]
    return frames[-1], pd.concat(frames[:-1], ignore_index=True), last


@pytest.mark.parametrize(
    ("one", "other"), [("rate", "lead_days"), ("lead_days", "cancel_rate"), ("rate", "cancel_rate")]
)
def test_two_numbers_that_changed_places_fail_and_are_named_and_only_on_the_first_day(
    market: Any, day: date, one: str, other: str
) -> None:
    market.change(exchanged(one, other), first=day)
    [finding] = swaps(market.subject(day), day)
    assert finding.verdict is Verdict.FAIL
    assert f"{one} looks like {other} did" in finding.reason
    assert fails(market.subject(day + timedelta(days=1)), day + timedelta(days=1)) == [], "they may mean that now"


def test_two_labels_that_changed_places_fail() -> None:
    device: Draw = lambda rng, rows, _age: rng.choice(["mobile", "desktop"], rows)  # noqa: E731
    partner: Draw = lambda rng, rows, _age: rng.choice(["google", "trivago", "own"], rows)  # noqa: E731
    now, before, day = drawn({"device": device, "partner": partner}, text=True)
    assert fails(Subject("searches", now, before, [], ["device", "partner"]), day) == []
    mixed = now.rename(columns={"device": "partner", "partner": "device"})
    assert fails(Subject("searches", mixed, before, [], ["device", "partner"]), day) == ["device"]


def test_two_columns_that_are_alike_are_never_called_swapped() -> None:
    """Our price and a rival's: a day on which ours falls and theirs rises is a day of business."""
    price: Draw = lambda rng, rows, _age: rng.lognormal(4.60, 0.5, rows)  # noqa: E731
    rival: Draw = lambda rng, rows, _age: rng.lognormal(4.55, 0.5, rows)  # noqa: E731
    now, before, day = drawn({"price": price, "rival": rival}, rows=5_000)
    assert fails(Subject("searches", exchanged("price", "rival")(now), before, ["price", "rival"]), day) == []


def test_a_column_that_becomes_like_another_one_has_not_changed_places(market: Any, day: date) -> None:
    market.change(lambda frame: frame.assign(rate=frame["lead_days"]), first=day)
    assert fails(market.subject(day), day) == []


def test_columns_that_cross_over_in_the_course_of_weeks_have_not_changed_places() -> None:
    up: Draw = lambda rng, rows, age: rng.normal(10.0 - age * 0.4, 1.0, rows)  # noqa: E731
    down: Draw = lambda rng, rows, age: rng.normal(-2.0 + age * 0.4, 1.0, rows)  # noqa: E731
    for last in range(30):
        draws: dict[str, Draw] = {
            "up": lambda rng, rows, age, last=last: up(rng, rows, age + last - 15),
            "down": lambda rng, rows, age, last=last: down(rng, rows, age + last - 15),
        }
        now, before, day = drawn(draws, days=56)
        assert fails(Subject("searches", now, before, ["up", "down"]), day) == []


def test_quiet_markets_have_no_columns_that_changed_places() -> None:
    """Three columns at all distances from each other, few rows and many, a week of history and two months."""
    alarms = 0
    for seed in range(QUIET_MARKETS):
        rng = np.random.default_rng(seed)
        means, spread = rng.normal(0, 1, 3), rng.uniform(0.1, 1.0)
        draws: dict[str, Draw] = {
            name: lambda rng, rows, _age, at=(mean, spread): rng.normal(at[0] + rng.normal(0, at[1] / 2), at[1], rows)
            for name, mean in zip("abc", means, strict=True)
        }
        now, before, day = drawn(draws, seed=seed, days=int(rng.integers(7, 57)), rows=int(rng.integers(20, 200)))
        alarms += len(fails(Subject("searches", now, before, list("abc")), day))
    assert alarms == 0


@pytest.mark.parametrize(("rows", "days"), [(19, 30), (150, 6)])
def test_too_few_rows_or_days_say_nothing(rows: int, days: int) -> None:
    low: Draw = lambda rng, rows, _age: rng.normal(0, 1, rows)  # noqa: E731
    high: Draw = lambda rng, rows, _age: rng.normal(100, 1, rows)  # noqa: E731
    now, before, day = drawn({"low": low, "high": high}, rows=rows, days=days)
    assert fails(Subject("searches", exchanged("low", "high")(now), before, ["low", "high"]), day) == []
    enough = drawn({"low": low, "high": high}, rows=20, days=7)
    assert fails(Subject("searches", exchanged("low", "high")(enough[0]), enough[1], ["low", "high"]), day) == ["low"]


@pytest.mark.parametrize(("share", "found"), [(0.5, []), (0.9, ["rate"])])
def test_most_of_the_rows_have_to_be_swapped(market: Any, day: date, share: float, found: list[str]) -> None:
    market.change(exchanged("rate", "lead_days", share), first=day)
    assert fails(market.subject(day), day) == found


def test_missing_and_infinite_values_do_not_hide_it(market: Any, day: date) -> None:
    def damaged(frame: pd.DataFrame) -> pd.DataFrame:
        found = exchanged("rate", "lead_days")(frame)
        found.loc[::4, "rate"], found.loc[1::4, "lead_days"] = np.nan, np.inf
        return found

    market.change(damaged, first=day)
    assert fails(market.subject(day), day) == ["rate"]
