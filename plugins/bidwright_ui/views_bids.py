"""Published bids: what went to which partner, and the file itself."""

from __future__ import annotations

import csv
import io
from itertools import islice
from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View, plain
from ml.core.errors import NoData
from ml.core.units import parse_day

if TYPE_CHECKING:
    from ml.ledger.publications import Publication
    from ml.platform import Platform

DAYS_SHOWN = 14
ROWS_SHOWN = 200


def bids(platform: Platform) -> View:
    """What was published on the last days, newest first."""
    from ml.ledger import publications, stages

    days = sorted(stages.days(platform.db, platform.market), reverse=True)
    found = [p for day in days[:DAYS_SHOWN] for p in publications.for_day(platform.db, platform.market, day)]
    return {"bids": plain(found)}


def bid_table(platform: Platform, partner: str, day: str) -> View:
    """The first rows of a published table, from the CSV that the partner gets."""
    found = _published(platform, partner, day)
    text = platform.blobs.get(f"{found.uri}/bids.csv").decode()
    rows = list(islice(csv.reader(io.StringIO(text)), ROWS_SHOWN + 1))
    return {"publication": plain(found), "columns": rows[0], "rows": rows[1:]}


def bids_file(platform: Platform, partner: str, day: str) -> bytes:
    """The published table as it stands in the blob store."""
    return platform.blobs.get(f"{_published(platform, partner, day).uri}/bids.csv")


def _published(platform: Platform, partner: str, day: str) -> Publication:
    from ml.ledger import publications

    found = publications.get(platform.db, platform.market, partner, parse_day(day))
    if found is None:
        raise NoData(f"nothing was published for {partner} on {day}", next="choose one from the list")
    return found


PAGES: Final = {
    "/bids": Page(
        "bids",
        bids,
        "bids",
        f"What was published on the last {DAYS_SHOWN} market days.",
        {"bids": "One object per market day and partner, newest first."},
    ),
    "/bids/{partner}/{day}": Page(
        "bid_table",
        bid_table,
        "bids",
        f"The first {ROWS_SHOWN} rows of a published table.",
        {
            "publication": "By which champion, how many rows, which file.",
            "columns": "Names of the columns.",
            "rows": "As text, as the partner gets them.",
        },
    ),
}
