"""Toxics between a cluster's workers and Airflow's API (R10): one kind on each day, while it is at work, gone when it is over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ml.core.errors import PermanentError
from tests.faults.campaign import poisoned_cluster
from tests.faults.campaign.poisoned_cluster import TOXICS, Poisoner

FIRST = date(2026, 3, 1)


@dataclass
class Fake:
    """A door, its client and the time of both; somebody asks each second."""

    now: float = 100.0
    at_work: bool = True
    asked: bool = True
    toxics: list[Any] = field(default_factory=list)
    is_down: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def down(self) -> None:
        self.is_down = True
        self.counts["down"] += 1

    def up(self) -> None:
        self.is_down = False

    def runs(self, _day: str) -> list[Any]:
        return [SimpleNamespace(dag_id="publish_bids", ended=not self.at_work)]

    def pass_on(self) -> None:
        self.now += 1.0
        if self.asked:
            self.counts.update(toxic.name for toxic in self.toxics)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(poisoned_cluster.time, "monotonic", lambda: made.now)
    return made


def live(fake: Fake, poisoner: Poisoner, day: date, *, seconds: int = 120) -> None:
    poisoner.begin(day)
    for _ in range(seconds):
        fake.pass_on()
        poisoner.look()
    poisoner.finish()


def poisoner_of(fake: Fake, *, a_day: int = 3) -> Poisoner:
    return Poisoner(fake, fake, list, seed=7, a_day=a_day)  # type: ignore[arg-type]


def test_each_day_has_its_toxic_in_doses_that_did_something_and_are_over_with_it(fake: Fake) -> None:
    poisoner = poisoner_of(fake)
    for number, kind in enumerate(TOXICS):
        live(fake, poisoner, FIRST + timedelta(days=number))
        assert [dose.kind for dose in poisoner.doses[-3:]] == [kind] * 3
        assert not fake.toxics
        assert not fake.is_down
    assert len(poisoner.doses) == 3 * len(TOXICS)
    assert all(dose.befell and dose.at_work == ["publish_bids"] and dose.seconds >= 4 for dose in poisoner.doses)


def test_a_dose_lasts_until_somebody_asked(fake: Fake) -> None:
    poisoner, fake.asked = poisoner_of(fake, a_day=1), False
    poisoner.begin(FIRST)
    for second in range(60):
        fake.asked = second > 25
        fake.pass_on()
        poisoner.look()
    poisoner.finish()
    assert [dose.befell > 0 for dose in poisoner.doses] == [True]
    assert poisoner.doses[0].seconds > 15


def test_a_dose_that_a_day_ends_in_is_taken_away(fake: Fake) -> None:
    poisoner = poisoner_of(fake)
    live(fake, poisoner, FIRST, seconds=8)
    assert len(poisoner.doses) == 1
    assert not fake.toxics


def test_a_day_on_which_nothing_was_at_work_shows_nothing_and_is_refused(fake: Fake) -> None:
    fake.at_work = False
    with pytest.raises(PermanentError, match="2026-03-01 was over before anything befell it"):
        live(fake, poisoner_of(fake), FIRST)
