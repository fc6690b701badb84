"""S3: planted secrets are found in no log, error, traceback or file of a command that fails: 0 of 52."""

from __future__ import annotations

import io
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ml.core.errors import BidwrightError
from ml.core.settings import load_settings
from tests.security.planted import Planted, planted

EVERY = planted()
COMMANDS = (["status"], ["migrate"], ["keys", "list"])
FIRST = {one.setting: one for one in reversed(EVERY)}
"""Of each setting the first: for `bidwright doctor`, which tries every service and takes its time."""


def test_there_are_fifty_and_no_two_are_alike() -> None:
    assert len(EVERY) >= 50
    assert len({one.core for one in EVERY}) == len(EVERY)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """An installation with one secret in it, and nothing else of ours in the environment."""
    one: Planted = request.param
    for name in [name for name in os.environ if name.startswith(("BIDWRIGHT_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    for name, value in one.environment.items():
        monkeypatch.setenv(name, value)
    if one.file:
        (tmp_path / "bidwright.toml").write_text(one.file)
    return one


@contextmanager
def everything_said() -> Iterator[io.StringIO]:
    """What reaches screen or log, from the finest level on but for botocore's wire log, which is off unless asked for."""
    said = io.StringIO()
    handler, root = logging.StreamHandler(said), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def command(arguments: list[str], said: io.StringIO) -> None:
    """`bidwright`, with a traceback where it fails as `--debug` shows it."""
    from typer.main import get_command

    from ml.cli import app as module

    try:
        get_command(module.app).main(args=arguments, prog_name="bidwright", standalone_mode=False)
    except SystemExit:
        pass
    except Exception as error:  # noqa: BLE001  (whatever it is, what it says is looked at)
        said.write("".join(traceback.format_exception(error)) + repr(error))


@pytest.mark.ml_test_score("data5")
@pytest.mark.parametrize("place", EVERY, ids=lambda one: one.core[:4], indirect=True)
def test_no_setting_shows_its_secret_when_it_is_read_printed_or_refused(place: Planted) -> None:
    with everything_said() as said:
        try:
            settings = load_settings()
        except BidwrightError as error:
            said.write("".join(traceback.format_exception(error)) + str(error) + repr(error))
        else:
            said.write(repr(settings) + str(settings) + settings.model_dump_json() + str([*settings.__repr_args__()]))
    assert said.getvalue()
    assert place.core not in said.getvalue()


@pytest.mark.ml_test_score("data5")
@pytest.mark.parametrize("place", EVERY, ids=lambda one: one.core[:4], indirect=True)
def test_no_command_that_fails_shows_it_nor_leaves_it_in_a_file(place: Planted, tmp_path: Path) -> None:
    failed = {}
    for arguments in [*COMMANDS, *([["doctor", "--json"]] if FIRST[place.setting] is place else [])]:
        with everything_said() as said:
            command(arguments, said)
        if place.core in said.getvalue():
            failed[" ".join(arguments)] = next(line for line in said.getvalue().splitlines() if place.core in line)
    assert failed == {}
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "bidwright.toml"]
    assert [path for path in written if place.core.encode() in path.read_bytes()] == []


def refusals() -> dict[str, Callable[[str], Any]]:
    """Ways in which an outside service refuses us, each with a secret in the address that it was asked under."""
    from ml.features.store import FeatureStore
    from ml.lake.blobs import open_blobs
    from ml.lake.lake import Lake
    from ml.ledger.database import Database

    def redis(core: str) -> Any:
        home = Path(os.environ["BIDWRIGHT_HOME"])
        settings = load_settings(home=home, redis=f"127.0.0.1:1,password={core}")
        store = FeatureStore.open(settings, Lake(open_blobs(str(home / "lake"), cache=home / "cache"), "simulator"))
        store.apply()
        import pandas as pd

        return store.read_online("segment_history", pd.DataFrame({"segment": ["online"]}))

    return {
        "database": lambda core: Database.open(f"postgresql://bidwright:{core}@127.0.0.1:1/x").check(),
        "redis": redis,
        "s3": lambda _: open_blobs("s3://b/p", cache=Path("/nowhere"), endpoint="http://127.0.0.1:1").get("k"),
    }


@pytest.mark.parametrize("service", ["database", "redis", "s3"])
def test_no_refusal_of_an_outside_service_shows_the_secret_it_was_asked_with(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "Zqsecretofservice")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "Zqsecretofaws")
    core = "Zqsecretofservice"
    with everything_said() as said, pytest.raises(Exception) as refused:
        refusals()[service](core)
    told = said.getvalue() + "".join(traceback.format_exception(refused.value)) + repr(refused.value)
    assert "Traceback" in told
    assert core not in told and "Zqsecretofaws" not in told
