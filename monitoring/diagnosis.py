"""The likely cause of what moved, from the pattern of what moved and what did not.

Every way of every cause (`monitoring.signatures`) says how likely each symptom moves under it; the belief in a cause is the
likelihood of what was seen under its best way, over that of all causes. A symptom that could not be told says nothing. The
cause of the day before is believed in beforehand a little more, so that one event is one incident.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.core.verdict import Verdict
from monitoring.signatures import SIGNATURES, SYMPTOMS, Signature
from monitoring.watchers.protocol import Watched
from monitoring.watchers.series import MARKET, Scope

CAUSES = ("demand", "rivals", "parity", "tracking", "feed", "cancellations", "auction", "model", "unknown")
"""What it can be."""

SHOWN = 0.05
"""Causes believed in less are not told."""

BELIEVED_BEFORE = 4.0
"""How much more the cause of the day before is believed in beforehand."""

PAYS_BID, FREE, STOPPED = (0.93, 1.07), 0.15, 0.2

_MEASURES: Mapping[str, tuple[str, ...]] = {
    "eligible": ("eligible",),
    "new_hotels": ("new_hotels",),
    "own_price": ("own_price",),
    "rival_price": ("rival_price",),
    "spread": ("price_spread",),
    "wrong_rates": ("wrong_rates",),
    "places": ("places_reached",),
    "cost": ("cost_of_bid",),
    "click_rate": ("click_rate",),
    "bookings": ("same_day_bookings", "bookings_per_click"),
    "uncredited": ("uncredited",),
    "cancels": ("early_cancellations",),
    "predicted": ("predicted_booking", "predicted_value", "predicted_click"),
    "calibration": ("bookings_over_expected",),
    "repeated": ("repeated_rows",),
    "stale": ("last_hour",),
}
"""The measures of watchers that a symptom is read from; the first that moved counts."""


@dataclass(frozen=True)
class Diagnosis:
    """A likely cause: its share of the belief among all causes (0 to 1), and what speaks for it, in sentences."""

    cause: str
    share: float
    evidence: Sequence[str]
    scope: Scope = MARKET

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "cause": self.cause,
            "share": round(self.share, 4),
            "evidence": list(self.evidence),
            "partner": self.scope.partner,
            "point_of_sale": self.scope.point_of_sale,
        }


@dataclass(frozen=True)
class Symptom:
    """What became of a symptom: 1 and -1, it moved up or down; 0, it stayed. `finding` says so."""

    direction: int
    finding: Watched


def diagnose(findings: Sequence[Watched], *, before: str = "") -> list[Diagnosis]:
    """The likely causes, the likeliest first; none where nothing moved that is worth an alarm.

    Args:
        findings: of every watcher.
        before: the likeliest cause of the day before, where something moved then.
    """
    failed = [found for found in findings if found.verdict is Verdict.FAIL]
    if not failed:
        return []
    scope = where(failed)
    seen = symptoms(findings, scope)
    belief = believe(seen, before=before)
    ranked = sorted(belief, key=lambda cause: -belief[cause])
    told = [cause for cause in ranked if belief[cause] >= SHOWN] or ranked[:1]
    return [Diagnosis(cause, belief[cause], _evidence(cause, seen, ranked), scope) for cause in told]


def where(failed: Sequence[Watched]) -> Scope:
    """The part of the market that the alarm is about: the widest, unless a single partner or point of sale carries it."""
    lead = max(failed, key=lambda found: (found.scope == MARKET, found.evidence or 0.0))
    same = [found for found in failed if found.column == lead.column]
    for kind in ("partner", "point_of_sale"):
        parts = [found for found in same if getattr(found.scope, kind)]
        inside = {found.scope for found in parts}
        larger = [f for f in parts if abs(f.effect or 0.0) > 1.3 * abs(lead.effect or 0.0)]
        if len(inside) == 1 and (larger or lead.scope != MARKET):
            return inside.pop()
    return lead.scope


def symptoms(findings: Sequence[Watched], scope: Scope) -> dict[str, Symptom]:
    """What became of each symptom in a part of the market; what could not be told there is told of the whole, or left out."""
    seen: dict[str, Symptom] = {}
    for name, measures in _MEASURES.items():
        own = [f for f in findings if f.column in measures and f.effect is not None and f.verdict is not Verdict.HOLD]
        here = [f for f in own if f.scope == scope] or [f for f in own if f.scope == MARKET]
        if here:
            finding = max(here, key=lambda f: (f.moved, f.evidence or 0.0))
            seen[name] = Symptom(-finding.direction if name == "stale" else finding.direction, finding)
    return seen | _levels(findings, scope, seen)


def _levels(findings: Sequence[Watched], scope: Scope, seen: Mapping[str, Symptom]) -> dict[str, Symptom]:
    """Symptoms that are a level and not a move: what clicks cost at a partner, and whether bookings stopped."""
    found = {}
    costs = [f for f in findings if f.column == "cost_of_bid" and f.now is not None and f.scope.partner]
    costs = [f for f in costs if scope in (f.scope, MARKET) or not scope.partner] or [
        f for f in findings if f.column == "cost_of_bid" and f.now is not None and f.scope == scope
    ]
    levels = {"pays_bid": (1, *PAYS_BID), "above_bid": (1, PAYS_BID[1], math.inf), "free": (-1, -math.inf, FREE)}
    for name, (direction, low, high) in levels.items():
        if costs:
            hit = next((f for f in costs if f.direction == direction and low < (f.now or 0.0) <= high), None)
            found[name] = Symptom(1 if hit else 0, hit or costs[0])
            if hit:
                found["cost"] = Symptom(hit.direction, hit)
    booked = seen.get("bookings")
    if booked is not None:
        now = booked.finding.now
        stopped = booked.direction < 0 and now is not None and now < STOPPED
        found["stopped"] = Symptom(1 if stopped else 0, booked.finding)
    return found


def believe(seen: Mapping[str, Symptom], *, before: str = "") -> dict[str, float]:
    """The share of each cause, 0 to 1; they add up to 1."""
    ways = {cause: [s for s in SIGNATURES if s.cause == cause] for cause in CAUSES}
    weight = {
        cause: max(math.exp(_log_likelihood(way, seen)) for way in found)
        * (BELIEVED_BEFORE if cause == before else 1.0)
        for cause, found in ways.items()
    }  # fmt: skip
    total = sum(weight.values())
    return {cause: found / total for cause, found in weight.items()}


def _log_likelihood(way: Signature, seen: Mapping[str, Symptom]) -> float:
    return sum(_log(way, name, symptom) for name, symptom in seen.items())


def _log(way: Signature, name: str, symptom: Symptom) -> float:
    up, down = way.moves[name]
    return math.log({1: up, -1: down, 0: 1.0 - up - down}[symptom.direction])


def _best(cause: str, seen: Mapping[str, Symptom]) -> Signature:
    return max((s for s in SIGNATURES if s.cause == cause), key=lambda s: _log_likelihood(s, seen))


def _evidence(cause: str, seen: Mapping[str, Symptom], ranked: Sequence[str]) -> list[str]:
    """What moved and is expected to, the most telling first; then what speaks against the next causes."""
    way = _best(cause, seen)
    others = [_best(other, seen) for other in ranked if other != cause]

    def telling(name: str) -> float:
        return _log(way, name, seen[name]) - max(_log(other, name, seen[name]) for other in others[:3])

    moved = [name for name, symptom in seen.items() if symptom.direction]
    expected = [name for name in moved if sum(way.moves[name]) >= 0.2]
    told = dict.fromkeys(_sentence(seen[name].finding) for name in sorted(expected, key=lambda n: -telling(n)))
    besides = [SYMPTOMS[name] for name in moved if name not in expected]
    against = []
    for other in others[:2]:
        if other.cause == "unknown":
            continue
        gain = {name: _log(way, name, s) - _log(other, name, s) for name, s in seen.items() if not s.direction}
        name = max(gain, key=lambda n: gain[n], default="")
        if name and gain[name] > 0.5:
            against.append(f"It is hardly {other.cause} ({other.way}): {SYMPTOMS[name]} did not move.")
    tail = [f"Not explained by it: {', '.join(besides)}."] if besides else []
    return [*told, *against, *tail]


def _sentence(finding: Watched) -> str:
    return f"{finding.reason[:1].upper()}{finding.reason[1:]}."
