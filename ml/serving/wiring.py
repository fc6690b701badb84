"""Where the bid service is put together with the rest of the house: the ledger, bundles, engines, arms and the event log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ml.core.clock import Clock
from ml.core.digests import Digest
from ml.core.errors import PermanentError
from ml.core.settings import Settings
from ml.ledger import champion
from ml.platform import Platform
from ml.serving.bundle_cache import cached_bundle
from ml.serving.engine_protocol import Engine
from ml.serving.joints import ArmCounters, Decision, LastBids, Parts, Split, Wanted, WantedArm

if TYPE_CHECKING:
    from ml.promotion.bundle import Bundle

LoadEngine = Callable[[Platform, "Bundle", str], Engine]
"""An engine of a verified bundle that follows the published plan of a digest."""


class LedgerSource:
    """What the ledger says is to be served, and the engines of it.

    Args:
        platform: ledger, blobs and keys.
        load: makes the engines.
    """

    def __init__(self, platform: Platform, load: LoadEngine) -> None:
        self._platform, self._load = platform, load
        self._previous: tuple[int, Digest | None] = (0, None)

    def wanted(self) -> Wanted:
        """The champion, and the one before it."""
        platform = self._platform
        now = champion.current(platform.db, platform.market)
        if now is None:
            return Wanted(why_not=f"{platform.market} has no champion yet: promote a candidate first")
        return Wanted(
            generation=now.generation,
            arms=(WantedArm("stable", now.digest),),
            previous=self._before(now.generation, now.digest),
        )

    def engine(self, digest: Digest, plan: str) -> Engine:
        """A verified engine; CorruptArtefact where the bundle is refused."""
        platform = self._platform
        folder = platform.settings.home / "cache" / "serving"
        bundle = cached_bundle(platform.blobs, folder, digest, platform.keys)
        return self._load(platform, bundle, plan)

    def table(self, plan: str) -> LastBids | None:  # noqa: ARG002  (the joint's signature)
        """The last published bids."""
        return None

    def split(self, wanted: Wanted) -> Split | None:  # noqa: ARG002  (the joint's signature)
        """How keys are split."""
        return None

    def counters(self, wanted: Wanted) -> ArmCounters | None:  # noqa: ARG002  (the joint's signature)
        """Counters of the arms."""
        return None

    def _before(self, generation: int, digest: Digest) -> Digest | None:
        """The newest champion before this one that is another bundle."""
        if self._previous[0] != generation:
            reigns = champion.history(self._platform.db, self._platform.market)
            others = [one.digest for one in reigns if one.generation < generation and one.digest != digest]
            self._previous = (generation, others[-1] if others else None)
        return self._previous[1]


class NoLog:
    """Takes decisions and keeps none; says so in its counts."""

    def __init__(self) -> None:
        self._lost = 0

    def append(self, decisions: Sequence[Decision]) -> None:
        """Count them."""
        self._lost += len(decisions)

    def counts(self) -> Mapping[str, int]:
        """How many were not kept."""
        return {"lost": self._lost}

    def close(self) -> None:
        """Nothing is open."""


def parts(settings: Settings, worker: str) -> tuple[Clock, Parts]:  # noqa: ARG001  (for the event log)
    """The clock and the parts of a worker on this platform; `worker` is its name, which its event log bears."""
    platform = Platform.from_environment(home=settings.home)
    return platform.clock, Parts(LedgerSource(platform, _load), NoLog())


def _load(platform: Platform, bundle: Bundle, plan: str) -> Engine:  # noqa: ARG001  (the joint's signature)
    raise PermanentError("no engine is built in", next="install a version of bidwright that has one")
