"""The champion alias of a market: which bundle is live, since when, and by which decision.

The alias moves by compare-and-set on a generation, in one transaction with the promotion that explains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Insert, Select, Update, select, update
from sqlalchemy.orm import Session

from ml.core.digests import Digest
from ml.core.errors import PermanentError, StaleGeneration, UsageError
from ml.core.faultpoints import faultpoint
from ml.core.verdict import Verdict
from ml.ledger import bars, decisions
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import insert, wrote
from ml.ledger.tables import ChampionRow, PromotionRow

_NOT_MOVED = "the champion was not moved"


@dataclass(frozen=True)
class Champion:
    """A bundle that is or was live from market day `since`; generations count from 1 without a gap."""

    market: str
    digest: Digest
    generation: int
    since: date
    decision_id: int
    moved_at: datetime


def current(store: Store, market: str) -> Champion | None:
    """The champion now; None before the first promotion."""
    query = _promotions(market).join(
        ChampionRow,
        (ChampionRow.market == PromotionRow.market) & (ChampionRow.generation == PromotionRow.generation),
    )
    with reading(store) as session:
        return _first(session, query)


def move(
    store: Store, market: str, *, digest: Digest, expected_generation: int, decision_id: int, day: date, at: datetime
) -> Champion:
    """Make `digest` the champion from market day `day`, if the alias still stands at `expected_generation`.

    0 expects that there is no champion yet. The same decision again returns the same answer without a second
    effect, whatever moved since.

    Raises:
        StaleGeneration: another decision moved the alias first.
        UsageError: the decision is absent or is about another market, version or generation.
        PermanentError: the decision is not PASS, its candidate is barred, or `day` lies before the day of the present
            champion.
    """
    with writing(store) as session:
        if (done := moved_by(session, decision_id)) is not None:
            return _same(done, market, digest)
        _justify(session, market, digest, expected_generation, decision_id)
        _keep_history(session, market, expected_generation, day)
        if not _compare_and_set(session, market, expected_generation):
            # A copy of this very task may have committed between the first look and the write.
            if (done := moved_by(session, decision_id)) is not None:
                return _same(done, market, digest)
            raise StaleGeneration(
                f"the champion of {market} is no longer at generation {expected_generation}",
                left=_NOT_MOVED,
                next="judge the candidate again, against the present champion",
            )
        faultpoint("promote.in_move")
        row = PromotionRow(
            market=market,
            generation=expected_generation + 1,
            digest=digest,
            since=day,
            decision_id=decision_id,
            moved_at=at,
        )
        session.add(row)
        session.flush()
        return _champion(row)


def on_day(store: Store, market: str, day: date) -> Champion | None:
    """Who was champion at the end of a market day, and by which decision; None before the first."""
    with reading(store) as session:
        return _first(session, _promotions(market).where(PromotionRow.since <= day))


def history(store: Store, market: str) -> list[Champion]:
    """Every champion a market had, oldest first."""
    with reading(store) as session:
        return [_champion(row) for row in session.scalars(_promotions(market))][::-1]


def _promotions(market: str) -> Select[PromotionRow]:
    return select(PromotionRow).where(PromotionRow.market == market).order_by(PromotionRow.generation.desc())


def _first(session: Session, query: Select[PromotionRow]) -> Champion | None:
    row = session.scalars(query.limit(1)).first()
    return None if row is None else _champion(row)


def moved_by(store: Store, decision_id: int) -> Champion | None:
    """The champion that a decision made, whether or not it still is; None where the decision moved nothing."""
    with reading(store) as session:
        return _first(session, select(PromotionRow).where(PromotionRow.decision_id == decision_id))


def _same(done: Champion, market: str, digest: Digest) -> Champion:
    if (done.market, done.digest) != (market, digest):
        raise UsageError(
            f"decision {done.decision_id} already moved {done.market} to {done.digest[:12]}",
            left=_NOT_MOVED,
            next="give the decision about this market and version",
        )
    return done


def _justify(session: Session, market: str, digest: Digest, generation: int, decision_id: int) -> None:
    decision = decisions.get(session, decision_id)
    if (decision.market, decision.candidate, decision.generation) != (market, digest, generation):
        raise UsageError(
            f"decision {decision_id} is about {decision.candidate[:12]} of {decision.market} at generation "
            f"{decision.generation}, not {digest[:12]} of {market} at {generation}",
            left=_NOT_MOVED,
            next="give the decision about this market and version",
        )
    if decision.verdict is not Verdict.PASS:
        raise PermanentError(
            f"decision {decision_id} is {decision.verdict}, and only PASS moves the champion",
            left=_NOT_MOVED,
            next=f"read its gates with: bidwright explain {digest[:12]}",
        )
    # Within the transaction, and behind the lock of `bars.bar`: a zombie must not carry out what was barred meanwhile.
    bars.lock(session, market, digest)
    kept_out = bars.barred(session, market, digest)
    if kept_out is not None and (decision.kind != decisions.ROLLBACK or not kept_out.is_freeze):
        raise PermanentError(
            f"{digest[:12]} may not become champion of {market}: {kept_out.reason}",
            left=_NOT_MOVED,
            next="see what is barred with: bidwright bars list",
        )


def _keep_history(session: Session, market: str, generation: int, day: date) -> None:
    """Refuse a day before the present champion's: it would change who was champion on days already answered for."""
    present = current(session, market)
    if present is not None and present.generation == generation and day < present.since:
        raise PermanentError(
            f"the champion of {market} began on {present.since}, so none can begin on {day}",
            left=_NOT_MOVED,
            next="promote for a market day that is not before it",
        )


def _compare_and_set(session: Session, market: str, generation: int) -> bool:
    statement: Insert | Update = (
        insert(session, ChampionRow).values(market=market, generation=1).on_conflict_do_nothing()
        if generation == 0
        else update(ChampionRow)
        .where(ChampionRow.market == market, ChampionRow.generation == generation)
        .values(generation=generation + 1)
    )
    return wrote(session, statement)


def _champion(row: PromotionRow) -> Champion:
    return Champion(row.market, Digest(row.digest), row.generation, row.since, row.decision_id, row.moved_at)
