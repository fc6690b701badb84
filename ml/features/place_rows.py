"""Every auction with our bid and the place that it reached, won or lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import pandas as pd

from ml.features.decisions import last_day_before, share_of, to_pandas, without_days
from ml.features.engine import engine, open_canonical
from ml.lake.lake import Lake


def place_rows(
    lake: Lake,
    columns: Sequence[str],
    *,
    as_of: datetime,
    first: date,
    exclude_days: Sequence[date] = (),
    share: float = 1.0,
) -> pd.DataFrame:
    """Auctions known before `as_of`.

    Args:
        lake: the market's lake.
        columns: of the canonical table of opportunities.
        as_of: the instant of knowledge.
        first: first market day.
        exclude_days: market days of which nothing is taken.
        share: of the auctions, above 0 to 1; chosen by a hash of the id, so that it is the same choice always.

    Returns:
        One row per opportunity, ordered by its id, with `columns`.
    """
    with engine(lake) as backend:
        rows = open_canonical(backend, lake, "opportunities", first=first, last=last_day_before(as_of))
        rows = without_days(rows, exclude_days)
        rows = share_of(rows.filter(rows["known_at"] < as_of), "opportunity_id", share)
        return to_pandas(backend, rows.select(*columns).order_by("opportunity_id"))
