"""The quarantine table: rows that broke the contract, as they came, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from ml.core.digests import canonical_json
from ml.core.units import known_by
from ml.market.check import Checked

QUARANTINE = "quarantine"
"""Name of the lake table: `table`, `key`, `reason`, `row` (JSON text), `known_at`."""


def quarantine_rows(day: date, tables: Iterable[Checked]) -> pd.DataFrame:
    """Every quarantined row of a day, an empty frame when there is none; `known_at` is the end of the day, since the row's own may be what is wrong."""
    parts = [_rows(checked) for checked in tables if checked.quarantined]
    if not parts:
        return pd.DataFrame()
    rows = pd.concat(parts, ignore_index=True)
    known_at = pd.Timestamp(known_by(day) - timedelta(microseconds=1))
    return rows.assign(known_at=pd.Series([known_at] * len(rows), dtype="datetime64[us, UTC]"))


def _rows(checked: Checked) -> pd.DataFrame:
    places = np.flatnonzero(pd.notna(checked.reasons))
    records = checked.raw.iloc[places].to_dict("records")
    return pd.DataFrame(
        {
            "table": pd.Series([checked.table.name] * len(places), dtype=object),
            "key": pd.Series(["|".join(str(r[name]) for name in checked.table.key) for r in records], dtype=object),
            "reason": pd.Series(checked.reasons[places], dtype=object),
            "row": pd.Series([_as_json(record) for record in records], dtype=object),
        }
    )


def _as_json(record: dict[Any, Any]) -> str:
    return canonical_json({str(name): _plain(value) for name, value in record.items()}).decode()


def _plain(value: Any) -> Any:
    """A JSON value: null for what is missing, text for what JSON cannot say, such as times and infinities."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return None
    if isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and abs(value) != float("inf"):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
