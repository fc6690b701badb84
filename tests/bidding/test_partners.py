"""A partner's file says what was decided, in the partner's own form, and breaks none of its rules."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest

from ml.bidding.instruction import PAYMENT_MODELS
from ml.bidding.partners import PARTNERS, google, microsoft, microsoft_rules, partner
from ml.bidding.partners.base import Account
from ml.bidding.project import project
from ml.bidding.shading import AUCTIONS
from ml.core.errors import UsageError
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.tables import DEVICES

ACCOUNT = Account(customer_id="123", currency="EUR", hotels={"h1": "9001", "h2": "9002"}, groups={"DE": "77"})


def cells() -> pd.DataFrame:
    rows = product(["h1", "h2", "h3"], DEVICES, LEAD_BUCKETS, LOS_BUCKETS)
    found = pd.DataFrame(rows, columns=["hotel_id", "device", "lead_bucket", "los_bucket"])
    return found.assign(market=np.where(found["hotel_id"] == "h3", "FR", "DE"))


def asked(of: pd.DataFrame) -> np.ndarray:
    device = of["device"].map({"mobile": 0.8, "desktop": 1.3, "tablet": 1.0}).to_numpy()
    lead = of["lead_bucket"].map(dict(zip(LEAD_BUCKETS, np.linspace(1.4, 0.6, len(LEAD_BUCKETS)), strict=True)))
    return np.where(of["hotel_id"] == "h2", 0.0, 350_000.0 * device * lead.to_numpy())


def files(name: str, of: pd.DataFrame | None = None) -> dict[str, bytes]:
    of = cells() if of is None else of
    said = project(PARTNERS[name].language(of), of, asked(of), weights=np.ones(len(of)))
    return PARTNERS[name].files(said, of, ACCOUNT)


def bulk_rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


@pytest.mark.parametrize("name", sorted(PARTNERS))
def test_a_partner_is_paid_by_a_known_model_in_a_known_auction_and_its_files_keep_its_rules(name: str) -> None:
    known = partner(name)
    assert known.payment_model in PAYMENT_MODELS
    assert known.auction in AUCTIONS
    found = files(name)
    assert known.violations(found) == []
    assert found == files(name), "the same bids are the same bytes"


def test_an_unknown_partner_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no partner 'bing'.*microsoft"):
        partner("bing")


def test_microsofts_header_is_the_whole_one_of_its_guide() -> None:
    header = ",".join(microsoft_rules.COLUMNS)
    assert header.startswith("Type,Name,Id,Parent Id,Client Id,Modified Time,Bid,Bid Type,Site MapResults,")
    # The header line of hotel-ads-bulk.md in MicrosoftDocs/Advertising at commit a21125df.
    of_the_guide = "a0e47afdb6cdb99f0bde3649b47d647fe3aacb1b55807aca0da59e90903d48e3"
    assert hashlib.sha256(header.encode()).hexdigest() == of_the_guide


def test_microsofts_file_put_together_by_its_rules_gives_each_cell_its_bid() -> None:
    of = cells()
    language = PARTNERS["microsoft"].language(of)
    said = project(language, of, asked(of), weights=np.ones(len(of)))
    found = files("microsoft")[microsoft_rules.FILE]
    assert found.startswith(b"Type,Name,Id,Parent Id,Client Id,Modified Time,Bid,Bid Type,Site MapResults,")
    rows = {row["Client Id"]: row for row in bulk_rows(found) if row["Type"] == "Hotel"}
    assert (rows["h1"]["Id"], rows["h1"]["Parent Id"]) == ("9001", "77")
    nights = {"01": 1, "02": 2, "03-04": 4, "05-07": 5, "08+": 20}
    days = {"000-001": 0, "002-007": 7, "008-014": 8, "015-030": 20, "031-090": 31, "091-180": 100, "181+": 300}

    def bid(row: dict[str, str], device: str, lead: int, los: int) -> float:
        """What the guide says the bid of a search is: base x device x the highest start not above it."""
        stays = {n: row[f"Length of Stay {n}"] for n in range(1, 15) if row[f"Length of Stay {n}"]}
        windows = {
            int(row[f"Advance Booking Window Min Days {n}"]): row[f"Advance Booking Window Multiplier {n}"]
            for n in range(1, 11)
            if row[f"Advance Booking Window Min Days {n}"]
        }
        stay = float(stays[max(n for n in stays if n <= los)])
        window = float(windows[max(d for d in windows if d <= lead)]) if min(windows) <= lead else 1.0
        return float(row["Bid"]) * float(row[f"Device {device.capitalize()}"]) * stay * window

    for cell, amount in zip(of.itertuples(), said.amount_micros, strict=True):
        got = bid(rows[cell.hotel_id], cell.device, days[cell.lead_bucket], nights[cell.los_bucket])
        assert got * 1e6 == pytest.approx(amount, rel=1e-6)


def test_a_hotel_that_is_not_bid_on_is_paused_at_microsoft() -> None:
    rows = {row["Client Id"]: row for row in bulk_rows(files("microsoft")[microsoft_rules.FILE])}
    assert (rows["h2"]["Bid"], rows["h2"]["Bid Type"]) == ("0.00", "Percentage")
    assert rows["h1"]["Bid Type"] == "Fixed"


def test_microsoft_gets_countries_and_weekdays_where_the_cells_know_them() -> None:
    of = cells().assign(user_country="DE", check_in_day="Friday", date_type="default", site="MapResults")
    row = next(row for row in bulk_rows(files("microsoft", of)[microsoft_rules.FILE]) if row["Client Id"] == "h1")
    for column in ("Country DE", "Checkin Friday", "DateType Default", "Site MapResults"):
        assert float(row[column]) > 0


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("Bid", "1000.01", "the Bid '1000.01' is not a number from 0.00 to 1000.00"),
        ("Bid", "0.123", "at most two decimals"),
        ("Bid", "-1", "the Bid '-1'"),
        ("Bid Type", "Cpc", "neither Fixed nor Percentage"),
        ("Device Mobile", "11.01", "Device Mobile is '11.01', not a number from 0.00 to 11.00"),
        ("Country DE", "x", "Country DE is 'x'"),
        ("Advance Booking Window Min Days 1", "91", "not a day from 1 to 90"),
        ("Advance Booking Window Min Days 1", "0", "not a day from 1 to 90"),
        ("Advance Booking Window Min Days 2", "2", "two advance booking windows start on day 2"),
        ("Advance Booking Window Multiplier 3", "", "is given without Advance Booking Window Multiplier 3"),
        ("Advance Booking Window Multiplier 9", "1.00", "is given without Advance Booking Window Min Days 9"),
        ("Id", "", "Id is empty"),
        ("Parent Id", "", "Parent Id is empty"),
        ("Id", "9002", "Hotel 9002 is in the file twice"),
        ("Type", "Campaign", "the type 'Campaign' takes no bid"),
        ("Client Id", "c" * 101, "Client Id has more than 100 characters"),
        ("Modified Time", "2026-01-01", "Modified Time is set by the partner"),
    ],
)
def test_each_rule_of_microsofts_is_one_sentence_that_names_the_line(column: str, value: str, sentence: str) -> None:
    lines = list(csv.reader(io.StringIO(files("microsoft")[microsoft_rules.FILE].decode())))
    lines[2][lines[0].index(column)] = value
    broken = violations_of(lines)
    assert any(sentence in found for found in broken), broken
    assert all(found.startswith("line ") for found in broken)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines.clear(), "the file is empty"),
        (lambda lines: lines.pop(1), "the second line is not 'Format Version,6'"),
        (lambda lines: lines[0].__setitem__(8, "Site Moon"), "the column 'Site Moon', which the format does not know"),
        (lambda lines: lines[0].__setitem__(2, "Name"), "the header lacks the column 'Id'"),
        (lambda lines: lines[2].pop(), "the header has"),
    ],
)
def test_a_file_of_another_shape_is_refused(change: Callable[[list[list[str]]], None], sentence: str) -> None:
    lines = list(csv.reader(io.StringIO(files("microsoft")[microsoft_rules.FILE].decode())))
    change(lines)
    assert any(sentence in found for found in violations_of(lines))


def test_a_row_that_inherits_and_multiplies_is_refused_and_deletions_are_not() -> None:
    head = ["Type", "Id", "Parent Id", "Bid", "Bid Type", "Device Mobile", "Bid Multiplier Source"]
    version = ["Format Version", "6", "", "", "", "", ""]
    inherits = ["Hotel", "1", "2", "", "", "1.10", "InheritFromParent"]
    deletes = ["Hotel Group", "3", "4", "delete_value", "", "delete_value", ""]
    odd = ["Hotel", "5", "6", "", "", "", "Mine"]
    assert violations_of([head, version, deletes]) == []
    assert violations_of([head, version, inherits]) == [
        "line 3: Bid Multiplier Source is InheritFromParent, so that Device Mobile would be ignored"
    ]
    assert "is 'Mine'" in violations_of([head, version, odd])[0]


def violations_of(lines: list[list[str]]) -> list[str]:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(lines)
    return microsoft_rules.violations({microsoft_rules.FILE: buffer.getvalue().encode()})


def test_googles_request_is_a_dry_run_in_the_names_of_the_api() -> None:
    request = json.loads(files("google")[google.FILE])
    assert request["api_version"] == "v26"
    body = request["request"]
    assert body["validate_only"] is True
    bids = [o["ad_group_criterion_operation"] for o in body["mutate_operations"] if "ad_group_criterion_operation" in o]
    assert bids[0]["update"]["resource_name"] == "customers/123/adGroupCriteria/77~9001"
    assert [b["update"]["cpc_bid_micros"] for b in bids][1] == 10_000, "no bid is the lowest there is"
    modifiers = [
        o["ad_group_bid_modifier_operation"]["create"]
        for o in body["mutate_operations"]
        if "ad_group_bid_modifier_operation" in o
    ]
    windows = [m["advance_booking_window"] for m in modifiers if "advance_booking_window" in m]
    assert windows[0] == {"min_days": 0, "max_days": 1}
    assert windows[6] == {"min_days": 181, "max_days": 330}
    stays = [m["length_of_booking"] for m in modifiers if "length_of_booking" in m]
    assert stays[2] == {"min_days": 3, "max_days": 4}
    assert {m["device"]["type"] for m in modifiers if "device" in m} == {"MOBILE", "DESKTOP", "TABLET"}
    assert {m["ad_group"] for m in modifiers} == {"customers/123/adGroups/77", "customers/123/adGroups/FR"}
    assert all(0.1 <= m["bid_modifier"] <= 10 for m in modifiers)


def modifier(**criterion: object) -> dict[str, object]:
    create = {"ad_group": "g", "bid_modifier": 1.0, **criterion}
    return {"ad_group_bid_modifier_operation": {"create": create}}


WINDOW = {"min_days": 0, "max_days": 5}


@pytest.mark.parametrize(
    ("operations", "sentence"),
    [
        ([modifier(bid_modifier=10.01, device={"type": "MOBILE"})], "10.01 of device"),
        ([modifier(bid_modifier=0.0, length_of_booking=WINDOW)], "not within 0.1 and 10"),
        ([modifier()], "names 0 criteria"),
        ([modifier(device={"type": "MOBILE"}, length_of_booking=WINDOW)], "names 2 criteria"),
        ([modifier(device={"type": "TV"})], "TV is not a device"),
        ([modifier(device={"type": "MOBILE"})] * 2, "two bid modifiers of the device MOBILE"),
        ([modifier(advance_booking_window=WINDOW)] * 2, "overlap at day 0"),
        ([modifier(advance_booking_window={"min_days": 1, "max_days": 331})], "not a range within 0 and 330"),
        ([modifier(length_of_booking={"min_days": n, "max_days": n}) for n in range(31)], "more than 30"),
        (
            [{"ad_group_criterion_operation": {"update": {"resource_name": "r", "cpc_bid_micros": 12_345}}}],
            "not whole cents",
        ),
        (
            [{"ad_group_criterion_operation": {"update": {"resource_name": "r", "cpc_bid_micros": 10_000}}}] * 2,
            "two bids",
        ),
    ],
)
def test_each_rule_of_googles_is_one_sentence(operations: list[dict[str, object]], sentence: str) -> None:
    body = {"request": {"validate_only": True, "mutate_operations": operations}}
    broken = google.violations({google.FILE: json.dumps(body).encode()})
    assert any(sentence in found for found in broken), broken


def test_google_lets_a_device_be_opted_out_of_and_nothing_be_sent() -> None:
    body = {
        "request": {"validate_only": True, "mutate_operations": [modifier(bid_modifier=0, device={"type": "MOBILE"})]}
    }
    assert google.violations({google.FILE: json.dumps(body).encode()}) == []
    body["request"]["validate_only"] = False
    assert "not a dry run" in google.violations({google.FILE: json.dumps(body).encode()})[0]


def test_a_file_that_breaks_a_rule_is_not_given_out() -> None:
    of = cells()
    said = project(PARTNERS["microsoft"].language(of), of, asked(of), weights=np.ones(len(of)))
    said.multipliers.loc[0, "multiplier"] = 12.0
    with pytest.raises(UsageError, match=r"microsoft would refuse the file: line 3: Device Mobile is '12.00'"):
        PARTNERS["microsoft"].files(said, of, ACCOUNT)


def test_the_canonical_files_hold_bases_and_multipliers_and_refuse_what_cannot_be_meant() -> None:
    found = files("trivago")
    base = pd.read_csv(io.BytesIO(found["base_bids.csv"]))
    assert list(base["hotel_id"].astype(str)) == ["9001", "9002", "h3"]
    assert base["amount_micros"].tolist()[1] == 0
    assert (base["currency"] == "EUR").all()
    lines = found["base_bids.csv"].decode().splitlines()
    broken = {**found, "base_bids.csv": "\n".join([*lines, lines[-1], lines[1].replace("9001", "9009") + "x"]).encode()}
    assert [s for s in PARTNERS["trivago"].violations(broken) if "two base bids" in s]
    assert [s for s in PARTNERS["trivago"].violations(broken) if "not a number of micros" in s]
    broken = {**found, "multipliers.csv": found["multipliers.csv"] + b"trivago,DE,device,tv,99\n"}
    assert "99 of device tv of DE is not within" in PARTNERS["trivago"].violations(broken)[0]


def test_microsofts_language_has_no_word_for_late_windows_of_their_own() -> None:
    assert microsoft.LEAD_GROUPS[-1] == ("031-090", "091-180", "181+")
    assert microsoft.LEAD_GROUPS[0] == ("000-001",)


def test_an_ad_group_of_google_without_any_bid_opts_out_of_every_device_and_the_others_do_not() -> None:
    of = cells()
    of.loc[of["hotel_id"] == "h3", "market"] = "FR"
    amounts = np.where(of["market"] == "FR", 0.0, asked(of))
    said = project(PARTNERS["google"].language(of), of, amounts, weights=np.ones(len(of)))
    request = json.loads(PARTNERS["google"].files(said, of, ACCOUNT)[google.FILE])["request"]
    modifiers = [
        operation["ad_group_bid_modifier_operation"]["create"]
        for operation in request["mutate_operations"]
        if "ad_group_bid_modifier_operation" in operation
    ]
    by_group = {
        group: [one["bid_modifier"] for one in modifiers if "device" in one and one["ad_group"].endswith(group)]
        for group in ("/FR", "/77")
    }
    assert by_group["/FR"] == [0.0, 0.0, 0.0]
    assert len(by_group["/77"]) == 3
    assert min(by_group["/77"]) > 0
