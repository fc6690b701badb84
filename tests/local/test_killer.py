"""Parts of Airflow that are killed while market days go through: in turn, at work, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.cluster import campaign
from ml.core.errors import PermanentError, StoreUnavailable, UsageError

DAYS = [date(2026, 3, day) for day in (1, 2)]


@dataclass
class Fake:
    """A cluster, its client and the time of both."""

    now: float = 100.0
    at_work: bool = True
    silent_until: float = 0.0
    done: list[tuple[str, str]] = field(default_factory=list)

    def kill(self, name: str) -> list[int]:
        self.done.append(("killed", name))
        return [4711]

    def start(self, name: str) -> None:
        self.done.append(("started", name))

    def revive(self) -> list[str]:
        return []

    def runs(self, day: str) -> list[Any]:  # noqa: ARG002  (the client's signature)
        if self.now < self.silent_until:
            raise StoreUnavailable("Airflow does not answer")
        return [SimpleNamespace(dag_id="publish_bids", ended=not self.at_work)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(campaign.time, "monotonic", lambda: made.now)
    return made


def live(fake: Fake, killer: campaign.Killer, day: date, *, seconds: int) -> None:
    killer.begin(day)
    for _ in range(10 * seconds):
        fake.now += 0.1
        killer.look()
    killer.finish()


def test_one_is_killed_on_each_day_in_turn_and_comes_back(fake: Fake) -> None:
    killer = campaign.Killer(fake, fake, seed=7, parts=("a", "b"))  # type: ignore[arg-type]
    for day in DAYS:
        live(fake, killer, day, seconds=60)
    assert fake.done == [("killed", "a"), ("started", "a"), ("killed", "b"), ("started", "b")]
    assert [kill.day for kill in killer.kills] == ["2026-03-01", "2026-03-02"]


def test_several_are_killed_on_a_day_each_once_the_last_one_is_back(fake: Fake) -> None:
    killer = campaign.Killer(fake, fake, seed=7, parts=("a", "b", "c"), a_day=3)  # type: ignore[arg-type]
    for day in DAYS:
        live(fake, killer, day, seconds=120)
    assert fake.done == [(what, name) for _ in DAYS for name in "abc" for what in ("killed", "started")]
    assert {kill.at_work == ["publish_bids"] for kill in killer.kills} == {True}


def test_a_part_that_a_short_day_left_out_is_the_first_of_the_next(fake: Fake) -> None:
    killer = campaign.Killer(fake, fake, seed=7, parts=("a", "b", "c"), a_day=3)  # type: ignore[arg-type]
    live(fake, killer, DAYS[0], seconds=7)
    assert [kill.part for kill in killer.kills] == ["a"]
    live(fake, killer, DAYS[1], seconds=120)
    assert [kill.part for kill in killer.kills] == ["a", "b", "c", "a"]


def test_who_knows_what_is_at_work_may_be_away_himself(fake: Fake) -> None:
    killer = campaign.Killer(fake, fake, seed=7, parts=("api-server", "b"), a_day=2)  # type: ignore[arg-type]
    fake.silent_until = fake.now + 40.0
    live(fake, killer, DAYS[0], seconds=120)
    assert [kill.part for kill in killer.kills] == ["api-server", "b"]
    assert killer.kills[0].after_s >= 40.0


def test_a_day_on_which_nothing_was_at_work_shows_nothing_and_is_refused(fake: Fake) -> None:
    fake.at_work = False
    killer = campaign.Killer(fake, fake, seed=7)  # type: ignore[arg-type]
    with pytest.raises(PermanentError, match="2026-03-01 was over before anything was killed"):
        live(fake, killer, DAYS[0], seconds=60)


def test_code_of_no_commit_is_not_compared_with_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the cluster, which is production, its models are stopped; beside it they pass."""
    monkeypatch.setenv("BIDWRIGHT_CODE_VERSION", "0" * 40 + "+")
    with pytest.raises(UsageError, match="changes that are in no commit"):
        campaign.campaign(tmp_path / "home", days=1, seed=7, env=tmp_path / "env")
    assert not (tmp_path / "home").exists()
