"""Registered bundles of bid models, by their digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select

from ml.core.digests import Digest
from ml.core.errors import UsageError
from ml.ledger.database import Store, reading, writing
from ml.ledger.sql import insert
from ml.ledger.tables import VersionRow

_PREFIX = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Version:
    """A bundle: what it was trained on, how it did, and where its files are.

    `trained_through` is the last market day whose knowledge it saw; `mlflow_run_id` is empty when tracking
    was not reachable. `registered_at` is filled in by the ledger.
    """

    digest: Digest
    market: str
    day: date
    uri: str
    data_digest: Digest
    trained_through: date
    metrics: Mapping[str, Any]
    mlflow_run_id: str
    registered_at: datetime | None = None


def register(store: Store, version: Version, at: datetime) -> Version:
    """Register a bundle; one that is registered already stays as it was. Returns it as it stands."""
    values = {
        "market": version.market,
        "digest": version.digest,
        "day": version.day,
        "uri": version.uri,
        "data_digest": version.data_digest,
        "trained_through": version.trained_through,
        "metrics": dict(version.metrics),
        "mlflow_run_id": version.mlflow_run_id,
        "registered_at": at,
    }
    with writing(store) as session:
        statement = insert(session, VersionRow).values(**values)
        session.execute(statement.on_conflict_do_nothing(index_elements=["market", "digest"]))
        stands = get(session, version.market, version.digest)
    if stands is None:
        raise AssertionError("a version that was just registered is not there")
    return stands


def get(store: Store, market: str, digest: Digest) -> Version | None:
    """The version with a whole digest; None when it is not registered."""
    query = select(VersionRow).where(VersionRow.market == market, VersionRow.digest == digest)
    with reading(store) as session:
        row = session.scalars(query).first()
        return None if row is None else _version(row)


def find(store: Store, market: str, prefix: str) -> Version:
    """The one version whose digest begins with `prefix` (4 to 64 hex digits, as a person types it).

    Raises:
        UsageError: not such a prefix, no version has it, or several do.
    """
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(f"{prefix!r} is no version", next="give the first 4 or more hex digits of its digest")
    query = (
        select(VersionRow)
        .where(VersionRow.market == market, VersionRow.digest.startswith(prefix))
        .order_by(VersionRow.id.desc())
        .limit(3)
    )
    with reading(store) as session:
        found = [_version(row) for row in session.scalars(query)]
    if not found:
        raise UsageError(f"no version of {market} begins with {prefix}", next="list them with: bidwright status")
    if len(found) > 1:
        some = ", ".join(version.digest[: len(prefix) + 8] for version in found)
        raise UsageError(f"several versions of {market} begin with {prefix}: {some}", next="give more digits")
    return found[0]


def newest(store: Store, market: str, n: int) -> list[Version]:
    """The last `n` registered versions, newest first."""
    query = select(VersionRow).where(VersionRow.market == market).order_by(VersionRow.id.desc()).limit(n)
    with reading(store) as session:
        return [_version(row) for row in session.scalars(query)]


def _version(row: VersionRow) -> Version:
    return Version(
        digest=Digest(row.digest),
        market=row.market,
        day=row.day,
        uri=row.uri,
        data_digest=Digest(row.data_digest),
        trained_through=row.trained_through,
        metrics=row.metrics,
        mlflow_run_id=row.mlflow_run_id,
        registered_at=row.registered_at,
    )
