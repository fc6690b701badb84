"""Brings what the ledger says into what serves: read, load and warm in a thread, then exchange by one assignment.

While nobody can say what is to be served, what serves goes on. A bundle that is refused is named, and what served before
goes on too. Engines that still may be asked are kept, so that going back to the champion before costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from ml.bidding.day_budget import DayBudget
from ml.core import tracing
from ml.core.digests import Digest
from ml.core.errors import BidwrightError, RetryableError
from ml.serving.engine_protocol import Engine
from ml.serving.joints import ArmCounters, LastBids, Live, Refusal, Slot, Source, Wanted, WantedArm
from ml.serving.ladder import ask
from ml.serving.messages import MAX_CANDIDATES, BidRequest, Candidate

log = logging.getLogger("bidwright.serve")

AGAIN_S = 30.0
"""After so long a bundle that was refused is tried again: it may have been restored or signed."""

SOON_S = 2.0
"""After so long one that could not be read is tried again."""

_WARM = BidRequest("warm-up", [Candidate(f"warm-up-{n}") for n in range(MAX_CANDIDATES)])
_WARM_ROUNDS = 3

_Key = tuple[str, Digest, str]
"""An engine by what is asked of it: the name of the arm where it must not be shared, the bundle, the plan."""


class Loader:
    """Keeps what serves equal to what is wanted.

    Args:
        source: says what is wanted, and gives it.
        swap: puts a new state into service; called on the loop.
        now_us: the present instant, for warming up.
        kept: file that remembers the last state that was served, for a start without a database; None keeps none.
        poll_s: pause between two looks.

    Attributes:
        refused: bundles and plans that could not be taken over, by digest, and why.
        trouble: why nobody can say what is wanted; empty while somebody can.
    """

    def __init__(
        self,
        source: Source,
        swap: Callable[[Live], None],
        *,
        now_us: Callable[[], int],
        kept: Path | None = None,
        poll_s: float = 0.5,
    ) -> None:
        self._source, self._swap, self._now_us, self._kept, self._poll_s = source, swap, now_us, kept, poll_s
        self._wanted: Wanted | None = None
        self._engines: dict[_Key, Engine] = {}
        self._tables: dict[str, LastBids | None] = {}
        self._budgets: dict[str, Mapping[str, DayBudget]] = {}
        self._counters: tuple[tuple[int, int, int], ArmCounters | None] = ((-1, 0, 0), None)
        self._again_at = 0.0
        self._live = Live()
        self._refusing: dict[str, Refusal] = {}
        self.refused: dict[str, Refusal] = {}
        self.trouble = ""

    async def run(self) -> None:
        """Look and load for ever; only cancelling ends it."""
        while True:
            try:
                await self.step()
            except Exception:
                log.exception("what is to be served could not be looked up; what serves goes on")
            await asyncio.sleep(self._poll_s)

    async def step(self) -> None:
        """Look once, and take over what is new."""
        wanted = await asyncio.to_thread(self._look)
        if wanted is None or (wanted == self._wanted and not self._due()):
            return
        again = wanted == self._wanted
        live, refused = await asyncio.to_thread(self._make, wanted)
        nothing_new = live is self._live or (again and refused.keys() == self.refused.keys())
        self._wanted, self.refused = wanted, refused
        if refused:
            self._again_at = monotonic() + min(one.again_s for one in refused.values())
        if not nothing_new:
            self._take(live)

    def _take(self, live: Live) -> None:
        before, self._live = self._live, live
        self._swap(live)
        # What is loaded now stays: the collector need not look at it again and again. What is garbage by now would stay too.
        gc.collect()
        gc.freeze()
        if before.counters is not None and before.counters is not live.counters:
            before.counters.close()
        for slot in live.arms:
            log.info("arm %s: %s, generation %d, share %g", slot.name, slot.version, slot.generation, slot.share)

    def _due(self) -> bool:
        return bool(self.refused) and monotonic() >= self._again_at

    def _look(self) -> Wanted | None:
        try:
            wanted = self._source.wanted()
        except BidwrightError as error:
            if not self.trouble:
                log.warning("nobody can say what is to be served, so what serves goes on: %s", error)
            self.trouble = str(error)
            return self._remembered() if self._wanted is None else None
        self.trouble = ""
        return wanted

    # In a thread, one at a time.

    def _make(self, wanted: Wanted) -> tuple[Live, dict[str, Refusal]]:
        """What is to serve, and what of it was refused."""
        self._refusing = {}
        new = (
            self._wanted is None
            or wanted.generation != self._wanted.generation
            or wanted.rollout != self._wanted.rollout
        )
        about: dict[str, str | int] = {
            "generation": wanted.generation,
            "rollout": wanted.rollout,
            "plan": wanted.plan[:12],
        }
        with tracing.span("serve.take_over", parent=wanted.trace if new else "", **about):
            live = self._of(wanted)
        used = {id(slot.engine) for slot in live.slots}
        self._engines = {key: engine for key, engine in self._engines.items() if id(engine) in used}
        if live.arms and not self._refusing:
            self._remember(wanted)
        return live, self._refusing

    def _of(self, wanted: Wanted) -> Live:
        previous = self._slot(wanted, WantedArm("previous", wanted.previous, 0.0)) if wanted.previous else None
        table, budgets = self._table(wanted.plan), self._budgets_of(wanted.plan)
        if not wanted.arms:
            # A ledger that has lost its champion is no reason to stop bidding with the one that serves.
            empty = Live(previous=previous, table=table, plan=wanted.plan, budgets=budgets, why_not=wanted.why_not)
            return self._live if self._live.arms else empty
        stable = self._slot(wanted, wanted.arms[0])
        if stable is None:
            why = self._refusing[wanted.arms[0].digest].why
            if self._live.arms:
                return self._live
            return Live(previous=previous, table=table, plan=wanted.plan, budgets=budgets, why_not=why)
        others = [self._slot(wanted, arm) for arm in wanted.arms[1:]]
        arms = (stable, *(slot for slot in others if slot is not None))
        whole = len(arms) == len(wanted.arms)
        shadow, beside = self._shadow(wanted)
        return Live(
            # A small arm without its bundle gets no request: nobody may take the champion's answers for the canary's.
            arms=arms if whole else (replace(stable, share=1.0),),
            split=self._source.split(wanted) if whole and len(arms) > 1 else None,
            generation=wanted.generation,
            previous=previous,
            table=table,
            plan=wanted.plan,
            shadow=shadow,
            shadow_baseline=beside,
            shadow_share=wanted.shadow_share,
            budgets=budgets,
            counters=self._counting(wanted),
            why_not="",
        )

    def _shadow(self, wanted: Wanted) -> tuple[Slot | None, Slot | None]:
        """The candidate that is only tried, and the champion loaded afresh to compare it with.

        A canary has its baseline among the arms that answer: it is tried alone.
        """
        if wanted.shadow is None:
            return None, None
        candidate = self._slot(wanted, WantedArm("shadow", wanted.shadow, wanted.shadow_share))
        if candidate is None:
            return None, None
        if len(wanted.arms) > 1:
            return candidate, None
        champion = WantedArm("baseline", wanted.arms[0].digest, wanted.shadow_share)
        return candidate, self._slot(wanted, champion)

    def _slot(self, wanted: Wanted, arm: WantedArm) -> Slot | None:
        """The arm's slot; None where its bundle is refused, which is noted."""
        # The baseline is the champion loaded afresh; champion and champion before share what is loaded. What was tried in
        # the shadow answers when its step comes.
        own = "" if arm.name in {"stable", "previous"} else "canary" if arm.name == "shadow" else arm.name
        key = (own, arm.digest, wanted.plan)
        # Who comes to power was the canary just now; but a baseline shares nothing with anybody.
        warm = self._engines.get(key) or (None if own else self._engines.get(("canary", arm.digest, wanted.plan)))
        try:
            engine = warm or self._loaded(arm.digest, wanted.plan)
        except Exception as error:  # noqa: BLE001  (whatever is wrong with a bundle, what serves goes on)
            self._refuse(arm.digest, error)
            return None
        self._engines[key] = engine
        return Slot(arm.name, engine, wanted.generation, arm.share)

    def _loaded(self, digest: Digest, plan: str) -> Engine:
        """A new engine that has shown that it answers."""
        engine = self._source.engine(digest, plan)
        for _ in range(_WARM_ROUNDS):
            ask(engine, [_WARM], self._now_us(), [1.0])
        return engine

    def _table(self, plan: str) -> LastBids | None:
        if not plan:
            return None
        if plan not in self._tables:
            try:
                self._tables = {plan: self._source.table(plan)}
            except Exception as error:  # noqa: BLE001  (as for a bundle)
                self._refuse(plan, error)
                return self._live.table
        return self._tables[plan]

    def _budgets_of(self, plan: str) -> Mapping[str, DayBudget]:
        if not plan:
            return {}
        try:
            if plan not in self._budgets:
                self._budgets = {plan: self._source.budgets(plan)}
            return self._budgets[plan]
        except Exception as error:  # noqa: BLE001  (as for a bundle)
            self._refuse(plan, error)
            return self._live.budgets

    def _counting(self, wanted: Wanted) -> ArmCounters | None:
        key = (wanted.generation, wanted.rollout, wanted.analysis)
        if self._counters[0] != key:
            try:
                self._counters = (key, self._source.counters(wanted))
            except BidwrightError as error:
                log.warning("%s", error)
                self._counters = (key, None)
        counters, candidate = self._counters[1], wanted.candidate
        if counters is not None and candidate is not None:
            refusal = self._refusing.get(candidate)
            # The judge takes a candidate that cannot be loaded out at once, instead of waiting for requests of it.
            counters.refuse(refusal.why if refusal is not None and not refusal.passing else "")
        return counters

    def _refuse(self, digest: str, error: Exception) -> None:
        why = str(error) if isinstance(error, BidwrightError) else f"unexpected {type(error).__name__}: {error}"
        passing = isinstance(error, RetryableError | OSError | MemoryError)
        self._refusing[digest] = Refusal(digest, why, again_s=SOON_S if passing else AGAIN_S, passing=passing)
        level = logging.WARNING if passing else logging.ERROR
        log.log(level, "%s is not taken over; what serves goes on: %s", digest[:12], why)

    def _remember(self, wanted: Wanted) -> None:
        if self._kept is None:
            return
        with contextlib.suppress(OSError):
            self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._kept.with_name(f".{self._kept.name}.{id(self):x}")
            new.write_bytes(msgspec.json.encode(wanted))
            new.replace(self._kept)

    def _remembered(self) -> Wanted | None:
        """The last state that was served here; its bundles are verified like any other."""
        if self._kept is None:
            return None
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._kept.read_bytes(), type=Wanted)
        return None


def models(live: Live, loader: Loader, pacing: Mapping[str, Any]) -> dict[str, Any]:
    """What `/v1/models` shows: arms, warm bundles, how bids are paced, what was refused, and why nothing may be known."""
    warm = live.slots[len(live.arms) :]
    return {
        "generation": live.generation,
        "plan": live.plan,
        "pacing": pacing,
        "arms": [_told(slot) for slot in live.arms],
        "warm": [_told(slot) for slot in warm],
        "table": live.table is not None,
        "refused": [{"digest": one.digest, "why": one.why} for one in loader.refused.values()],
        "why_not": "" if live.arms else live.why_not,
        "ledger": loader.trouble or "ok",
    }


def _told(slot: Slot) -> dict[str, Any]:
    return {
        "arm": slot.name,
        "digest": slot.engine.digest,
        "plan": slot.engine.plan,
        "generation": slot.generation,
        "share": slot.share,
    }
