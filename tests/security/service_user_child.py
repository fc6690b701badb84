"""Runs as the bid service's user: tries each forbidden thing that it is told of, and says what the kernel answered, as JSON."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attempts(told: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """What is tried, by name.

    Args:
        told: `secrets`, files to read; `files` and `folders` to change; `other`, the number of somebody else's process.
    """
    tried: dict[str, Callable[[], object]] = {
        "become root": lambda: os.setuid(0),
        "join root's group": lambda: os.setgroups([0]),
        "end another's process": lambda: os.kill(told["other"], 0),
        "read another's environment": Path(f"/proc/{told['other']}/environ").read_bytes,
        "read another's memory": Path(f"/proc/{told['other']}/mem").read_bytes,
        "give itself a device": lambda: os.mknod(Path(told["own"]) / "device", 0o020666, os.makedev(1, 1)),
    }
    for name in told["secrets"]:
        tried[f"read {name}"] = Path(name).read_bytes
    for name in told["files"]:
        file = Path(name)
        tried |= {
            f"append to {name}": lambda file=file: file.open("ab"),
            f"replace {name}": lambda file=file: Path(told["own"]).joinpath("new").replace(file),
            f"remove {name}": file.unlink,
            f"let itself change {name}": lambda file=file: file.chmod(0o666),
            f"take {name}": lambda file=file: os.chown(file, os.getuid(), -1),
        }
    for name in told["folders"]:
        folder = Path(name)
        tried |= {
            f"put a file into {name}": lambda folder=folder: (folder / "mine").write_text("mine"),
            f"put a link into {name}": lambda folder=folder: (folder / "link").symlink_to("/"),
            f"rename {name}": lambda folder=folder: folder.rename(folder.with_name("mine")),
        }
    return tried


def answer(attempt: Callable[[], object]) -> str:
    """The kernel's answer by its name in errno; empty where it let it happen."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def main() -> None:
    told = json.load(sys.stdin)
    own = Path(told["own"])
    (own / "new").write_text("what it may: its own folder")
    json.dump({name: answer(attempt) for name, attempt in attempts(told).items()}, sys.stdout)


if __name__ == "__main__":
    main()
