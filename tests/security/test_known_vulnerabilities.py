"""S6: what is known of the lock's vulnerabilities is told, and what could not be looked up is never told as "none"."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local import audit as module
from local.audit import Audit, audit, main, parse

ROOT = Path(__file__).parents[2]
CLEAN: dict[str, Any] = {"name": "good", "version": "1.0", "vulns": []}
LEFT_OUT = {"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited: jinja2 (3.1.2)"}
BAD = {"name": "bad", "version": "0.1", "vulns": [{"id": "CVE-2026-0001", "fix_versions": ["0.2"], "aliases": []}]}


def answer(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


@pytest.mark.parametrize(
    ("packages", "state"),
    [
        ([CLEAN], "none known"),
        ([CLEAN, LEFT_OUT], "not checked"),
        ([LEFT_OUT], "not checked"),
        ([], "not checked"),
        ([CLEAN, LEFT_OUT, BAD], "found"),
    ],
)
def test_none_is_said_only_where_every_package_was_looked_up(packages: list[dict[str, Any]], state: str) -> None:
    assert parse(answer(*packages)).state == state


@pytest.mark.parametrize(
    "text", ["", "No known vulnerabilities found", "{}", '{"dependencies": [1]}', '{"dependencies": [{"vulns": [{}]}]}']
)
def test_an_answer_of_another_form_checked_nothing(text: str) -> None:
    def ran(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, stdout=text, stderr="a warning\nno route to the database\n")

    found = audit(["pip-audit"], ran)
    assert (found.state, found.why) == ("not checked", "no route to the database")


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no such file"), subprocess.TimeoutExpired("pip-audit", 1)])
def test_a_tool_that_does_not_run_checked_nothing(error: Exception) -> None:
    def fails(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        raise error

    assert audit(["pip-audit"], fails).state == "not checked"


@pytest.mark.parametrize(
    ("found", "strict", "code"),
    [
        (parse(answer(CLEAN)), True, 0),
        (parse(answer(BAD)), False, 1),
        (Audit((), 0, {}, why="unreachable"), False, 0),
        (Audit((), 0, {}, why="unreachable"), True, 1),
    ],
)
def test_a_release_fails_on_what_was_not_checked_and_everything_on_what_was_found(
    found: Audit,
    strict: bool,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "audit", lambda _: found)
    arguments = ["--tool", "pip-audit", "--lock", "requirements.txt", "--out", str(tmp_path / "deep" / "audit.json")]
    assert main(arguments + (["--strict"] if strict else [])) == code
    assert json.loads((tmp_path / "deep" / "audit.json").read_text())["state"] == found.state
    assert f"known vulnerabilities: {found.state}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-bootstrap.txt", "requirements-tools.txt"])
def test_every_package_of_a_lock_is_pinned_with_hashes_and_from_no_index_of_its_own(name: str) -> None:
    text = (ROOT / name).read_text()
    packages = [line for line in text.splitlines() if line and line[0].isalnum()]
    assert packages and all("==" in line and line.endswith("\\") for line in packages)
    assert text.count("--hash=sha256:") >= len(packages)
    said = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert "index-url" not in said and "://" not in said
