"""Which bids stand published, per market, partner and market day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Select, func, select, tuple_

from ml.core.digests import Digest
from ml.core.errors import StaleGeneration
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import insert, wrote
from ml.ledger.tables import PublicationRow

SERVING = "serving"
"""Stands where a partner's name would: the plan that the bid service follows. Its `uri` is the key of one blob."""


@dataclass(frozen=True)
class Publication:
    """The bids of one partner's day: by which champion (`version`, `generation`), how many rows, and which file.

    `switches` are the kill switches (ids, ascending) that shaped the bids; none shaped those that a champion wanted.
    `published_at` is filled in by the ledger.
    """

    market: str
    partner: str
    day: date
    version: Digest
    generation: int
    rows: int
    digest: Digest
    uri: str
    published_at: datetime | None = None
    switches: tuple[int, ...] = ()


def record(store: Store, publication: Publication, at: datetime) -> None:
    """Write a publication over the former one of its day.

    Raises:
        StaleGeneration: bids of a newer champion stand published for that day; they stay.
    """
    with writing(store) as session:
        statement = insert(session, PublicationRow).values(
            market=publication.market,
            partner=publication.partner,
            day=publication.day,
            version=publication.version,
            generation=publication.generation,
            bid_rows=publication.rows,
            digest=publication.digest,
            uri=publication.uri,
            published_at=at,
            switches=list(publication.switches),
        )
        new = statement.excluded
        columns = ("version", "generation", "bid_rows", "digest", "uri", "published_at", "switches")
        newer_or_same = statement.on_conflict_do_update(
            index_elements=["market", "partner", "day"],
            set_={name: new[name] for name in columns},
            where=PublicationRow.generation <= new.generation,
        )
        if not wrote(session, newer_or_same):
            raise StaleGeneration(
                f"bids of a newer champion than generation {publication.generation} are published for "
                f"{publication.partner} on {publication.day}",
                left="they stay published",
                next="publish again with the present champion",
            )


def get(store: Store, market: str, partner: str, day: date) -> Publication | None:
    """The publication of a partner's day; None when there is none."""
    return _first(store, _of(market, partner).where(PublicationRow.day == day))


def latest(store: Store, market: str, partner: str, before: date) -> Publication | None:
    """The last publication of a partner for a day before `before`; None when there is none."""
    return _first(store, _of(market, partner).where(PublicationRow.day < before))


def history(store: Store, market: str, partner: str, last: date) -> list[Publication]:
    """Every publication of a partner up to a day, newest first."""
    with reading(store) as session:
        return [_publication(row) for row in session.scalars(_of(market, partner).where(PublicationRow.day <= last))]


def for_day(store: Store, market: str, day: date) -> list[Publication]:
    """Every partner's publication of a market day, by partner; the bid service's plan is nobody's bids."""
    query = select(PublicationRow).where(
        PublicationRow.market == market, PublicationRow.day == day, PublicationRow.partner != SERVING
    )
    with reading(store) as session:
        return [_publication(row) for row in session.scalars(query.order_by(PublicationRow.partner))]


def standing(store: Store) -> list[Publication]:
    """The newest publication of every partner, and of the bid service's plan, in every market."""
    keys = (PublicationRow.market, PublicationRow.partner)
    newest = select(*keys, func.max(PublicationRow.day)).group_by(*keys)
    query = select(PublicationRow).where(tuple_(*keys, PublicationRow.day).in_(newest)).order_by(*keys)
    with reading(store) as session:
        return [_publication(row) for row in session.scalars(query)]


def _of(market: str, partner: str) -> Select[PublicationRow]:
    query = select(PublicationRow).where(PublicationRow.market == market, PublicationRow.partner == partner)
    return query.order_by(PublicationRow.day.desc())


def _first(store: Store, query: Select[PublicationRow]) -> Publication | None:
    with reading(store) as session:
        row = session.scalars(query.limit(1)).first()
        return None if row is None else _publication(row)


def _publication(row: PublicationRow) -> Publication:
    return Publication(
        market=row.market,
        partner=row.partner,
        day=row.day,
        version=Digest(row.version),
        generation=row.generation,
        rows=row.bid_rows,
        digest=Digest(row.digest),
        uri=row.uri,
        published_at=row.published_at,
        switches=tuple(row.switches),
    )
