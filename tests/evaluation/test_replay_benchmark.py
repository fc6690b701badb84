"""The table of replay policies: what stands in for missing train rows, and how a row is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.replay import _loop, made
from benchmarks.replay_policies import CAMPAIGNS, SHARES, figures, main, row, train_rows
from ml.evaluation.replay.engine import Plan, Rules, replay
from tests.evaluation.replay_worlds import random_auctions, write_auctions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as the iPinYou one: train rows of 1458 alone, test rows of 1458 and 2259."""
    log = random_auctions(6_000, seed=1)
    campaign, split = [1458] * 3_000 + [2259] * 3_000, ["train"] * 2_000 + ["test"] * 4_000
    write_auctions(tmp_path / "auctions_1458_2259_2261.parquet", log, campaign=campaign, split=split)
    (tmp_path / "campaign_stats.csv").write_text(
        "campaign,clk_train,imp_train,cost_train\n1458,40,10000,700000\n2259,20,10000,1400000\n"
    )
    counts = ["campaign,market_price,count"]
    counts += [f"1458,{price},10" for price in range(301)] + [f"2259,{price},10" for price in range(0, 301, 3)]
    (tmp_path / "market_price_counts.csv").write_text("\n".join(counts))
    return tmp_path


def test_a_campaign_with_train_rows_is_tuned_on_its_own(data: Path) -> None:
    rows, which = train_rows(data, "1458")
    assert (len(rows), which) == (2_000, "its own train rows")


def test_the_donor_is_moved_to_the_prices_and_the_click_rate_of_a_campaign_without(data: Path) -> None:
    donor, _ = train_rows(data, "1458")
    moved, which = train_rows(data, "2259")
    assert which.startswith("train rows of 1458")
    assert set(moved.market_price.tolist()) <= set(range(0, 301, 3))
    assert np.abs(moved.market_price - donor.market_price).max() <= 3
    assert moved.pctr == pytest.approx(donor.pctr / 2)


def test_a_row_holds_every_policy_and_the_difference_to_the_best_peer(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.evaluation.replay.peers._LEVELS", (20.0, 60.0, 120.0))
    found = row(data, "2259", 4, hindsight=True)
    assert set(found["clicks"]) == {"const", "rand", "mcpc", "lin", "ortb", "bidwright", "lin_published"}
    peers = {name: clicks for name, clicks in found["clicks"].items() if name != "bidwright"}
    assert found["clicks"][found["best_peer"]] == max(peers.values())
    assert found["difference"]["mid"] == found["clicks"]["bidwright"] - max(peers.values())
    assert found["difference"]["low"] <= found["difference"]["mid"] <= found["difference"]["high"]
    assert found["hindsight"]["clicks"] >= max(clicks for name, clicks in peers.items() if name != "lin_published")
    assert found["at_least_as_many"] == (found["difference"]["mid"] >= 0)
    told = figures([found])
    assert told["2259 1/4"].ours == found["clicks"]["bidwright"]
    assert told["rows_with_at_least_as_many"].ours == int(found["at_least_as_many"])
    json.dumps(found, allow_nan=False)


def test_missing_data_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "/nowhere", "--json"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_campaigns_and_shares_of_the_issue_are_all_there() -> None:
    assert set(CAMPAIGNS) == {"1458", "2259", "2261"}
    assert set(SHARES) == {64, 32, 16, 8, 4, 2}


def test_the_loop_that_is_timed_does_the_same_work() -> None:
    log = made(5_500)
    bids = log.pctr * 60 / 8e-4
    outcome = replay(log, Plan(bids), Rules(1000, 2187))
    loop = _loop(bids.tolist(), log.market_price.tolist(), log.click.tolist(), 2187)
    assert loop == (outcome.impressions.sum(), outcome.clicks.sum(), outcome.cost.sum())
