"""One decision of the bid service made again from what was logged of it, and compared bit for bit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ml.core.digests import Digest
from ml.core.errors import BidwrightError, NoData
from ml.serving.event_log_frames import Event
from ml.serving.event_log_lake import decision
from ml.serving.messages import BidRequest, Reason, Scored, decode_request

if TYPE_CHECKING:
    from ml.lake.lake import Lake
    from ml.platform import Platform
    from ml.serving.engine_protocol import Engine

EngineFor = Callable[[Digest, str], "Engine"]
"""The engine of a bundle (by digest) that follows a plan (by digest; empty: none); raises BidwrightError where one of them is
gone or refused."""


def built_in_engine(platform: Platform) -> EngineFor:
    """What gives the engines of this installation, from the bundles and plans that it keeps."""
    from ml.bidding.serving_plan import no_plan, read_plan
    from ml.promotion.bundle import read_bundle
    from ml.serving.engine_loading import engine_of

    market, settings = platform.market, platform.settings

    def engine_for(digest: Digest, plan: str) -> Engine:
        bundle = read_bundle(platform.blobs, digest, platform.keys)
        if plan:
            return engine_of(platform, bundle, read_plan(platform.blobs, market, plan))
        none = no_plan(market=market, take_share=settings.take_share, max_bid_micros=settings.max_bid_micros)
        return engine_of(platform, bundle, none)

    return engine_for


_TRACE_ID = re.compile("[0-9a-f]{32}")
_OWN = {Reason.BID, Reason.DEFAULTS}


def is_trace_id(text: str) -> bool:
    """Whether this has the form of a trace id: 32 hex digits. A digest has 64.

    >>> is_trace_id("0123456789abcdef" * 2), is_trace_id("3fa9c1")
    (True, False)
    """
    return _TRACE_ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Explained:
    """A decision, and the same decision made again.

    Attributes:
        trace_id: of the decision.
        at: its instant, UTC.
        request: what was asked; None where its bytes cannot be read.
        facts: bundle, plan, generation, arm, its share of the keys, step of the ladder, pacing, whether it was a shadow's.
        candidates: per candidate `id`, the `bid_micros`, `score` and `reason` that were logged, those `again`, and the
            `intermediates` between features and bid by name, None where one is not a finite number.
        same: whether bids, scores, reasons and the number of missing features are the same to the last bit; None where
            the decision could not be made again.
        why_not: then the reason, as a sentence; where it is not the same, what differs.
    """

    trace_id: str
    at: datetime
    request: BidRequest | None
    facts: Mapping[str, Any]
    candidates: list[dict[str, Any]] = field(default_factory=list)
    same: bool | None = None
    why_not: str = ""

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return asdict(self) | {
            "at": self.at.isoformat(),
            "request": None if self.request is None else msgspec.to_builtins(self.request),
            "facts": dict(self.facts),
        }


def explain_decision(lake: Lake, folder: Path, trace_id: str, engine_for: EngineFor) -> Explained:
    """Find a decision in the event log or in the lake, and make it again from its logged features.

    Args:
        lake: of the market.
        folder: of its event log.
        trace_id: of the decision.
        engine_for: gives the engine that decided.

    Raises:
        NoData: no such decision is logged.
    """
    event = decision(lake, folder, trace_id)
    if event is None:
        raise NoData(
            f"no decision {trace_id} is in the event log or in the lake",
            next="look whether it was lost: bidwright status, or the incidents of ingest:events",
        )
    return explain_event(event, engine_for)


def explain_event(event: Event, engine_for: EngineFor) -> Explained:
    """A logged decision, made again."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event.at_us)
    facts = {
        name: getattr(event, name)
        for name in ("digest", "plan", "generation", "arm_name", "share", "step", "pacing", "shadow", "missing")
    }
    try:
        request = decode_request(event.body)
    except msgspec.DecodeError as error:
        return Explained(event.trace_id, at, None, facts, why_not=f"the request cannot be read: {error}")
    logged = _logged(event, request)
    if not event.digest:
        return Explained(
            event.trace_id, at, request, facts, logged, why_not="no model decided it, so that none can again"
        )
    try:
        engine = engine_for(Digest(event.digest), event.plan)
        columns = len(engine.layout.columns)
        features = np.frombuffer(event.features, dtype=np.dtype(engine.layout.dtype))
        if features.size != len(request.candidates) * columns:
            why = f"{features.size} features were logged, the bundle reads {columns} of {len(request.candidates)} candidates"
            return Explained(event.trace_id, at, request, facts, logged, why_not=why)
        matrix = features.reshape(len(request.candidates), columns)
        (again,) = engine.decide([request], matrix, at_us=event.at_us, pacing=event.pacing)
        steps = engine.intermediates(request, matrix, at_us=event.at_us, pacing=event.pacing)
    except BidwrightError as error:
        return Explained(event.trace_id, at, request, facts, logged, why_not=str(error))
    for row, bid, score, reason, between in zip(
        logged, again.bid_micros, again.score, again.reasons, steps, strict=True
    ):
        row["again"] = {"bid_micros": bid, "score": score, "reason": _name(reason)}
        row["intermediates"] = {name: value if math.isfinite(value) else None for name, value in between.items()}
    differs = _differences(event, again)
    return Explained(event.trace_id, at, request, facts, logged, same=not differs, why_not=differs)


def _logged(event: Event, request: BidRequest) -> list[dict[str, Any]]:
    return [
        {"id": candidate.id, "bid_micros": bid, "score": score, "reason": _name(reason)}
        for candidate, bid, score, reason in zip(
            request.candidates, event.bid_micros, event.score, event.reasons, strict=True
        )
    ]


def _differences(event: Event, again: Scored) -> str:
    """What is not the same, as a sentence; empty where nothing differs."""
    reasons = [
        one if one != Reason.FALLBACK_MODEL or other not in _OWN else other
        for one, other in zip(event.reasons, again.reasons, strict=True)
    ]  # the ladder renames the reason where another bundle than the arm's answered
    parts = {
        "bids": (event.bid_micros, list(again.bid_micros)),
        "scores": ([one.hex() for one in event.score], [float(one).hex() for one in again.score]),
        "reasons": (reasons, list(again.reasons)),
        "missing features": (event.missing, again.missing),
    }
    wrong = [name for name, (was, now) in parts.items() if was != now]
    return f"{', '.join(wrong)} differ from what was logged" if wrong else ""


def _name(reason: int) -> str:
    return Reason(reason).name.lower() if reason in list(Reason) else str(reason)
