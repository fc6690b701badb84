"""Parse a bundle in a child process that may die of it.

A damaged LightGBM text aborts, crashes or hangs the process that reads it. Before a candidate is registered,
its verified bytes go to a fresh interpreter (started, not forked: LightGBM hangs in a fork) with limits on
memory, processor time and written files and with a bare environment. What comes back is one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ml.core.digests import canonical_json
from ml.core.errors import PermanentError
from ml.promotion.bundle import Bundle
from ml.promotion.manifest import corrupt

TIMEOUT_S = 120.0

COMMAND = (sys.executable, "-P", "-m", "ml.promotion.child")
"""`-P`: the working folder is no place to import from."""

_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
_NUMERIC = ("OPENBLAS_", "NPY_", "MKL_", "GLIBC_TUNABLES")
"""Beginnings of the variables that choose how sums and exponentials are computed, and so their last bits."""


def verify_in_child(bundle: Bundle, *, timeout_s: float = TIMEOUT_S, command: Sequence[str] = COMMAND) -> None:
    """Load the bundle's models and check their golden predictions in a child process.

    Args:
        bundle: from `read_bundle`.
        timeout_s: wall time after which the child is killed, in seconds.
        command: the program that does it; another one only in tests.

    Raises:
        CorruptArtefact: the child found a fault, died by a signal, or took too long.
        PermanentError: the child could not do its work at all; the bundle is not verified.
    """
    try:
        done = subprocess.run(  # noqa: S603  (a fixed command, no shell)
            list(command), input=packed(bundle), capture_output=True, timeout=timeout_s, env=environment(), check=False
        )
    except subprocess.TimeoutExpired as error:
        raise corrupt(f"parsing {bundle.digest[:12]} did not end within {timeout_s:g} s") from error
    if done.returncode < 0:
        raise corrupt(f"parsing {bundle.digest[:12]} killed the process by {_signal_name(-done.returncode)}")
    answer = _answer(done.stdout)
    if done.returncode != 0 or answer is None:
        raise PermanentError(
            f"the bundle {bundle.digest[:12]} could not be checked: {_last_line(done.stderr) or 'no answer'}",
            left="it counts as not verified",
            next="check the installation with: bidwright doctor",
        )
    if answer["fault"]:
        raise corrupt(answer["fault"])


def packed(bundle: Bundle) -> bytes:
    """A line of JSON that names the files and their sizes, then their bytes."""
    files = [[name, len(data)] for name, data in bundle.artefacts.items()]
    head = canonical_json({"digest": bundle.digest, "meta": dict(bundle.meta), "files": files})
    return b"".join([head, b"\n", *bundle.artefacts.values()])


def environment() -> dict[str, str]:
    """What an interpreter needs to start and to compute as this one does; no secrets, one thread."""
    root = str(Path(__file__).parents[2])
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_NUMERIC)}
    return {**kept, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _answer(output: bytes) -> dict[str, str | None] | None:
    """The last line of what the child printed; LightGBM prints lines of its own before."""
    try:
        value = json.loads(_last_line(output))
    except ValueError:
        return None
    return value if isinstance(value, dict) and "fault" in value else None


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
