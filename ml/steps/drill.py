"""A rehearsal of the rollback: back and forward on a copy of the market's champions, never on the live alias."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ml.core.errors import BidwrightError
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, rollbacks, versions
from ml.ledger.decisions import Decision
from ml.ledger.drills import Drill
from ml.promotion.ramp import RampPolicy
from ml.promotion.rollback import roll_back, verify

if TYPE_CHECKING:
    from ml.core.clock import Clock
    from ml.ledger.champion import Champion
    from ml.ledger.database import Database

SUFFIX: Final = "~rehearsal"
"""After a market's name: its copy for rehearsals."""
BY: Final = "the rehearsal"


def drill(db: Database, market: str, *, policy: RampPolicy, clock: Clock) -> Drill:
    """Restore the champion before the present one on the market's copy, and the present one again.

    Returns:
        The drill, not yet recorded: `took_ms` is the time of the way back, `ok` whether both ways ended where they should
        and the live alias stayed where it was. An error of the ledger is a drill that is not ok.
    """
    copy, at = market + SUFFIX, clock.now()
    before = champion.current(db, market)
    others = [one for one in champion.history(db, market) if before and one.digest != before.digest]
    if before is None or not others:
        return Drill(market, at, 0, False, {"reason": "there is no earlier champion to go back to"})
    began = time.monotonic()
    try:
        now = _stand_in(db, copy, market, (others[-1], before), clock)
        began = time.monotonic()
        back = _go(db, copy, now, others[-1], policy, clock)
        took_ms = round((time.monotonic() - began) * 1000)
        forward = _go(db, copy, back, before, policy, clock)
    except BidwrightError as error:
        took_ms = round((time.monotonic() - began) * 1000)
        return Drill(market, at, took_ms, False, {"reason": str(error)})
    live = champion.current(db, market)
    ok = (back.digest, forward.digest) == (others[-1].digest, before.digest) and live == before
    last = rollbacks.last(db, copy)
    return Drill(
        market,
        at,
        took_ms,
        ok,
        {
            "reason": "back and forward" if ok else "the alias did not end where it should",
            "back_to": back.digest,
            "forward_to": forward.digest,
            "generation": forward.generation,
            "decision_id": last.decision_id if last else None,
        },
    )


def _go(db: Database, copy: str, live: Champion, target: Champion, policy: RampPolicy, clock: Clock) -> Champion:
    """One way; the copy's newest generation of that bundle is restored."""
    generation = next(one.generation for one in reversed(champion.history(db, copy)) if one.digest == target.digest)
    with db.session() as session:
        done = roll_back(
            session, copy, from_generation=live.generation, to_generation=generation, why="rehearsal", by=BY,
            day=live.since, policy=policy, bar=False, at=clock.now(),
        )  # fmt: skip
    return verify(db, done.rollback)


def _stand_in(db: Database, copy: str, market: str, champions: tuple[Champion, ...], clock: Clock) -> Champion:
    """Let the copy's alias stand at the second of two champions, having stood at the first."""
    now = champion.current(db, copy)
    for one in champions:
        if any(had.digest == one.digest for had in champion.history(db, copy)) and one is not champions[-1]:
            continue
        if now is not None and now.digest == one.digest:
            continue
        version = versions.get(db, market, one.digest)
        if version is None:
            raise AssertionError("a champion that is not a version")
        at, generation = clock.now(), now.generation if now else 0
        day = max(one.since, now.since) if now else one.since
        with db.session() as session:
            versions.register(session, replace(version, market=copy), at)
            decision = Decision(
                market=copy, day=day, candidate=one.digest, champion=now.digest if now else None,
                generation=generation, verdict=Verdict.PASS, gates=[{"gate": "rehearsal", "verdict": "PASS"}],
                policy_digest=one.digest, approval=None,
            )  # fmt: skip
            decision_id = decisions.record(session, decision, at)
            now = champion.move(
                session, copy, digest=one.digest, expected_generation=generation, decision_id=decision_id, day=day,
                at=at,
            )  # fmt: skip
    if now is None:
        raise AssertionError("the copy has no champion")
    return now
