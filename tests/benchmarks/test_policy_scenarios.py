"""The table of the scenarios compares like with like, and its command says what it was asked for."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import policy_regret, policy_scenarios
from benchmarks.common import Figure, run
from benchmarks.policy_scenarios import QUIET, Outcome, child, chosen, estimate, figures, table
from ml.bidding.publish import publish_table
from ml.core.clock import FixedClock
from ml.core.settings import load_settings
from ml.core.units import day_start
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.simulator.scenarios import SCENARIOS
from ml.market.simulator.source import FIRST_DAY
from ml.market.tables import DEVICES
from ml.platform import Platform

HOTELS = 30
CALM = Outcome(
    profit=200.0, frozen=190.0, best=220.0, loose=200.0, spend=1.1, mean_spend=0.9, partner_spend=1.15, unguarded=1.12, last_click=0.2, stopped=0,
    noticed=None, cause="", promoted=None, seconds=1.0,
)  # fmt: skip
WAR = replace(CALM, profit=100.0, frozen=80.0, unguarded=1.6, stopped=3, noticed=1, cause="drift", promoted=2)


def test_profits_are_shares_of_the_quiet_markets_on_the_same_seed() -> None:
    found = figures({QUIET: [CALM, replace(CALM, profit=400.0)], "price_war": [WAR, WAR]})
    assert found["price_war"] == Figure(0.375, "share of quiet profit", peer=0.3, runs=(0.5, 0.25))
    assert found[QUIET].ours == 1.0
    assert found["price_war_best"] == Figure(0.825, "share of quiet profit")
    assert found["price_war_spend"] == Figure(1.1, "spend / plan", peer=1.6, limit=1.2, runs=(1.1, 1.1))
    assert (found["budgets_cost"].ours, found["quiet_mean_spend"].ours) == (0.05, 0.9)
    assert (found["worst_spend"].ours, found["worst_spend"].limit) == (1.1, 1.2)


def test_what_was_not_noticed_has_no_figure_and_no_number_in_the_table() -> None:
    runs = {QUIET: [CALM, CALM], "price_war": [WAR, replace(WAR, noticed=None, cause="", promoted=None)]}
    found = figures(runs)
    assert f"{QUIET}_noticed" not in found
    assert found["price_war_noticed"] == Figure(1.0, "days from onset", runs=(1.0,))
    rows = [line.split(" | ") for line in table(runs).splitlines() if line.startswith("| ")]
    assert [row[-3:] for row in rows[1:]] == [["-", "-", "- |"], ["1 (1 of 2)", "drift", "2 (1 of 2) |"]]


def test_every_scenario_of_the_market_is_in_the_table_after_the_quiet_one() -> None:
    assert chosen(None) == [QUIET, *SCENARIOS]
    assert chosen(["unit_bug", "price_war"]) == [QUIET, "price_war", "unit_bug"]
    with pytest.raises(SystemExit, match="there is no scenario 'flood'; choose of season_up"):
        chosen(["flood"])


def test_a_whole_table_of_one_seed_takes_less_than_three_quarters_of_an_hour_by_estimate() -> None:
    assert estimate(len(chosen(None)), 1, policy_scenarios.DAYS, 2) < 45 * 60


def test_the_command_runs_the_bases_first_and_prints_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Any, ...]] = []

    def stand_in(*arguments: Any) -> str:
        asked.append((*arguments[:2], *arguments[3:]))
        return json.dumps(asdict(WAR if "price_war" in arguments else CALM))

    monkeypatch.setattr(policy_scenarios, "_run", stand_in)
    argv = ["--scenarios", "--only", "price_war", "--days", "4", "--seeds", "2", "--workers", "1", "--json"]
    assert run("policy_regret", policy_regret.measure, arguments=policy_regret._arguments, argv=argv) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["figures"]["price_war"]["runs"] == [0.5, 0.5]
    assert "| price_war | 0.500 | 0.400 | 1.100 |" in told.err
    assert asked == [
        ("--base", 101),
        ("--base", 102),
        *(("--child", seed, name, 4) for name in (QUIET, "price_war") for seed in (101, 102)),
    ]


def test_without_options_one_seed_of_ten_days_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        policy_scenarios, "_run", lambda *given: asked.append((*given[:2], *given[3:])) or json.dumps(asdict(CALM))
    )
    parser = argparse.ArgumentParser()
    policy_regret._arguments(parser)
    policy_regret.measure(parser.parse_args(["--scenarios", "--workers", "1"]))
    assert asked == [("--base", 101), *(("--child", 101, name, 10) for name in chosen(None))]


def bids(home: Path, day: date) -> None:
    """The same bid everywhere at google, expected to cost 5 a day."""
    cells = pd.MultiIndex.from_product(
        [[f"h{number:03d}" for number in range(1, HOTELS + 1)], DEVICES, LEAD_BUCKETS, LOS_BUCKETS],
        names=["hotel_id", "device", "lead_bucket", "los_bucket"],
    ).to_frame(index=False)
    publish_table(
        open_small(home).blobs, cells.assign(bid_micros=400_000), market="simulator", partner="google", day=day,
        version="v", generation=1, policy="p", expected={"cost_micros": 5_000_000}, daily_budget_micros=6_000_000,
    )  # fmt: skip


def open_small(home: Path, **settings: Any) -> Platform:
    loaded = load_settings(
        source="simulator", home=home, simulator_opportunities_per_day=3000, simulator_hotels=HOTELS, **settings
    )
    return Platform(loaded, FixedClock(day_start(FIRST_DAY)))


def test_a_platform_that_does_not_react_earns_what_its_frozen_bids_earn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times as many clicks come as were expected, and the budget stops them; rivals who bid less leave more profit."""

    def open_platform(home: Path, _: int, **settings: Any) -> tuple[Platform, Any]:
        platform = open_small(home, **settings)
        platform.db.migrate()
        return platform, argparse.Namespace(day=None)

    def market_day(platform: Platform, day: date, **_: Any) -> None:
        platform.source.fetch(day)
        bids(platform.settings.home, day)

    monkeypatch.setattr(policy_regret, "HISTORY", 2)
    monkeypatch.setattr(policy_scenarios, "LIVE_DAYS", 1)
    monkeypatch.setattr(policy_regret, "open_platform", open_platform)
    monkeypatch.setattr(policy_regret, "market_day", market_day)
    base = tmp_path / "base"
    for n in range(3):
        open_small(base).source.fetch(FIRST_DAY + timedelta(days=n))
    bids(base, FIRST_DAY + timedelta(days=2))
    left = sorted(path for path in base.rglob("*") if path.is_file())
    calm, busy = (child(7, base, name, 3) for name in (QUIET, "rival_bid_cut"))
    for found in (calm, busy):
        assert found.profit == found.frozen > 0
        assert (found.noticed, found.cause, found.promoted) == (None, "", None)
        assert found.stopped > 0
        assert found.spend == pytest.approx(1.2 + found.last_click / 5)
        assert found.unguarded > found.spend > found.mean_spend > 1
        assert found.loose > found.frozen
    assert busy.frozen > calm.frozen
    assert sorted(path for path in base.rglob("*") if path.is_file()) == left
