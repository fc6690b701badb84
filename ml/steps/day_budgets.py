"""What each partner's day may cost and when its traffic comes, for the plan that the bid service follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml.bidding.day_budget import QUARTER_US, QUARTERS, DayBudget, day_budget
from ml.bidding.publish import read_budget
from ml.core.errors import NoData
from ml.steps.rows import TRAFFIC_DAYS, held_days

if TYPE_CHECKING:
    import pyarrow as pa

    from ml.ledger.publications import Publication
    from ml.platform import Platform

_DAY_US = QUARTERS * QUARTER_US


def day_budgets(platform: Platform, day: date, out: Mapping[str, Publication]) -> dict[str, DayBudget]:
    """The figures of each partner whose publication has a budget; the shares of the day as seen in the last two weeks.

    Args:
        platform: the platform.
        day: the market day whose knowledge is used.
        out: the publication that stands, by partner.
    """
    budgets = {partner: read_budget(platform.blobs, one.uri) for partner, one in out.items()}
    known = {partner: micros for partner, micros in budgets.items() if micros}
    if not known:
        return {}
    seen = searches_by_quarter(platform, day)
    nothing = np.zeros(QUARTERS, dtype=np.int64)
    return {partner: day_budget(micros, seen.get(partner, nothing)) for partner, micros in sorted(known.items())}


def searches_by_quarter(platform: Platform, day: date) -> dict[str, npt.NDArray[np.int64]]:
    """Searches in each quarter of the UTC day, shape (QUARTERS,), by partner; of the last two weeks without the held days."""
    found: dict[str, npt.NDArray[np.int64]] = {}
    held = {*held_days(platform, day)}
    for back in range(TRAFFIC_DAYS):
        one = day - timedelta(days=back)
        if one in held:
            continue
        try:
            rows = platform.lake.scan("opportunities", first=one, last=one, columns=["partner", "ts"])
        except NoData:
            continue
        for partner, counts in _counted(rows).items():
            found[partner] = found.get(partner, 0) + counts
    return found


def _counted(rows: pa.Table) -> dict[str, npt.NDArray[np.int64]]:
    import pyarrow as pa

    partners = rows["partner"].combine_chunks().dictionary_encode()
    names = partners.dictionary.to_pylist()
    at = rows["ts"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    quarter = at % _DAY_US // QUARTER_US
    codes = partners.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(codes * QUARTERS + quarter, minlength=len(names) * QUARTERS)
    return dict(zip(names, counts.reshape(len(names), QUARTERS), strict=True))
