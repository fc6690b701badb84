"""Which code this is: one digest of the platform's own sources, the same in a checkout, a container and a worker."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ml.core.digests import Digest, digest_bytes, digest_parts

ROOMS = ("ml", "monitoring", "feature_repo")
"""What decides what a task or the bid service does. DAG files and pages come by ways of their own."""

_ROOT = Path(__file__).parents[2]


@cache
def source_digest() -> Digest:
    """The SHA-256 over every Python file of `ROOMS`, by its path; it needs no version control.

    It is read once per process: what was changed on disk after a process imported it is not what that process runs.
    """
    files = (path for room in ROOMS for path in (_ROOT / room).rglob("*.py"))
    return digest_parts({path.relative_to(_ROOT).as_posix(): digest_bytes(path.read_bytes()) for path in files})
