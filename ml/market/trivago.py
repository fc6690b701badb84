"""The sample of the trivago RecSys Challenge 2019: two days of real sessions on a hotel metasearch site, with the lists
of up to 25 hotels that were shown with their prices, and which of them was clicked.

It is a source of shown lists (`ml.market.IMPRESSIONS`), not a market source: it cannot fill the canonical tables
honestly. An opportunity there is one search for one hotel with check-in, lead time, length of stay, our bid and our
price against the cheapest rival's; here a search has no dates and no bids, the prices are one per hotel and in the
currency displayed, and no offer is ours. A click there has a cost; here none. Made-up values would be learned from. So
the rows come by a door of their own, for the click model and its evaluation: `impressions` and `actions` of a day.

The rows are for research use and stay where they are; no row is copied into the project or the lake.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ml.core.errors import CorruptArtefact, NoData
from ml.core.units import MICROS_PER_UNIT, day_start

if TYPE_CHECKING:
    import pandas as pd

FILE = "trivago_val_100k.parquet"

CLICKOUT = "clickout item"
SORT = "change of sort order"
_NEEDED = (
    "user_id",
    "session_id",
    "timestamp",
    "step",
    "action_type",
    "reference",
    "platform",
    "city",
    "device",
    "impressions",
    "prices",
)


class TrivagoImpressions:
    """The folder with `trivago_val_100k.parquet`; read once, then each day is a slice."""

    name = "trivago"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def first_day(self) -> date:
        """The first UTC day."""
        return self._days[0]

    def last_day(self) -> date:
        """The last UTC day."""
        return self._days[1]

    def impressions(self, day: date) -> pd.DataFrame:
        """The hotels shown in the searches of a day that ended in a click, one row each, by list and position.

        Returns:
            list_id, session_id, user_id, ts, step (of the click in its session), market (the country site), city,
            device, hotel_id, position (1 is the top), price_micros (per night, in the currency displayed, so that only
            ratios within a list mean anything) and clicked. A list whose click is on none of its hotels is left out.

        Raises:
            NoData: the day is not among those of the sample.
        """
        import pandas as pd

        rows = self._of(day)
        rows = rows[rows["action_type"] == CLICKOUT]
        hotels, prices = rows["impressions"].str.split("|"), rows["prices"].str.split("|")
        if not (rows["impressions"].str.count(r"\|") == rows["prices"].str.count(r"\|")).all():
            raise CorruptArtefact(
                f"{FILE} has a list with more hotels than prices, or fewer", next="fetch the data set again"
            )
        there = [clicked in shown for clicked, shown in zip(rows["reference"], hotels, strict=True)]
        rows = rows.assign(hotel_id=hotels, price=prices)[there]
        lists = rows["session_id"] + "/" + rows["step"].astype(str)
        wide = rows.assign(list_id=lists).explode(["hotel_id", "price"], ignore_index=True)
        position = wide.groupby("list_id", sort=False).cumcount() + 1
        return pd.DataFrame(
            {
                "list_id": wide["list_id"],
                "session_id": wide["session_id"],
                "user_id": wide["user_id"],
                "ts": wide["ts"],
                "step": wide["step"],
                "market": wide["platform"],
                "city": wide["city"],
                "device": wide["device"],
                "hotel_id": wide["hotel_id"],
                "position": position,
                "price_micros": wide["price"].astype("int64") * MICROS_PER_UNIT,
                "clicked": wide["hotel_id"] == wide["reference"],
            }
        )

    def actions(self, day: date) -> pd.DataFrame:
        """Everything that travellers did on a day: session_id, step, ts, kind, and reference (the hotel of clicks and of
        interactions with one; the order chosen; what was searched for). By session and step."""
        names = {"action_type": "kind"}
        rows = self._of(day).rename(columns=names)
        return rows[["session_id", "step", "ts", "kind", "reference"]].reset_index(drop=True)

    def _of(self, day: date) -> pd.DataFrame:
        first, last = self._days
        if not first <= day <= last:
            raise NoData(f"{self.name} has no day {day}", next=f"choose a day from {first} to {last}")
        rows = self._raw
        start = day_start(day)
        return rows[(rows["ts"] >= start) & (rows["ts"] < start + timedelta(days=1))]

    @cached_property
    def _raw(self) -> pd.DataFrame:
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / FILE
        if not path.is_file():
            raise NoData(
                f"there is no {FILE} in {self.folder}", next="give the folder of the trivago RecSys 2019 sample"
            )
        try:
            file = pq.ParquetFile(path)
            missing = [name for name in _NEEDED if name not in file.schema_arrow.names]
            if missing:
                raise CorruptArtefact(f"{path} lacks the column {missing[0]}", next="fetch the data set again")
            rows: pd.DataFrame = file.read(columns=list(_NEEDED)).to_pandas()
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptArtefact(
                f"{path} is not a readable Parquet file: {error}", next="fetch the data set again"
            ) from error
        rows["ts"] = pd.to_datetime(rows["timestamp"], unit="s", utc=True)
        return rows.sort_values(["session_id", "step"], kind="stable", ignore_index=True)

    @cached_property
    def _days(self) -> tuple[date, date]:
        return self._raw["ts"].min().date(), self._raw["ts"].max().date()
