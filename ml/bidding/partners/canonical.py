"""The canonical files of partners whose upload format is not public: base bids and multipliers as plain CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from ml.bidding.language import BidLanguage, Projection
from ml.bidding.partners.base import Account, Files, Partner, usual_dimensions
from ml.core.units import MICROS_PER_UNIT

BASE_COLUMNS = ("partner", "market", "hotel_id", "currency", "amount_micros")
MULTIPLIER_COLUMNS = ("partner", "market", "dimension", "values", "multiplier")
LOW, HIGH = 0.1, 10.0
"""Limits of a multiplier. The partners' own are under non-disclosure; these are Google's public ones."""


_SHARE = (100, MICROS_PER_UNIT, 100)
_RATIO = (10_000, 1_000 * MICROS_PER_UNIT, 10_000)
_MONEY = (10_000, 200 * MICROS_PER_UNIT, 10_000)
_BASE = {"cpc_percent": _SHARE, "cpa_gross": _SHARE, "cpa_net": _SHARE, "troas": _RATIO}
"""Lowest and highest base bid and its step by payment model: cents of money, hundredths of a percent, of a ratio."""


def canonical_partner(name: str, *, payment_model: str, auction: str = "gsp") -> Partner:
    """A partner that gets the canonical files."""
    return Partner(
        name=name,
        payment_model=payment_model,
        language=lambda _: language(name, payment_model),
        render=render,
        violations=violations,
        auction=auction,
    )


def language(partner: str, payment_model: str) -> BidLanguage:
    """A base bid per hotel; multipliers per market by device, lead time and length of stay."""
    lowest, highest, step = _BASE.get(payment_model, _MONEY)
    return BidLanguage(
        partner=partner,
        base_column="hotel_id",
        scope_column="market",
        dimensions=usual_dimensions(low=LOW, high=HIGH),
        base_low_micros=lowest,
        base_high_micros=highest,
        base_step_micros=step,
        max_amount_micros=highest,
    )


def render(projection: Projection, markets: Mapping[str, str], account: Account) -> dict[str, bytes]:
    """`base_bids.csv` and `multipliers.csv`; a hotel without a bid has the amount 0."""
    partner = projection.language.partner
    base = [
        [partner, markets[str(hotel)], account.hotels.get(str(hotel), str(hotel)), account.currency, int(amount)]
        for hotel, amount in zip(projection.base["hotel_id"], projection.base["amount_micros"], strict=True)
    ]
    rows = projection.multipliers
    multipliers = [
        [partner, scope, dimension, group, f"{multiplier:.4f}"]
        for scope, dimension, group, multiplier in zip(
            rows["scope"], rows["dimension"], rows["group"], rows["multiplier"], strict=True
        )
    ]
    return {"base_bids.csv": to_csv(BASE_COLUMNS, base), "multipliers.csv": to_csv(MULTIPLIER_COLUMNS, multipliers)}


def violations(files: Files) -> list[str]:
    """Each row that cannot be meant, one sentence each."""
    found, seen = [], set()
    for row in read_csv(files["base_bids.csv"]):
        key = row["market"], row["hotel_id"]
        if key in seen:
            found.append(f"hotel {row['hotel_id']} of {row['market']} has two base bids")
        seen.add(key)
        if not row["amount_micros"].isdigit():
            found.append(f"the base bid of hotel {row['hotel_id']} is {row['amount_micros']!r}, not a number of micros")
    for row in read_csv(files["multipliers.csv"]):
        if not LOW <= float(row["multiplier"]) <= HIGH:
            where = f"{row['dimension']} {row['values']} of {row['market']}"
            found.append(f"the multiplier {row['multiplier']} of {where} is not within {LOW:g} and {HIGH:g}")
    return found


def to_csv(columns: tuple[str, ...], rows: list[list[object]]) -> bytes:
    """CSV with a header, `\\n` line ends, quoted only where needed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def read_csv(data: bytes) -> list[dict[str, str]]:
    """The rows of a CSV with a header."""
    return list(csv.DictReader(io.StringIO(data.decode())))
