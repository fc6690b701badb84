"""Published bids: what went to which partner and why, what became of it through the day, and the file itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.charts import Chart, chart, series
from bidwright_ui.page import Page, View, plain
from ml.core.errors import BidwrightError, NoData
from ml.core.units import from_micros, parse_day

if TYPE_CHECKING:
    from ml.ledger.publications import Publication
    from ml.platform import Platform

DAYS_SHOWN = 28
ROWS_SHOWN = 200
HOTELS = 15


def bids(platform: Platform) -> View:
    """The newest publication, and the list of those before it."""
    from ml.ledger import publications, stages

    days = sorted(stages.days(platform.db, platform.market), reverse=True)[:DAYS_SHOWN]
    found = [p for day in days for p in publications.for_day(platform.db, platform.market, day)]
    newest = found[0].day if found else None
    return {"bids": plain(found), "newest": None if newest is None else day_of_bids(platform, newest.isoformat())}


def day_of_bids(platform: Platform, day: str) -> View:
    """What was published on one market day, for the auctions of the next."""
    from ml.ledger import publications, stages

    when = parse_day(day)
    found = publications.for_day(platform.db, platform.market, when)
    if not found:
        raise NoData(f"nothing was published on {day}", next="choose a day from the list")
    key = stages.StageKey(platform.market, "publish", when)
    record = stages.get(platform.db, key)
    told: Mapping[str, Any] = record.result if record else {}
    expected = {partner: dict(one) for partner, one in (told.get("expected") or {}).items()}
    problems: list[str] = []
    partners = [_partner(platform, one, told, expected, problems) for one in found]
    for_day = when + timedelta(days=1)
    return {
        "day": day,
        "for_day": for_day.isoformat(),
        "currency": platform.settings.currency,
        "partners": partners,
        "spend": _spend(platform, for_day, expected, problems),
        "changes": [one["changes"]["chart"] for one in partners if one["changes"]],
        "problems": problems,
    }


def _partner(
    platform: Platform,
    publication: Publication,
    told: Mapping[str, Any],
    expected: Mapping[str, Mapping[str, Any]],
    problems: list[str],
) -> dict[str, Any]:
    from ml.bidding.publish import read_budget
    from ml.published import changes, top_hotels

    name = publication.partner
    moved: dict[str, Any] | None = None
    hotels: list[dict[str, Any]] = []
    budget: int | None = None
    try:
        budget = read_budget(platform.blobs, publication.uri)
        moved = changes(platform, publication)
        hotels = top_hotels(platform, publication, HOTELS)
    except BidwrightError as error:
        # The ledger's part of the page stands, whatever became of a file.
        problems.append(str(error))
    return {
        "partner": name,
        "publication": plain(publication),
        "expected": expected.get(name),
        "language_loss": (told.get("language_loss") or {}).get(name),
        "daily_budget_micros": budget,
        "reasons": list((told.get("reasons") or {}).get(name, [])),
        "changes": None if moved is None else moved | {"chart": _change_chart(name, moved)},
        "hotels": hotels,
    }


def _change_chart(partner: str, moved: Mapping[str, Any]) -> Chart:
    bins = moved["bins"]
    up, down = moved["up"], moved["down"]
    return chart(
        f"{partner}: bids against {moved['since']}",
        series("share of cells", [one["share"] * 100 for one in bins], style="bars"),
        x=[one["label"] for one in bins],
        kind="category",
        label="change",
        unit="% of cells",
        said=f"of {moved['cells']:,} cells {up:,} are bid up and {down:,} down by more than 2 %; ".replace(",", " ")
        + f"{moved['new']} are new and {moved['gone']} are gone",
    )


def _spend(
    platform: Platform, day: date, expected: Mapping[str, Mapping[str, Any]], problems: list[str]
) -> list[Chart]:
    from ml.published import HOURS, spend_through_the_day

    try:
        found = spend_through_the_day(platform, day, {name: one["cost_micros"] for name, one in expected.items()})
    except BidwrightError as error:
        problems.append(str(error))
        return []

    def units(values: list[int | None]) -> list[float | None]:
        return [None if value is None else from_micros(value) for value in values]

    return [
        chart(
            f"{row['partner']}, {day.isoformat()}",
            series("spent", units(row["spent"])),
            series("planned", units(row["planned"]), style="dashed"),
            x=[f"{hour:02}" for hour in range(HOURS)],
            kind="category",
            label="hour (UTC)",
            unit=platform.settings.currency,
            zero=True,
            said=_said(row, platform.settings.currency),
        )
        for row in found
    ]


def _said(row: Mapping[str, Any], currency: str) -> str:
    spent, planned = row["spent"][-1], row["planned"][-1]
    told = "not known yet" if spent is None else f"{from_micros(spent):,.2f} {currency} spent".replace(",", " ")
    plan = (
        "nothing was planned"
        if planned is None
        else f"{from_micros(planned):,.2f} {currency} planned".replace(",", " ")
    )
    return f"{told}, {plan}"


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


_DAY: Final = {
    "day": "The market day whose knowledge the bids rest on.",
    "for_day": "The market day whose auctions they decide.",
    "currency": "Of the amounts.",
    "partners": "Per partner what was published, what was expected of it, what its language loses, what guards and "
    "language said, its changes and its top hotels.",
    "spend": "Spend against plan through the day, as series per partner.",
    "changes": "How far bids moved since the publication before, as series per partner.",
    "problems": "What could not be read, one sentence each.",
}

PAGES: Final = {
    "/bids": Page(
        "bids",
        bids,
        "bids",
        "The newest published bids, and those before.",
        {
            "bids": f"One object per market day and partner of the last {DAYS_SHOWN} market days, newest first.",
            "newest": "The newest day, as of /api/bids/{day}; null where nothing was published.",
        },
    ),
    "/bids/{day}": Page("bids_day", day_of_bids, "bids", "What was published on one market day.", _DAY),
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
