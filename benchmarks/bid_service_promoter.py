"""Moves a market's champion back and forth while the bid service is under load; one line of JSON per move.

Usage: python -m benchmarks.bid_service_promoter HOME MARKET COUNT PAUSE_SECONDS DIGEST DIGEST. It begins with the first line
that it is sent. Each line says which bundle became champion and when that was committed, on the clock of `time.perf_counter`,
which is one clock for all processes of a machine.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime

from benchmarks.bid_service_world import crown, open_platform
from ml.core.digests import Digest


def main(home: str, market: str, count: int, pause: float, digests: list[Digest]) -> None:
    """Move it so many times, first to the first digest."""
    platform = open_platform(home, market)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, begin + number * pause - time.perf_counter()))
        digest = digests[number % 2]
        crown(platform, digest, datetime.now(UTC))
        print(json.dumps({"digest": digest, "at": time.perf_counter()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), [Digest(text) for text in sys.argv[5:7]])
