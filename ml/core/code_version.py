"""Which commit the running code is, and whether it is that commit and nothing besides.

It goes into every bundle's manifest and beside every result in the ledger. Airflow keeps the version of a DAG bundle with
each run of its own; what a task saw of it stands beside ours (`dag`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ml.core.settings import Settings

ROOT = Path(__file__).parents[2]
_GIT_TIMEOUT_S = 20.0

DAG_VERSION: ContextVar[str] = ContextVar("dag_version", default="")
"""The version of the DAG bundle that the running task was read from; empty where it has none."""


@dataclass(frozen=True)
class CodeVersion:
    """A commit (empty: not known) and whether the tree held that commit and nothing else (None: not known)."""

    commit: str = ""
    clean: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """`commit` and `clean`, null where not known; for a manifest, which knows no DAGs."""
        return {"commit": self.commit or None, "clean": self.clean}


UNKNOWN = CodeVersion()


def code_version(settings: Settings) -> CodeVersion:
    """What the setting `code_version` says, else what git says of the folder that this code lies in, else `UNKNOWN`.

    Git is asked once per process: what was changed on disk after a process imported it is not what that process runs.
    """
    if settings.code_version:
        return stated(settings.code_version)
    return _of_git(ROOT)


def commit_of_tree() -> str:
    """The commit of this working tree as git tells it, with a `+` behind it where there are changes besides; empty: not known."""
    found = _of_git(ROOT)
    return found.commit + ("" if found.clean or not found.commit else "+")


def stated(text: str) -> CodeVersion:
    """The version that a setting states: a commit, with a `+` behind it where there were changes besides.

    >>> stated("0123456789abcdef0123456789abcdef01234567+")
    CodeVersion(commit='0123456789abcdef0123456789abcdef01234567', clean=False)
    """
    return CodeVersion(text.removesuffix("+"), clean=not text.endswith("+"))


def of_run(settings: Settings) -> dict[str, Any]:
    """For the ledger: the code of a step's result, and the DAG bundle's version where the step ran in one."""
    dag = DAG_VERSION.get()
    return code_version(settings).as_json() | ({"dag": dag} if dag else {})


@cache
def _of_git(folder: Path) -> CodeVersion:
    """What git says of a folder that is the top of a working tree; of any other, such as site-packages, nothing is known."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != folder.resolve():
        return UNKNOWN
    commit, changes = _git(folder, "rev-parse", "--verify", "HEAD"), _git(folder, "status", "--porcelain")
    if commit is None or changes is None:
        return UNKNOWN
    return CodeVersion(commit, clean=not changes)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, no repository, or no right to read it."""
    program = shutil.which("git")
    if program is None:
        return None
    # A git hook or a rebase that runs us must not lead elsewhere.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603  (a fixed command, no shell)
            [program, "-C", str(folder), "--no-optional-locks", *arguments],
            env=env, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
