"""Waivers: a person lets one candidate pass over one gate for a while; every promotion that leans on one needs approval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select

from ml.core.digests import Digest
from ml.core.errors import UsageError
from ml.ledger import versions
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import lock_key
from ml.ledger.tables import WaiverRow

MOST_DAYS = 30
"""A waiver lasts no longer: what is waived for ever is no gate, and belongs into the policy."""


@dataclass(frozen=True)
class Waiver:
    """Gate `gate` is waived for one candidate, by whom, why, and from when until when."""

    id: int
    market: str
    gate: str
    candidate: Digest
    why: str
    by: str
    at: datetime
    expires_at: datetime

    def as_json(self) -> dict[str, str | int]:
        """As a decision keeps it."""
        return {"waiver": self.id, "by": self.by, "why": self.why, "until": self.expires_at.isoformat()}


def waive(
    store: Store, market: str, *, gate: str, candidate: Digest, why: str, by: str, at: datetime, days: int
) -> Waiver:
    """Waive a gate for a candidate. One that stands already for the same person and reason is returned as it is.

    Raises:
        UsageError: nobody is named, no reason is given, the days are none or too many, or the candidate is not registered.
    """
    if not (by.strip() and why.strip()):
        raise UsageError("a waiver needs a person and a reason", left="nothing was waived", next="give --by and --why")
    if not 1 <= days <= MOST_DAYS:
        raise UsageError(
            f"a waiver of {days} days is none", left="nothing was waived", next=f"give 1 to {MOST_DAYS} days"
        )
    with writing(store) as session:
        if versions.get(session, market, candidate) is None:
            raise UsageError(
                f"the candidate {candidate[:12]} is not a registered version of {market}",
                left="nothing was waived",
                next="list the versions with: bidwright status",
            )
        lock_key(session, "waiver", market, gate, candidate)
        same = _standing(market, candidate, at).where(
            WaiverRow.gate == gate, WaiverRow.waived_by == by, WaiverRow.why == why
        )
        row = session.scalars(same).first()
        if row is None:
            row = WaiverRow(
                market=market, gate=gate, candidate=candidate, why=why, waived_by=by, waived_at=at,
                expires_at=at + timedelta(days=days),
            )  # fmt: skip
            session.add(row)
            session.flush()
        return _waiver(row)


def standing(store: Store, market: str, candidate: Digest, *, at: datetime) -> list[Waiver]:
    """The waivers of a candidate that are valid at an instant, oldest first."""
    with reading(store) as session:
        return [_waiver(row) for row in session.scalars(_standing(market, candidate, at))]


def _standing(market: str, candidate: Digest, at: datetime) -> Select[WaiverRow]:
    return (
        select(WaiverRow)
        .where(WaiverRow.market == market, WaiverRow.candidate == candidate)
        .where(WaiverRow.waived_at <= at, WaiverRow.expires_at > at)
        .order_by(WaiverRow.id)
    )


def _waiver(row: WaiverRow) -> Waiver:
    return Waiver(
        row.id, row.market, row.gate, Digest(row.candidate), row.why, row.waived_by, row.waived_at, row.expires_at
    )
