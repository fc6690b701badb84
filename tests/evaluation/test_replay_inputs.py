"""An auction log or a table of totals that cannot be right is refused in one sentence that names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

from ml.core.errors import BidwrightError, NoData, PermanentError, SchemaBreak
from ml.evaluation.replay.inputs import read_auctions, read_stats
from tests.evaluation.replay_worlds import make_auctions, write_auctions, write_stats

LOG = make_auctions([0, 1, 0, 1], [10, 20, 30, 40], [0.1, 0.2, 0.3, 0.4])


def test_rows_are_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = read_auctions(write_auctions(tmp_path / "a.parquet", LOG), "7", split="test")
    assert (found.click.tolist(), found.market_price.tolist()) == ([0, 1, 0, 1], [10, 20, 30, 40])
    assert found.pctr.tolist() == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    "campaigns",
    [
        pyarrow.array([7, 8, 7, 8]),
        pyarrow.array(["7", "8", "7", "8"]),
        pyarrow.array([7.0, 8.0, 7.0, None]),
        pyarrow.array(["7", "8", "7", None]).dictionary_encode(),
    ],
    ids=["integer", "text", "float", "dictionary"],
)
def test_a_campaign_is_selected_whatever_the_type_of_its_column(tmp_path: Path, campaigns: Any) -> None:
    path = write_auctions(tmp_path / "a.parquet", LOG, campaign=campaigns)
    assert read_auctions(path, "7", split="test").market_price.tolist() == [10, 30]


def test_the_test_rows_are_chosen_where_the_file_says_which_they_are(tmp_path: Path) -> None:
    split = ["train", "train", "test", "test"]
    path = write_auctions(tmp_path / "a.parquet", LOG, campaign=[7] * 4, split=split, seq=[0, 1, 0, 1])
    assert read_auctions(path, "7", split="test").market_price.tolist() == [30, 40]
    assert read_auctions(path, "7", split="train").market_price.tolist() == [10, 20]
    with pytest.raises(NoData, match=r"no row of the split valid .* it has test, train"):
        read_auctions(path, "7", split="valid")


def test_every_split_can_be_taken(tmp_path: Path) -> None:
    path = write_auctions(tmp_path / "a.parquet", LOG, split=["train", "train", "test", "test"])
    assert len(read_auctions(path, "7", split="all")) == 4


def test_faults_in_rows_of_other_campaigns_do_not_matter(tmp_path: Path) -> None:
    path = write_auctions(tmp_path / "a.parquet", LOG, campaign=[7, 8, 7, 8], market_price=[10, -1, 30, None])
    assert len(read_auctions(path, "7", split="test")) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"market_price": [10, None, 30, 40]}, "row 1 of a.parquet has no market_price (1 such rows)"),
        ({"market_price": [10, 20, -3, -4]}, "row 2 of a.parquet has the market_price -3, which is not 0 or more (2"),
        ({"market_price": [10, 20.5, 30, 40]}, "the market_price 20.5, which is not an integer"),
        ({"market_price": [10, 2**40, 30, 40]}, "which is not an integer"),
        ({"click": [0, 2, 0, 1]}, "row 1 of a.parquet has the click 2, which is not 0 or 1"),
        ({"click": [0, None, 0, 1]}, "row 1 of a.parquet has no click"),
        ({"pctr": [0.1, 1.2, 0.3, 0.4]}, "row 1 of a.parquet has the pctr 1.2, which is not between 0 and 1"),
        ({"pctr": [0.1, -0.2, 0.3, 0.4]}, "which is not between 0 and 1"),
        ({"pctr": [0.1, float("nan"), 0.3, 0.4]}, "row 1 of a.parquet has no pctr"),
        ({"pctr": ["a", "b", "c", "d"]}, "the column pctr of a.parquet is string, not a number"),
        ({"pctr": None}, "a.parquet has no column pctr"),
        ({"click": None, "pctr": None}, "a.parquet has no column click, pctr"),
        ({"campaign": [8, 8, 9, 9]}, "campaign 7 is not in a.parquet; it has 8, 9"),
        ({"seq": [0, 2, 1, 3]}, "a.parquet is not in log order: seq falls from 2 to 1 at row 2"),
    ],
)
def test_a_log_that_cannot_be_is_refused_with_the_row(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    path = write_auctions(tmp_path / "a.parquet", LOG, **wrong)
    with pytest.raises(PermanentError) as refusal:
        read_auctions(path, "7", split="test")
    assert said in str(refusal.value)


def test_whole_prices_and_clicks_may_be_floats_and_truth_values(tmp_path: Path) -> None:
    path = write_auctions(tmp_path / "a.parquet", LOG, market_price=[1.0, 2.0, 3.0, 4.0], click=[False, True] * 2)
    found = read_auctions(path, "7", split="test")
    assert found.market_price.dtype == found.click.dtype == np.int64
    assert (found.market_price.tolist(), found.click.tolist()) == ([1, 2, 3, 4], [0, 1, 0, 1])


def test_a_file_that_is_no_auction_log_is_named(tmp_path: Path) -> None:
    text = tmp_path / "a.parquet"
    text.write_text("click,market_price,pctr\n0,10,0.1\n")
    with pytest.raises(SchemaBreak, match=r"a\.parquet cannot be read as Parquet"):
        read_auctions(text, "7", split="test")
    with pytest.raises(NoData, match="there is no auction file"):
        read_auctions(tmp_path / "gone.parquet", "7", split="test")
    parquet.write_table(pyarrow.table({"click": [], "market_price": [], "pctr": []}), text)
    with pytest.raises(NoData, match="has no rows"):
        read_auctions(text, "7", split="test")
    text.write_bytes(b"")
    with pytest.raises(SchemaBreak, match="cannot be read"):
        read_auctions(text, "7", split="test")


def test_the_totals_of_a_campaign_are_read(tmp_path: Path) -> None:
    stats = read_stats(write_stats(tmp_path / "s.csv"), "7")
    assert (stats.cpm, stats.cpc, stats.ctr) == (70.0, 17_500.0, 0.004)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("campaign,clk_train,imp_train\n7,1,2\n", "s.csv has no column cost_train"),
        ("", "s.csv has no column campaign, clk_train, imp_train, cost_train"),
        ("campaign,clk_train,imp_train,cost_train\n8,1,2,3\n", "campaign 7 is not in s.csv; it has 8"),
        ("campaign,clk_train,imp_train,cost_train\n", "campaign 7 is not in s.csv; it has no rows"),
        ("campaign,clk_train,imp_train,cost_train\n7,1,2,3\n7,1,2,3\n", "campaign 7 is 2 times in s.csv"),
        ("campaign,clk_train,imp_train,cost_train\n7,x,2,3\n", "s.csv has the clk_train 'x'"),
        ("campaign,clk_train,imp_train,cost_train\n7,-1,2,3\n", "s.csv has the clk_train '-1'"),
        ("campaign,clk_train,imp_train,cost_train\n7,1,2\n", "s.csv has the cost_train None"),
        ("campaign,clk_train,imp_train,cost_train\n7,0,0,3\n", "campaign 7 has imp_train 0"),
    ],
)
def test_totals_that_cannot_be_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BidwrightError) as refusal:
        read_stats(write_stats(tmp_path / "s.csv", text), "7")
    assert said in str(refusal.value)


def test_totals_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xff\xfe\x00campaign")
    with pytest.raises(SchemaBreak, match="is not a CSV file"):
        read_stats(path, "7")
