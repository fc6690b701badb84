"""The rows of the campaign by name, in their order; each new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.faults.campaign import rows_existing, rows_ledger, rows_network, rows_serving, rows_stores
from tests.faults.campaign.core import Row

_FOUND: Mapping[str, Row] = {
    **rows_existing.ROWS,
    **rows_ledger.ROWS,
    **rows_stores.ROWS,
    **rows_network.ROWS,
    **rows_serving.ROWS,
}

ROWS: Final[Mapping[str, Row]] = dict(sorted(_FOUND.items(), key=lambda item: int(item[0][1:])))
