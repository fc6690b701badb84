"""Lives of a worker that end by SIGKILL, one fork each: `event_log_child.py FOLDER LIVES [MEMORY]` prints a line of JSON per life.

Each life appends decisions and tells its parent of each before it is appended and of what counted as durable. It is killed
at a point of its own: after so many decisions, in the middle of a write, before or after a sync, before or after a seal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from ml.serving.event_log import Disk, EventLog
from tests.serving.event_log_samples import Decision

POINTS = ("decisions", "write", "sync", "synced", "rename", "renamed")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Disk):
    """Dies at the `nth` time that a point is reached; a write dies after a part of its bytes."""

    def __init__(self, point: str, nth: int, rng: random.Random) -> None:
        self.point, self.left, self.rng = point, nth, rng

    def _reached(self, point: str) -> bool:
        if point != self.point:
            return False
        self.left -= 1
        return self.left <= 0

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        if self._reached("write"):
            os.pwrite(handle, bytes(data)[: self.rng.randrange(len(data))], offset)
            die()
        return super().write(handle, data, offset)

    def sync(self, handle: int) -> None:
        if self._reached("sync"):
            die()
        super().sync(handle)
        if self._reached("synced"):
            die()

    def rename(self, old: Path, new: Path) -> None:
        if self._reached("rename"):
            die()
        super().rename(old, new)
        if self._reached("renamed"):
            die()


def live(folder: Path, memory: Path | None, life: int, tell: int) -> None:
    rng = random.Random(life)  # noqa: S311
    point = POINTS[life % len(POINTS)]
    nth = rng.randrange(1, 4 if point.startswith("rename") else 12)
    log = EventLog(
        folder, market="m", worker=str(life), disk=Deadly(point, nth, rng), segment_bytes=20_000, segment_s=0.05,
        sync_s=0.001, memory=memory,
    )  # fmt: skip
    most = rng.randrange(1, 3000) if point == "decisions" else 1_000_000
    number = 0
    while number < most:
        batch = [
            Decision(trace_id=f"{life:08x}{number + one:024x}", body=b"x" * rng.randrange(2000))
            for one in range(rng.randrange(1, 9))
        ]
        os.write(tell, b"".join(b"a" for _ in batch))  # answered from here on, as far as the parent knows
        log.append(batch)
        number += len(batch)
        os.write(tell, b"d" + log.counts()["logged"].to_bytes(4, "little"))
        time.sleep(0.0002)
    die()


def told(data: bytes) -> tuple[int, int]:
    """How many decisions were answered, and how many were told to be durable."""
    answered = durable = at = 0
    while at < len(data):
        if data[at : at + 1] == b"a":
            answered, at = answered + 1, at + 1
        else:
            durable, at = int.from_bytes(data[at + 1 : at + 5], "little"), at + 5
    return answered, durable


def main(folder: Path, lives: int, memory: Path | None) -> None:
    for life in range(lives):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            live(folder, memory, life, writing)
        os.close(writing)
        data = b""
        while chunk := os.read(reading, 1 << 16):
            data += chunk
        os.close(reading)
        _, status = os.waitpid(child, 0)
        answered, durable = told(data)
        line = {"life": life, "signal": os.WTERMSIG(status), "answered": answered, "durable": durable}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] else None)
