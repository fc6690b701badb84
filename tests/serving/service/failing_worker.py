"""A worker of the bid service on the real ledger whose engines fail for a share of the requests, by bundle."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from ml.core.clock import Clock
from ml.core.settings import Settings
from ml.serving import wiring
from ml.serving.engine_protocol import Engine, Matrix, Pacing
from ml.serving.joints import Parts
from ml.serving.messages import BidRequest, Scored
from ml.serving.worker import main

FAILING = "TEST_FAILING"
"""Environment variable: the share of requests that each bundle's model fails for, as JSON by digest."""


class Failing:
    """Fails for the keys that lie below a share; for one of them always, so that asking again does not help."""

    def __init__(self, inner: Engine, share: float) -> None:
        self._inner, self._below = inner, share * 2**32
        self.digest, self.plan, self.layout = inner.digest, inner.plan, inner.layout
        self.look_up, self.intermediates = inner.look_up, inner.intermediates

    def decide(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Pacing) -> list[Scored]:
        if any(r.key != "warm-up" and zlib.crc32(r.key.encode()) < self._below for r in requests):
            raise RuntimeError("a failure that was planted")
        return self._inner.decide(requests, features, at_us=at_us, pacing=pacing)


def parts(settings: Settings, worker: str) -> tuple[Clock, Parts]:
    shares: dict[str, float] = json.loads(os.environ[FAILING])

    def load(*given: Any) -> Engine:
        engine = wiring.load_engine(*given)
        return Failing(engine, shares.get(engine.digest, 0.0))

    return wiring.parts(settings, worker, load=load)


if __name__ == "__main__":
    main(parts)
