"""What each model of a version was fitted on: the digest of its rows, and the queries that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from ml.core.digests import Digest
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import insert
from ml.ledger.tables import TrainingSetRow


@dataclass(frozen=True)
class Entry:
    """The training set of one model: `rows` of them, all known before `as_of`."""

    model: str
    digest: Digest
    rows: int
    as_of: datetime
    query: str


def record(store: Store, market: str, version: Digest, entries: Sequence[Entry]) -> None:
    """Keep the training sets of a registered version; those that are there already stay as they were."""
    with writing(store) as session:
        for entry in entries:
            statement = insert(session, TrainingSetRow).values(
                market=market,
                version=version,
                model=entry.model,
                digest=entry.digest,
                row_count=entry.rows,
                as_of=entry.as_of,
                query=entry.query,
            )
            session.execute(statement.on_conflict_do_nothing(index_elements=["market", "version", "model"]))


def of_version(store: Store, market: str, version: Digest) -> list[Entry]:
    """The training sets of a version, by the name of their model; none for versions from before they were kept."""
    query = (
        select(TrainingSetRow)
        .where(TrainingSetRow.market == market, TrainingSetRow.version == version)
        .order_by(TrainingSetRow.model)
    )
    with reading(store) as session:
        return [
            Entry(model=row.model, digest=Digest(row.digest), rows=row.row_count, as_of=row.as_of, query=row.query)
            for row in session.scalars(query)
        ]
