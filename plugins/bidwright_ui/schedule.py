"""What Airflow will do next, from its own database through the api-server's session."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

_log = logging.getLogger(__name__)

BY_TIME: Final = "ingest_market"
"""The DAG that a clock wakes; what it lands wakes the others."""


def next_run() -> dict[str, Any] | None:
    """When the next market day is fetched: `dag`, `at` (ISO, UTC) and `paused`; None where Airflow does not say."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    try:
        with create_session() as session:
            found = session.get(DagModel, BY_TIME)
            if found is None:
                return None
            at, paused = found.next_dagrun_create_after, bool(found.is_paused)
    except Exception as error:  # noqa: BLE001  (the page is about our own ledger; Airflow's database must not take it along)
        _log.warning("Airflow's database does not say when %s runs next: %s", BY_TIME, error)
        return None
    return {"dag": BY_TIME, "at": _iso(at), "paused": paused} if at or paused else None


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()
