"""The copy of Redis' features beside a bid service: made once for each writing, and never in the way of what serves."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from ml.core.errors import StoreUnavailable
from ml.core.settings import Settings
from ml.serving.follower import Follower, following


class Redis:
    """Says how often features were written, or that it is gone."""

    def __init__(self) -> None:
        self.written = 1
        self.gone = False

    def __call__(self, connection: str, market: str) -> int:
        assert (connection, market) == ("127.0.0.1:1", "m")
        if self.gone:
            raise StoreUnavailable("the Redis 127.0.0.1:1 cannot be used", next="start it")
        return self.written


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, market="m", redis="127.0.0.1:1")


def counting(file: Path) -> list[str]:
    """A command that adds a line to the file, which names the working folder that it was given."""
    return [sys.executable, "-c", f"import os; open({str(file)!r}, 'a').write(os.environ['BIDWRIGHT_HOME'] + chr(10))"]


def test_each_writing_is_copied_once_into_the_working_folder(settings: Settings, tmp_path: Path) -> None:
    copies, redis = tmp_path / "copies", Redis()
    follower = Follower(settings, command=counting(copies), written=redis)
    assert all(follower.turn() for _ in range(3))
    redis.written = 2
    assert all(follower.turn() for _ in range(3))
    assert copies.read_text().splitlines() == [str(settings.home)] * 2


def test_a_redis_that_is_gone_is_told_once_and_followed_again_when_it_is_back(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "bidwright.serve")
    copies, redis = tmp_path / "copies", Redis()
    follower = Follower(settings, command=counting(copies), written=redis)
    redis.gone = True
    assert [follower.turn() for _ in range(3)] == [False] * 3
    assert [record.message.count("127.0.0.1:1") for record in caplog.records] == [1]
    assert not copies.exists()
    redis.gone = False
    assert follower.turn()
    assert copies.exists()


def test_a_copy_that_fails_is_tried_again(settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "bidwright.serve")
    ready = tmp_path / "ready"
    code = f"import pathlib, sys; pathlib.Path({str(ready)!r}).exists() or sys.exit('the disk is full')"
    follower = Follower(settings, command=[sys.executable, "-c", code], written=Redis())
    assert not follower.turn()
    assert "the disk is full" in caplog.text
    ready.touch()
    assert follower.turn()


def test_a_program_that_is_not_there_stops_nothing(settings: Settings) -> None:
    assert not Follower(settings, command=["/not/there"], written=Redis()).turn()


def test_without_a_redis_nobody_follows(settings: Settings) -> None:
    with following(settings.model_copy(update={"redis": ""})) as followed:
        assert not followed
