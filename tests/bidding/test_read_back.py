"""What the files say, read from the files alone, is what the table of bids says: unit, currency and buckets."""

from __future__ import annotations

import numpy as np
import pytest

from ml.bidding.partners.read_back import read_back
from ml.bidding.say import say
from ml.market.buckets import LOS_BUCKETS, LOS_MIDDLES
from tests.bidding.test_say import POLICY, table

NIGHTS = dict(zip(LOS_BUCKETS, LOS_MIDDLES, strict=True))


@pytest.mark.parametrize(("account", "rate"), [("EUR", 1.0), ("USD", 1.1)])
@pytest.mark.parametrize("partner", ["google", "tripadvisor", "trivago"])
def test_files_say_the_bids_of_the_table_in_the_partners_unit_and_currency(
    partner: str, account: str, rate: float
) -> None:
    cells = table(partner)
    found = say(
        partner, cells, policy=POLICY, take_share=0.12, currency="EUR", account_currency=account,
        rates={("EUR", "USD"): 1.1},
    )  # fmt: skip
    amounts = read_back(partner, found.files, found.table)
    assert amounts is not None
    nights = found.table["los_bucket"].map(NIGHTS).to_numpy(dtype=float) if partner != "trivago" else 1.0
    per_click = amounts * nights / rate
    assert np.median(np.abs(per_click / found.table["bid_micros"].to_numpy(dtype=float) - 1)) < 1e-3


def test_files_that_cannot_be_read_back_say_nothing() -> None:
    found = say("microsoft", table("microsoft"), policy=POLICY, take_share=0.12, currency="EUR")
    assert read_back("microsoft", found.files, found.table) is None
