"""`bidwright rollback`, `rollout` and `bars`, in process, on a ledger with two champions and a candidate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.promotion_world import AT, FIRST, QUICK, SECOND, judge, prepare
from ml.cli.app import app
from ml.core.clock import FixedClock
from ml.core.errors import UsageError
from ml.ledger.database import Database
from ml.promotion.rollout import enqueue, tick

MARKET = "simulator"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_MAIL_TO", "")
    db = Database.open(f"sqlite:///{tmp_path / 'bidwright.db'}")
    db.migrate()
    prepare(db, MARKET)
    return db


@pytest.fixture
def said() -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return json.loads(result.stdout.splitlines()[-1])

    return run


def test_a_rollback_by_hand_bars_the_failed_bundle_and_a_repeated_command_does_not_go_back_twice(
    ledger: Database, said: Callable[..., Any]
) -> None:
    done = said("rollback", "--reason", "twice as high", "--by", "anna")
    assert (done["restored"], done["failed"], done["generation"], done["automatic"]) == (FIRST, SECOND, 3, False)
    with pytest.raises(UsageError, match="is itself a rollback"):
        said("rollback", "--reason", "twice as high", "--by", "anna")
    assert [one["digest"] for one in said("bars", "list")["standing"]] == [SECOND]
    assert said("bars", "lift", SECOND[:6], "--why", "the feed was wrong", "--by", "anna")["lifted_by"] == "anna"
    again = said("rollback", "--reason", "mended", "--by", "anna", "--to", "2")
    assert (again["restored"], again["generation"]) == (SECOND, 4)
    assert [one["why"] for one in said("rollout", "status")["rollbacks"]] == ["mended", "twice as high"]


def test_a_rollback_without_a_generation_stops_the_canary_and_leaves_the_champion(
    ledger: Database, said: Callable[..., Any]
) -> None:
    enqueue(ledger, decision_id=judge(ledger, MARKET), policy=QUICK, at=AT)
    tick(ledger, market=MARKET, stats=None, clock=FixedClock(AT), policy=QUICK)  # type: ignore[arg-type]
    assert said("rollout", "status")["active"]["state"] == "shadow"
    assert said("rollback", "--reason", "odd bids", "--by", "anna")["what"] == "canary"
    status = said("rollout", "status")
    assert status["active"] is None
    assert status["last"][0]["state"] == "rolled_back"


def test_a_rehearsal_is_recorded_and_shown(ledger: Database, said: Callable[..., Any]) -> None:
    assert said("rollout", "status")["drill"] is None
    assert said("rollout", "rehearse")["ok"] is True
    assert said("rollout", "status")["drill"]["ok"] is True


def test_tending_without_a_rollout_does_nothing(ledger: Database, said: Callable[..., Any]) -> None:
    assert said("rollout", "tend")["action"] == "nothing"


def test_lifting_a_bar_that_does_not_stand_is_refused(ledger: Database, said: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="0 bars stand"):
        said("bars", "lift", "abcd", "--why", "x", "--by", "anna")
