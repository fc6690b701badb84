"""Where the bid service is put together with the rest of the house: ledger, bundles, engines, plans, arms and event log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from ml.core import tracing
from ml.core.clock import Clock
from ml.core.digests import Digest
from ml.core.errors import BidwrightError, StoreUnavailable
from ml.core.settings import Settings
from ml.ledger import rollouts, stages
from ml.ledger.serving_stamp import Stamp, serving_stamp
from ml.platform import Platform
from ml.preflight import refuse_harm
from ml.serving.arm_stats import ArmStats, StatsKey, arms_folders, sweep
from ml.serving.arms import Shares, beside
from ml.serving.arms import Split as Arms
from ml.serving.bundle_cache import cached_bundle, keep
from ml.serving.engine_protocol import Engine
from ml.serving.event_log import EventLog, events_folder, events_memory
from ml.serving.instant import micros
from ml.serving.joints import ArmCounters, LastBids, Parts, Split, Wanted, WantedArm

if TYPE_CHECKING:
    from ml.bidding.day_budget import DayBudget
    from ml.bidding.serving_plan import ServingPlan
    from ml.promotion.bundle import Bundle

LoadEngine = Callable[[Platform, "Bundle", "ServingPlan"], Engine]
"""An engine of a verified bundle that follows a plan."""


READY_S = 60.0
"""So long it is taken for granted that the ledger's tables, the clock and the deployed code are still those of this process."""


class LedgerSource:
    """What the ledger says is to be served, and the engines of it.

    Args:
        platform: ledger, blobs and keys.
        load: makes the engines.
    """

    def __init__(self, platform: Platform, load: LoadEngine) -> None:
        self._platform, self._load = platform, load
        self._known: tuple[Stamp, Wanted] | None = None
        self._ready_until = 0.0

    def wanted(self) -> Wanted:
        """The champion, the one before it, the rollout that is under way, and the newest plan.

        Raises:
            StoreUnavailable: the ledger cannot be read, or has the tables of another version.
            NotReady: this machine's clock is off, or another code than this was deployed; what serves goes on.
        """
        if monotonic() >= self._ready_until:
            refuse_harm(self._platform)
            self._ready_until = monotonic() + READY_S
        # Requests wait while this thread computes, so as long as nothing changed it does next to nothing.
        stamp = serving_stamp(self._platform.db, self._platform.market)
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, self._read()
        return self._known[1]

    def _read(self) -> Wanted:
        from ml.steps.serving_plan import latest_plan

        platform = self._platform
        found = rollouts.serving(platform.db, platform.market)
        if found.champion is None:
            return Wanted(why_not=f"{platform.market} has no champion yet: promote a candidate first")
        plan = latest_plan(platform)
        if plan is None:
            return Wanted(why_not=f"nothing is published for {platform.market} yet: bidwright publish-bids")
        stable = WantedArm("stable", found.champion.digest)
        alone = Wanted(
            found.champion.generation, (stable,), previous=found.previous, plan=plan, why_not="",
            trace=self._trace(found),
        )  # fmt: skip
        if (rollout := found.rollout) is None:
            return alone
        begun = replace(alone, rollout=rollout.id, analysis=rollout.analysis, salt=rollout.salt)
        if rollout.state == "shadow":
            return replace(begun, shadow=rollout.candidate, shadow_share=rollout.canary_share)
        rest = 1.0 - rollout.baseline_share - rollout.canary_share
        arms = (
            replace(stable, share=rest),
            WantedArm("baseline", stable.digest, rollout.baseline_share),
            WantedArm("canary", rollout.candidate, rollout.canary_share),
        )
        tried = beside(rollout.canary_share)
        return replace(begun, arms=arms, shadow=rollout.candidate if tried else None, shadow_share=tried)

    def _trace(self, found: rollouts.Serving) -> str:
        """The trace of the DAG run that judged and promoted what is to be served."""
        if not tracing.on():
            return ""
        day = found.rollout.day if found.rollout else found.champion.since if found.champion else None
        if day is None:
            return ""
        record = stages.get(self._platform.db, stages.StageKey(self._platform.market, "promote", day))
        return str(record.result.get("trace", "")) if record else ""

    def engine(self, digest: Digest, plan: str) -> Engine:
        """A verified engine; CorruptArtefact where the bundle or the plan is refused."""
        platform = self._platform
        bundle = cached_bundle(platform.blobs, self._cache, digest, platform.keys)
        return self._load(platform, bundle, self._plan(plan))

    def table(self, plan: str) -> LastBids | None:
        """The last published bids."""
        from ml.serving.last_bids import PlanBids

        return PlanBids(self._plan(plan), lambda: micros(self._platform.clock))

    def budgets(self, plan: str) -> Mapping[str, DayBudget]:
        """What each partner's day may cost."""
        return self._plan(plan).budgets

    def split(self, wanted: Wanted) -> Split | None:
        """The sticky split of a rollout."""
        if len(wanted.arms) < 3:
            return None
        _, baseline, canary = wanted.arms
        return Arms(wanted.salt, Shares(baseline=baseline.share, canary=canary.share))

    def counters(self, wanted: Wanted) -> ArmCounters | None:
        """New counters in a file of this worker, where `ml.steps.rollout` reads them; files of what is past go."""
        platform = self._platform
        folders = arms_folders(platform.settings, make=True)
        key = StatsKey(wanted.generation, wanted.rollout, wanted.analysis)
        found = ArmStats(folders[1] or folders[0], key, at_us=micros(platform.clock))
        for folder in folders:
            if folder is not None:
                with contextlib.suppress(OSError):
                    sweep(folder, key)
        return found

    def _plan(self, digest: str) -> ServingPlan:
        """A plan, from this machine's copy where it is whole, else from the blob store; verified either way."""
        from ml.bidding.serving_plan import read_plan
        from ml.lake.local import LocalBlobs

        platform = self._platform
        local = LocalBlobs(self._cache)
        with contextlib.suppress(BidwrightError):
            return read_plan(local, platform.market, digest)
        plan = read_plan(platform.blobs, platform.market, digest)
        with contextlib.suppress(StoreUnavailable):
            keep(platform.blobs, local, f"bids/{platform.market}/serving/{digest}")
        return plan

    @property
    def _cache(self) -> Path:
        return self._platform.settings.home / "cache" / "serving"


def load_engine(platform: Platform, bundle: Bundle, plan: ServingPlan) -> Engine:
    """An engine of a verified bundle with the platform's online features; takes about a second."""
    from ml.serving.engine_loading import engine_of

    return engine_of(platform, bundle, plan)


def parts(settings: Settings, worker: str, *, load: LoadEngine = load_engine) -> tuple[Clock, Parts]:
    """The clock and the parts of a worker on this platform.

    Args:
        settings: of the platform.
        worker: its name, which its event log bears.
        load: makes the engines; another one only in tests and benchmarks.
    """
    platform = Platform.from_environment(home=settings.home)
    events = EventLog(
        events_folder(settings.home, platform.market),
        market=platform.market,
        worker=worker,
        memory=events_memory(settings, platform.market, make=True),
    )
    return platform.clock, Parts(LedgerSource(platform, load), events)
