"""What the bid service is put together from: the narrow joints to engines, event log, arms, counters and the ledger.

Each is a protocol, so that the service knows nothing of how the others work and a test can put a stand-in there. What is
served at a moment is one immutable value, `Live`, exchanged by one assignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from msgspec import Struct

from ml.bidding.day_budget import DayBudget
from ml.core.digests import Digest
from ml.serving.engine_protocol import Engine
from ml.serving.messages import BidRequest, Scored

STABLE = 0


class Step(IntEnum):
    """How far down the ladder an answer came from."""

    MODEL = 0
    """The model of the request's arm, with every feature."""
    DEFAULTS = 1
    """The same, with defaults for features that are missing."""
    PREVIOUS = 2
    """Another bundle that is still warm: the champion for the small arms, then the champion's previous bundle."""
    TABLE = 3
    """The last published bids."""
    NO_BID = 4
    """An explicit no-bid."""


STEP_NAMES = tuple(step.name.lower() for step in Step)


class Split(Protocol):
    """Which arm a request belongs to; the same for the same key."""

    def arm(self, key: str) -> int:
        """The number of the arm, an index into `Live.arms`."""
        ...


class LastBids(Protocol):
    """The last published bids, for when no model can answer."""

    def bids(self, request: BidRequest) -> Scored:
        """What is published for each candidate; a candidate without one has the reason UNKNOWN and the bid 0."""
        ...


class Flag(IntEnum):
    """What is true of a request besides; the numbers are those of the counters of the arms' files."""

    ERROR = 2
    LATE = 3
    DEFAULTS = 5
    FALLBACK = 6
    FALLBACK_MODEL = 7
    FALLBACK_TABLE = 8
    OUT_OF_RANGE = 9


class ArmCounters(Protocol):
    """Counters of what each arm does, which the judge of a rollout reads; a new one for each generation and analysis."""

    def record(
        self,
        arm: int,
        *,
        latency_us: int,
        candidates: int,
        bids: int,
        bid_micros: int,
        spend_micros: int = 0,
        flags: tuple[Any, ...] = (),
    ) -> None:
        """Count one request of an arm; never raises.

        Args:
            arm: that the request belongs to, also where something else answered for it in the end.
            latency_us: from the arrival of its head to its answer.
            candidates: how many it had.
            bids: how many of them are bid on.
            bid_micros: the sum of these bids.
            spend_micros: what they are expected to cost; 0 where that is not known.
            flags: of `Flag`, each once.
        """
        ...

    def tried(self, *, failed: bool) -> None:
        """Count one request that the canary was tried on beside its own, off the answer; never raises."""
        ...

    def refuse(self, why: str) -> None:
        """Say that the candidate cannot be loaded here, and why; empty where it can be, or has not been tried."""
        ...

    def beat(self, at_us: int) -> None:
        """A sign of life, about once a second."""
        ...

    def close(self) -> None:
        """No more will be counted here."""
        ...


class Decision(Struct, frozen=True, gc=False):
    """One answer as it was given, with everything that is needed to make it again.

    Attributes:
        trace_id: 32 hex digits, told to the caller.
        at_us: instant of the decision, microseconds since 1970, UTC.
        request: what was asked.
        body: the bytes that it was read from.
        digest: of the bundle that decided; empty where none did.
        plan: digest of the plan that it followed; empty where there was none.
        generation: of the champion then.
        arm: number of the arm that the request belongs to.
        arm_name: its name.
        share: of all keys, those of this arm: the propensity, 0 to 1.
        step: of the ladder.
        pacing: the multiplier of the request's partner, 0 to 1.
        scored: what was decided, with the features as they were looked up.
        shadow: whether it was only tried, and never told.
    """

    trace_id: str
    at_us: int
    request: BidRequest
    body: bytes
    digest: str
    plan: str
    generation: int
    arm: int
    arm_name: str
    share: float
    step: int
    pacing: float
    scored: Scored
    shadow: bool = False


class EventLog(Protocol):
    """Takes decisions; makes them durable off the loop and says how many are."""

    def append(self, decisions: Sequence[Decision]) -> None:
        """Take the decisions of one batch; quick, never raises, never waits: what it cannot take it counts as lost."""
        ...

    def counts(self) -> Mapping[str, int]:
        """`taken`, `logged` (durable) and `lost`, since the start."""
        ...

    def close(self) -> None:
        """Make durable what was taken; called once, at the end of a drain."""
        ...


@dataclass(frozen=True, eq=False)
class Slot:
    """One arm: who answers for it.

    Attributes:
        name: of the arm: stable, baseline, canary, shadow, previous.
        engine: that answers.
        generation: of the champion when the slot was made.
        share: of all keys, 0 to 1.
    """

    name: str
    engine: Engine
    generation: int
    share: float = 1.0

    @property
    def version(self) -> str:
        """The first characters of the bundle's digest, as an answer tells them."""
        return self.engine.digest[:12]


@dataclass(frozen=True, eq=False)
class Live:
    """All that answers requests now. Before the first champion there are no arms, and no table either.

    Attributes:
        arms: by number; the first is the champion.
        split: of keys into arms.
        generation: of the champion; 0 before the first.
        previous: the champion before, still warm.
        table: last published bids.
        shadow: the candidate of a rollout that decides too, off the answer; logged, and counted as the canary or, where
            that answers already, beside it.
        shadow_baseline: the champion loaded afresh, which decides what the shadow decides and is counted as the baseline.
        shadow_share: of requests that the shadow is tried on, 0 to 1.
        budgets: by partner, what a day may cost; who is not there is not paced.
        counters: of the arms.
        why_not: why there are no arms, for people.
    """

    arms: tuple[Slot, ...] = ()
    split: Split | None = None
    generation: int = 0
    previous: Slot | None = None
    table: LastBids | None = None
    plan: str = ""
    shadow: Slot | None = None
    shadow_baseline: Slot | None = None
    shadow_share: float = 0.0
    budgets: Mapping[str, DayBudget] = field(default_factory=dict)
    counters: ArmCounters | None = None
    why_not: str = "no champion was loaded yet"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Everything that may be asked."""
        return tuple(
            slot for slot in (*self.arms, self.previous, self.shadow, self.shadow_baseline) if slot is not None
        )


@dataclass(frozen=True)
class WantedArm:
    """What an arm is to serve: its name, the bundle, and the share of keys."""

    name: str
    digest: Digest
    share: float = 1.0


@dataclass(frozen=True)
class Wanted:
    """What the ledger says is to be served; equal values mean that there is nothing to do.

    Attributes:
        generation: of the champion; 0 where there is none.
        arms: by number; the first is the champion; empty where there is none.
        previous: the champion before this one, where there was one.
        plan: digest of the newest published plan; empty where there is none.
        rollout: id of the rollout under way; 0 without.
        analysis: its analysis, which grows with every step and restart.
        salt: of the split.
        shadow: bundle that is only tried.
        shadow_share: of requests that it is tried on, 0 to 1.
        why_not: why there are no arms, for people.
        trace: the `traceparent` of the promotion that is behind it; empty where none is known.
    """

    generation: int = 0
    arms: tuple[WantedArm, ...] = ()
    previous: Digest | None = None
    plan: str = ""
    rollout: int = 0
    analysis: int = 0
    salt: str = ""
    shadow: Digest | None = None
    shadow_share: float = 0.0
    why_not: str = "there is no champion yet"
    trace: str = field(default="", compare=False)

    @property
    def candidate(self) -> Digest | None:
        """The bundle that a rollout is about; None where none is under way."""
        return self.shadow or next((arm.digest for arm in self.arms if arm.name == "canary"), None)


class Source(Protocol):
    """Where the service learns what to serve and gets it from. Every method may take long; none runs on the loop."""

    def wanted(self) -> Wanted:
        """What is to be served now; StoreUnavailable while nobody can say."""
        ...

    def engine(self, digest: Digest, plan: str) -> Engine:
        """A verified, warm engine of a bundle that follows a plan; a new one at each call.

        Raises:
            PermanentError: the bundle or the plan is refused.
            RetryableError: it cannot be read now.
        """
        ...

    def table(self, plan: str) -> LastBids | None:
        """The last published bids of a plan; None where it has none. Raises as `engine`."""
        ...

    def budgets(self, plan: str) -> Mapping[str, DayBudget]:
        """What each partner's day may cost, as the plan has it. Raises as `engine`."""
        ...

    def split(self, wanted: Wanted) -> Split | None:
        """How keys are split; None where there is only one arm."""
        ...

    def counters(self, wanted: Wanted) -> ArmCounters | None:
        """New counters for this state of affairs; None where they are not kept."""
        ...


@dataclass(frozen=True)
class Refusal:
    """A bundle or plan that could not be taken over, why, and after how many seconds it is tried again.

    `passing`: it is not the bundle's fault, as when the store cannot be reached.
    """

    digest: str
    why: str
    again_s: float = 30.0
    passing: bool = False


@dataclass(frozen=True)
class Parts:
    """What a service is put together from besides this room: where it learns what to serve, and where decisions go."""

    source: Source
    events: EventLog
