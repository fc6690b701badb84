"""How good the bids of a story were on a market whose truth is known: scored by the simulator, in a process of its own.

The truth is read there and nowhere else; this process and the pages see the cards that it leaves.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from local.supervisor import Service

if TYPE_CHECKING:
    from local.scenario import Scenario
    from local.stack import Stack
    from ml.platform import Platform

_POLL_S = 0.1
_LIMIT_S = 120.0


def score_days(platform: Platform, stack: Stack, scenario: Scenario) -> str:
    """Have a card kept for each day of a story on the simulated market, unless all of them are there.

    Returns:
        Why there are none; empty where there are, or where nobody can know.
    """
    days = scenario.days
    if scenario.source != "simulator" or _all_scored(platform, days):
        return ""
    argv = [sys.executable, "-m", "ml.market.simulator.scorecard"]
    argv += ["--first", days[0].isoformat(), "--last", days[-1].isoformat()]
    service = Service("scorecard", argv, stack.environment(), stack.logs / "scorecard.log")
    stack.supervisor.stop([service.name])  # one that a killed demo left behind
    stack.supervisor.start(service)
    deadline = time.monotonic() + _LIMIT_S
    while (code := stack.supervisor.exit_code(service.name)) is None:
        if time.monotonic() > deadline:
            stack.supervisor.stop([service.name])
            return "scoring the days took too long"
        time.sleep(_POLL_S)
    return "" if code == 0 else _reason(service.log)


def _all_scored(platform: Platform, days: Sequence[date]) -> bool:
    from ml.core.errors import CorruptArtefact
    from ml.market.scorecard import cards

    try:
        return len(cards(platform.blobs, platform.market, days)) == len(days)
    except CorruptArtefact:  # it is made anew
        return False


def _reason(log: Path) -> str:
    lines = log.read_text().strip().splitlines()
    return lines[-1] if lines else f"no reason was given in {log}"
