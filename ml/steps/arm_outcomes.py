"""Feed the slow gates of a canary: what became of the clicks that its decisions, and its baseline's, brought.

A decision of the bid service is joined with the market's tables by the auction: the caller gives the auction's `opportunity_id` as the
candidate's `id`, and the market's clicks bear it too. Where callers give other ids nothing is joined, and the gates hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ml.core.digests import Digest
from ml.core.errors import BidwrightError, NoData
from ml.core.units import day_start

if TYPE_CHECKING:
    from ml.ledger.rollouts import Rollout
    from ml.platform import Platform
    from ml.promotion.measure_arms import ArmOutcomes
    from ml.serving.explain import EngineFor

BASELINE, CANARY = "baseline", "canary"


@dataclass(frozen=True)
class Click:
    """A click that matured: what it cost and what its bookings were worth, gross, micros."""

    opportunity_id: str
    hotel_id: str
    day: date
    cost: int
    bookings: int
    value: int


def feed(platform: Platform, day: date) -> dict[str, Any] | None:
    """Write what the outcomes known by the end of `day` say of the canary under way; None where there is none.

    Never raises for what it cannot read: the measures then say why, and the gates hold.
    """
    from ml.ledger import rollouts
    from ml.promotion.measure_arms import slow_measures

    seen = rollouts.active(platform.db, platform.market)
    if seen is None or seen.state != "canary" or not platform.settings.rollout_slow_hours:
        return None
    since = next(one.at for one in rollouts.events(platform.db, seen.id) if one.analysis == seen.analysis)
    try:
        arms = outcomes(platform, seen, since=since, day=day)
        found = slow_measures(arms[CANARY], arms[BASELINE], look=max((day - since.date()).days, 1))
    except BidwrightError as error:
        found = {"bookings": 0, "why": str(error)}
    except Exception as error:  # noqa: BLE001  (the day is settled whatever a canary's decisions look like)
        found = {"bookings": 0, "why": f"{type(error).__name__}: {error}"}
    rollouts.measure(platform.db, seen, found, platform.clock.now())
    return found


def outcomes(platform: Platform, rollout: Rollout, *, since: datetime, day: date) -> Mapping[str, ArmOutcomes]:
    """What came of the decisions of the two small arms since an instant, as far as it has matured by the end of `day`.

    Raises:
        NoData: nothing has matured yet, or no decision of the two arms could be joined with a click.
    """
    from ml.evaluation.holdout import CLICK_AGE_DAYS
    from ml.serving.explain import built_in_engine

    until = day_start(day + timedelta(days=1)) - timedelta(days=CLICK_AGE_DAYS)
    if until <= since:
        raise NoData(f"no click of this step is {CLICK_AGE_DAYS} days old yet")
    clicks = {one.opportunity_id: one for one in _clicks(platform, since, until, day)}
    take = platform.settings.take_share
    arms = {name: _Arm(built_in_engine(platform), take) for name in (BASELINE, CANARY)}
    for row in _rows(platform, rollout, since, until):
        arms[row["arm_name"]].add(row, clicks)
    if not sum(len(arm.cost) for arm in arms.values()):
        requests = sum(arm.requests for arm in arms.values())
        raise NoData(
            f"none of {requests} decisions of the two small arms is joined with one of {len(clicks)} clicks",
            next="let callers give the auction's opportunity_id as the candidate's id, and ingest the day's decisions",
        )
    return {name: arm.outcomes() for name, arm in arms.items()}


@dataclass
class _Arm:
    """Sums up the decisions of an arm."""

    engine_for: EngineFor
    take: float
    requests: int = 0
    bookings: int = 0
    cluster: list[str] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    earned: list[float] = field(default_factory=list)
    promised: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine_for = lru_cache(maxsize=4)(self.engine_for)

    def add(self, row: Mapping[str, Any], clicks: Mapping[str, Click]) -> None:
        """Count a decision; where somebody clicked, with what was promised and what came."""
        from ml.serving.messages import decode_request

        self.requests += 1
        try:
            request = decode_request(row["body"])
        except msgspec.DecodeError:
            return
        for place, candidate in enumerate(request.candidates):
            click = clicks.get(candidate.id)
            if click is None:
                continue
            promised, retained = self._said(row, place)
            self.bookings += click.bookings
            self.cluster.append(f"{click.hotel_id} {click.day}")
            self.cost.append(float(click.cost))
            self.earned.append(self.take * retained * click.value)
            self.promised.append(promised)

    def outcomes(self) -> ArmOutcomes:
        """The sums."""
        from ml.promotion.measure_arms import ArmOutcomes

        columns = (np.array(values, dtype=np.float64) for values in (self.cost, self.earned, self.promised))
        return ArmOutcomes(self.requests, self.bookings, np.array(self.cluster, dtype=np.str_), *columns)

    def _said(self, row: Mapping[str, Any], place: int) -> tuple[float, float]:
        """What the model that answered said that a click earns, and the share of a booking that it expects to be kept."""
        from ml.serving.messages import decode_request

        if not row["digest"]:
            return float("nan"), 1.0
        engine = self.engine_for(Digest(row["digest"]), row["plan"])
        features = np.frombuffer(row["features"], dtype=np.dtype(engine.layout.dtype))
        matrix = features.reshape(-1, len(engine.layout.columns)) if engine.layout.columns else features.reshape(0, 0)
        request = decode_request(row["body"])
        if not engine.layout.columns:
            matrix = np.empty((len(request.candidates), 0))
        steps = engine.intermediates(request, matrix, at_us=int(row["at_us"]), pacing=float(row["pacing"]))
        return float(steps[place].get("worth_micros", float("nan"))), float(steps[place].get("retained", 1.0))


def _rows(platform: Platform, rollout: Rollout, since: datetime, until: datetime) -> Iterable[Mapping[str, Any]]:
    """The decisions of the two small arms that were told to somebody, file by file."""
    from ml.serving.event_log_lake import arm_decisions, days

    for day in days(platform.lake):
        if since.date() <= day <= until.date():
            for row in arm_decisions(platform.lake, day, generation=rollout.generation, arms=(BASELINE, CANARY)):
                if since <= row["at"] < until:
                    yield {**row, "at_us": _micros(row["at"])}


def _clicks(platform: Platform, since: datetime, until: datetime, day: date) -> Iterable[Click]:
    """Clicks of these instants, with their bookings as known by the end of `day`."""
    lake = platform.lake
    booked: dict[str, list[int]] = defaultdict(list)
    try:
        found = lake.scan("bookings", first=since.date(), last=day, columns=["click_id", "value_micros"]).to_pylist()
        rows = lake.scan(
            "clicks", first=since.date(), last=day,
            columns=["click_id", "opportunity_id", "hotel_id", "ts", "cpc_micros"],
        ).to_pylist()  # fmt: skip
    except NoData:
        return
    for one in found:
        if one["click_id"] is not None:
            booked[one["click_id"]].append(one["value_micros"])
    for row in rows:
        if since <= row["ts"] < until:
            own = booked.get(row["click_id"], [])
            yield Click(row["opportunity_id"], row["hotel_id"], row["ts"].date(), row["cpc_micros"], len(own), sum(own))


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=at.tzinfo)) // timedelta(microseconds=1)
