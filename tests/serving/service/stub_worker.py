"""A worker of the bid service with a stub engine: what the champion is lies in the file `champion.json` of its home."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from ml.core.clock import Clock, SystemClock
from ml.core.settings import Settings
from ml.serving.joints import Parts
from ml.serving.worker import main
from tests.serving.service.stubs import CountingLog, FileSource


def parts(settings: Settings, worker: str) -> tuple[Clock, Parts]:
    return SystemClock(), Parts(FileSource(settings.home / "champion.json"), CountingLog())


if __name__ == "__main__":
    main(parts)
