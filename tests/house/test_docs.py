"""Docs and code cannot drift apart: whatever a user can set, call or be mailed about is written down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ml.cli.app import app
from ml.core.settings import Settings
from monitoring.causes import CAUSES

ROOT = Path(__file__).parents[2]
OPERATE = (ROOT / "docs" / "operate.md").read_text()
DOCS = OPERATE + (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_table_with_its_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description, "say what it is for"
    row = re.search(rf"^\| `{name}` \|(.*)\| {re.escape(field.description)} \|$", OPERATE, re.MULTILINE)
    assert row, f"docs/operate.md has no row of {name} that says {field.description!r}"


def commands(group: Any, name: str = "") -> dict[str, Any]:
    """Every command by its full name, those of groups too."""
    found = {}
    for own, command in group.commands.items():
        found |= commands(command, f"{own} ") if hasattr(command, "commands") else {f"{name}{own}": command}
    return found


COMMANDS = commands(get_command(app))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_shows_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert f"bidwright {name}" in DOCS
    assert command.help, "one sentence"
    assert "Example: bidwright" in (command.epilog or "")
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_every_dag_is_in_the_picture_of_a_market_day(path: Path) -> None:
    assert path.stem in OPERATE


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_of_an_incident_is_in_the_table(cause: str) -> None:
    assert re.search(rf"^\| `{cause}(:<stage>)?` \|", OPERATE, re.MULTILINE)


def test_no_document_or_code_names_a_path_of_one_machine() -> None:
    own = re.compile("(?<![a-z.])/(" + "|".join(["wor" + "k", "roo" + "t", "hom" + "e/[a-z]"]) + ")/")
    tracked = [
        path
        for room in ("ml", "monitoring", "dags", "plugins", "local", "feature_repo", "benchmarks", "tests", "docs")
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".md", ".html", ".j2", ".yaml", ".txt"}
    ]
    assert len(tracked) > 100
    assert [str(path) for path in tracked if own.search(path.read_text())] == []
