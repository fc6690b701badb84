"""The published table of rlb-dp comes out to the last unit, wherever the rows that it was made from are at hand.

It was made from the first 350,000 test rows of nine campaigns. The shared data hold 80,000 test rows of three, so
that those rows skip; IPINYOU_REPLAY may name a folder with more files auctions_*.parquet. The files of 2997 can be
made from data/ipinyou-data/2997/test.theta.txt of github.com/han-cai/rlb-dp (click, market_price, pctr per line).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ml.cli.app import main
from ml.core.errors import NoData
from ml.evaluation.replay.engine import replay, rules_for
from ml.evaluation.replay.inputs import Auctions, read_auctions, read_stats
from ml.evaluation.replay.policies import POLICIES
from ml.evaluation.replay.report import totals

IPINYOU = Path(__file__).parents[3] / "shared" / "data" / "ipinyou"
FOLDERS = [IPINYOU, *(Path(folder) for folder in [os.environ.get("IPINYOU_REPLAY")] if folder)]
TABLE = IPINYOU / "rlb-dp_published_results_c0_1_32.txt"
EPISODE, SHARE = 1000, 1 / 32

LIN_B0 = {"1458": 45, "2259": 35, "2261": 20, "2821": 25, "2997": 10, "3358": 30, "3386": 10, "3427": 30, "3476": 10}
"""b0 of the published lin rows (han-cai/rlb-dp @ 1eeb9e47, data/ipinyou-data/*/bid-model/lin-bid_1000_0.03125_*)."""


def published(campaign: str, algorithm: str) -> dict[str, float]:
    """A row of the table, with the units of its columns."""
    if not TABLE.is_file():
        pytest.skip("needs ../shared/data/ipinyou")
    for line in TABLE.read_text().splitlines()[1:]:
        setting, *cells = (cell.strip() for cell in line.split("\t"))
        if f"camp={campaign}," in setting and f"algo={algorithm}," in setting:
            _objective, auctions, impressions, clicks, cost, win_rate, _cpm, ecpc = cells
            return {
                "auctions": int(auctions),
                "impressions": int(impressions),
                "clicks": int(clicks),
                "cost": int(cost),
                "win_rate": float(win_rate.rstrip("%")),
                "ecpc": float(ecpc),
            }
    raise AssertionError(f"no row of {campaign} and {algorithm}")


def first_test_rows(campaign: str, count: int) -> Auctions:
    most = 0
    for path in sorted(path for folder in FOLDERS for path in folder.glob("auctions_*.parquet")):
        try:
            rows = read_auctions(path, campaign, split="test")
        except NoData:
            continue
        if len(rows) >= count:
            return Auctions(rows.click[:count], rows.market_price[:count], rows.pctr[:count])
        most = max(most, len(rows))
    pytest.skip(f"needs {count} test rows of {campaign}; the data at hand have {most} (IPINYOU_REPLAY=FOLDER adds)")


@pytest.mark.parametrize("algorithm", ["mcpc", "lin_bid"])
@pytest.mark.parametrize("campaign", LIN_B0)
def test_a_published_row_comes_out_to_the_last_unit(campaign: str, algorithm: str) -> None:
    expected = published(campaign, algorithm)
    rows = first_test_rows(campaign, int(expected["auctions"]))
    stats = read_stats(IPINYOU / "campaign_stats.csv", campaign)
    rules = rules_for(stats, episode=EPISODE, budget_share=SHARE)
    policy, params = (POLICIES["mcpc"], {}) if algorithm == "mcpc" else (POLICIES["lin"], {"b0": LIN_B0[campaign]})
    found = totals(replay(rows, policy.plan(rows, stats, rules, params), rules))
    rounded = {name: round(found[name], 2) for name in ("win_rate", "ecpc")}
    assert {**found, **rounded} == expected


def test_the_command_says_the_same_as_the_library_of_a_campaign_at_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = IPINYOU / "auctions_1458_2259_2261.parquet"
    if not log.is_file():
        pytest.skip("needs ../shared/data/ipinyou")
    words = f"replay {log} --campaign-stats {IPINYOU / 'campaign_stats.csv'} --campaign 2259 --policy lin"
    words += " --param b0=35 --episode 1000 --budget-share 0.03125 --json"
    monkeypatch.setattr(sys, "argv", ["bidwright", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in {0, None}
    stats = read_stats(IPINYOU / "campaign_stats.csv", "2259")
    rules = rules_for(stats, episode=EPISODE, budget_share=SHARE)
    rows = read_auctions(log, "2259", split="test")
    expected = totals(replay(rows, POLICIES["lin"].plan(rows, stats, rules, {"b0": 35.0}), rules))
    assert json.loads(capsys.readouterr().out) == expected
    assert expected["auctions"] == 80_000
