"""The trigger that looks after a rollout while its task waits: it needs no worker, and begins again from the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ml.core.errors import BidwrightError

_log = logging.getLogger(__name__)
EVERY_S = 5.0


class RolloutTrigger(BaseTrigger):
    """Tends the market's rollout every few seconds until that of a decision is over, or needs a worker.

    It keeps nothing: one that is started again, by another triggerer or twice at once, finds everything in the ledger.
    """

    def __init__(self, decision_id: int, every_s: float = EVERY_S) -> None:
        super().__init__()
        self.decision_id, self.every_s = decision_id, every_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Its class and arguments, for the triggerer."""
        return "rollout_trigger.RolloutTrigger", {"decision_id": self.decision_id, "every_s": self.every_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `over`, or `judge` where the candidate has to be judged anew, which a worker does."""
        while True:
            try:
                state = await asyncio.to_thread(_tend, self.decision_id)
            except BidwrightError as error:
                # Such as a database that is being migrated, or this machine's clock: said in a sentence, and over by itself.
                _log.warning("decision %s waits: %s", self.decision_id, error)
                state = None
            except Exception:  # noqa: BLE001  (whatever it is, the waiting goes on)
                # The database may be gone for a while; the rollout holds, and this goes on.
                _log.exception("the rollout of decision %s could not be looked after", self.decision_id)
                state = None
            if state is not None:
                yield TriggerEvent({"state": state})
                return
            await asyncio.sleep(self.every_s)


def _tend(decision_id: int) -> str | None:
    """Look after the rollout once; what ended the waiting, None where nothing did.

    It may move the champion, so a triggerer whose tables, clock or code are not those of the others is refused as a task is.
    """
    from ml import rollout as use
    from ml.platform import Platform
    from ml.preflight import refuse_harm

    platform = Platform.from_environment()
    try:
        refuse_harm(platform)
        done = use.tend(platform, may_judge=False)
        if use.state_of(platform, decision_id)["over"]:
            return "over"
        return "judge" if done["action"] == "judge" else None
    finally:
        platform.db.close()
