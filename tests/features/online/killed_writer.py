"""Run as a script: for each place to die, a child that writes into its own copy of a view and is killed there.

    killed_writer.py TEMPLATE OUT FIRST LAST VERSION

writes entities FIRST to LAST at VERSION and prints, as JSON, by which signal each child died.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.features.online import files
from ml.features.online.writer import STEPS, upsert
from tests.features.online.batches import batch, schema_of


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(wanted: str) -> Callable[[str], None]:
    return lambda name: die() if name == wanted else None


def in_the_middle_of_a_file(number: int) -> None:
    """Die with half of an array written, at the given call."""
    whole, calls = files.Appended.write, 0

    def write(self: files.Appended, array: Any) -> None:
        nonlocal calls
        calls += 1
        if calls < number:
            return whole(self, array)
        data = array.tobytes()
        self._file.write(data[: max(1, len(data) // 2)])
        return die()

    files.Appended.write = write  # type: ignore[method-assign]


def main(template: Path, out: Path, first: int, last: int, version: int) -> dict[str, int]:
    died = {}
    for place in [*STEPS, *(f"half of array {number}" for number in range(1, 8))]:
        folder = out / place
        if template.is_dir():
            shutil.copytree(template, folder)
        child = os.fork()
        if child == 0:
            if place not in STEPS:
                in_the_middle_of_a_file(int(place.rsplit(" ", 1)[1]))
            upsert(folder, schema_of(), batch(range(first, last), version), on_step=at_step(place))
            os._exit(0)
        died[place] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return died


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6]))))  # noqa: T201
