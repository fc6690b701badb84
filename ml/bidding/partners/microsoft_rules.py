"""The columns and the rules of Microsoft's hotel bulk file (format version 6), checked before a file is given out.

Source: github.com/MicrosoftDocs/Advertising, `advertising/bingads-13/guides/hotel-ads-bulk.md`, `hotel.md` and
`hotel-group.md`, at commit a21125df of August 2026.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from ml.bidding.partners.base import Files

FILE = "microsoft_hotel_bulk.csv"
MAX_BID = 1_000.0
MAX_MULTIPLIER = 11.0
MAX_WINDOW_DAYS = 90
MAX_WINDOWS = 10
MAX_LOS = 14
MAX_CLIENT_ID = 100
DELETE = "delete_value"
INHERIT = "InheritFromParent"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CODES = (
    "AD AE AF AG AI AL AM AN AO AQ AR AS AT AU AW AZ BA BB BD BE BF BG BH BI BJ BM BN BO BR BS BT BW BY BZ CA CC "
    "CD CF CG CH CI CK CL CM CN CO CR CV CX CY CZ DE DJ DK DM DO DZ EC EE EG ER ES ET FI FJ FK FM FO FR GA GB GD "
    "GE GF GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IN IQ IS IT JM JO JP KE KG KH KI KM KN KR "
    "KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ "
    "NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC "
    "SE SG SH SI SK SL SM SN SO SR ST SV SZ TC TD TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG US UY UZ VA VC VE "
    "VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES = tuple(_CODES.split())
_HEAD = ("Type", "Name", "Id", "Parent Id", "Client Id", "Modified Time", "Bid", "Bid Type")
MULTIPLIERS = (
    "Site MapResults",
    "Site LocalUniversal",
    "Site PropertyPromotionAd",
    "Device Desktop",
    "Device Mobile",
    "Device Tablet",
    *(f"Length of Stay {nights}" for nights in range(1, MAX_LOS + 1)),
    *(f"Country {country}" for country in COUNTRIES),
    *(f"Checkin {day}" for day in WEEKDAYS),
    "DateType Default",
    "DateType Selected",
)
WINDOW_STARTS = tuple(f"Advance Booking Window Min Days {n}" for n in range(1, MAX_WINDOWS + 1))
WINDOW_MULTIPLIERS = tuple(f"Advance Booking Window Multiplier {n}" for n in range(1, MAX_WINDOWS + 1))
COLUMNS = (*_HEAD, *MULTIPLIERS, *WINDOW_STARTS, *WINDOW_MULTIPLIERS)
"""The header of the guide, in its order."""
SOURCE = "Bid Multiplier Source"
"""A field of a hotel that the guide's header leaves out; it may be added."""

_NUMBER = re.compile(r"\d+(\.\d{1,2})?")


def violations(files: Files) -> list[str]:
    """Each rule that the file breaks, one sentence each, with the line that breaks it."""
    lines = list(csv.reader(io.StringIO(files[FILE].decode())))
    if not lines:
        return ["the file is empty"]
    header = lines[0]
    unknown = [name for name in header if name not in {*COLUMNS, SOURCE}]
    found = [f"the header has the column {name!r}, which the format does not know" for name in unknown]
    found += [f"the header lacks the column {name!r}" for name in ("Type", "Id", "Parent Id") if name not in header]
    found += [
        f"the header has the column {name!r} twice" for name in sorted({n for n in header if header.count(n) > 1})
    ]
    if len(lines) < 2 or lines[1][:2] != ["Format Version", "6"]:
        found.append("the second line is not 'Format Version,6'")
    if found:
        return found
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(lines[2:], start=3):
        if len(line) != len(header):
            found.append(f"line {number} has {len(line)} fields, the header has {len(header)}")
            continue
        row = dict(zip(header, line, strict=True))
        found += [f"line {number}: {sentence}" for sentence in _row(row)]
        key = row["Type"], row["Id"]
        if key in seen:
            found.append(f"line {number}: {row['Type']} {row['Id']} is in the file twice")
        seen.add(key)
    return found


def _row(row: dict[str, str]) -> Iterator[str]:
    if row["Type"] not in {"Hotel", "Hotel Group"}:
        yield f"the type {row['Type']!r} takes no bid; it is Hotel or Hotel Group"
    yield from (f"{name} is empty" for name in ("Id", "Parent Id") if not row[name])
    if row.get("Modified Time"):
        yield "Modified Time is set by the partner and cannot be given"
    if len(row.get("Client Id", "")) > MAX_CLIENT_ID:
        yield f"Client Id has more than {MAX_CLIENT_ID} characters"
    yield from _bid(row.get("Bid", ""), row.get("Bid Type", ""))
    for name in MULTIPLIERS:
        yield from _multiplier(name, row.get(name, ""))
    yield from _windows(row)
    source = row.get(SOURCE, "")
    if source not in {"", INHERIT}:
        yield f"{SOURCE} is {source!r}; it is empty or {INHERIT}"
    given = [name for name in (*MULTIPLIERS, *WINDOW_MULTIPLIERS) if row.get(name, "") not in {"", DELETE}]
    if source == INHERIT and given:
        yield f"{SOURCE} is {INHERIT}, so that {given[0]} would be ignored"


def _bid(bid: str, kind: str) -> Iterator[str]:
    if bid in {"", DELETE}:
        return
    if not _NUMBER.fullmatch(bid) or float(bid) > MAX_BID:
        yield f"the Bid {bid!r} is not a number from 0.00 to {MAX_BID:.2f} with at most two decimals"
    if kind not in {"Fixed", "Percentage"}:
        yield f"the Bid Type {kind!r} is neither Fixed nor Percentage"


def _multiplier(name: str, text: str) -> Iterator[str]:
    if text in {"", DELETE}:
        return
    if not _NUMBER.fullmatch(text) or float(text) > MAX_MULTIPLIER:
        yield f"{name} is {text!r}, not a number from 0.00 to {MAX_MULTIPLIER:.2f} with at most two decimals"


def _windows(row: dict[str, str]) -> Iterator[str]:
    starts: list[int] = []
    for start_name, multiplier_name in zip(WINDOW_STARTS, WINDOW_MULTIPLIERS, strict=True):
        start, multiplier = row.get(start_name, ""), row.get(multiplier_name, "")
        if bool(start) != bool(multiplier):
            given, missing = (start_name, multiplier_name) if start else (multiplier_name, start_name)
            yield f"{given} is given without {missing}"
        if start and not (start.isdigit() and 1 <= int(start) <= MAX_WINDOW_DAYS):
            yield f"{start_name} is {start!r}, not a day from 1 to {MAX_WINDOW_DAYS}"
        elif start:
            starts.append(int(start))
        yield from _multiplier(multiplier_name, multiplier)
    yield from (
        f"two advance booking windows start on day {day}" for day in sorted({d for d in starts if starts.count(d) > 1})
    )
