"""The rows of the campaign by name, in their order; each new one is one line in its file's dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.faults.campaign import (
    rows_data,
    rows_existing,
    rows_late,
    rows_ledger,
    rows_network,
    rows_platform,
    rows_process,
    rows_serving,
    rows_stores,
)
from tests.faults.campaign.core import Row

_FILES = (
    rows_data,
    rows_existing,
    rows_late,
    rows_ledger,
    rows_network,
    rows_platform,
    rows_process,
    rows_serving,
    rows_stores,
)
_FOUND = {name: row for file in _FILES for name, row in file.ROWS.items()}

ROWS: Final[Mapping[str, Row]] = {name: _FOUND[name] for name in sorted(_FOUND, key=lambda name: int(name[1:]))}
