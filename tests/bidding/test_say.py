"""What is published is what the partner will apply: guarded, in its language, with its files."""

from __future__ import annotations

import io
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from ml.bidding.exploration import ExplorationPolicy
from ml.bidding.landscape import Landscape
from ml.bidding.plan import Exploration
from ml.bidding.policy import BidPolicy
from ml.bidding.say import Expected, Objective, SaidBids, daily_budgets, say
from ml.core.errors import UsageError
from ml.core.verdict import Verdict
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.tables import DEVICES

POLICY = BidPolicy(target_cost_share=0.06, max_bid_micros=2_000_000, max_change=0.3)


def table(partner: str) -> pd.DataFrame:
    cells = pd.DataFrame(
        list(itertools.product(["h1", "h2", "h3"], DEVICES, LEAD_BUCKETS, LOS_BUCKETS)),
        columns=["hotel_id", "device", "lead_bucket", "los_bucket"],
    )
    rng = np.random.default_rng(5)
    factor = np.ones(len(cells))
    for column in cells:
        per_value = {value: float(np.exp(rng.normal(0, 0.3))) for value in sorted(cells[column].unique())}
        factor *= cells[column].map(per_value).to_numpy(dtype=float)
    value = 2e8 * factor * np.exp(rng.normal(0, 0.05, len(cells)))
    p_book = np.full(len(cells), 0.03)
    bid = np.minimum(np.rint(0.06 * value * p_book), POLICY.max_bid_micros).astype(np.int64)
    return cells.assign(
        partner=partner, market="m", clicks_seen=rng.integers(1, 50, len(cells)), p_book=p_book,
        net_value_micros=value, bid_micros=bid,
    )  # fmt: skip


def said(partner: str) -> SaidBids:
    return say(partner, table(partner), policy=POLICY, take_share=0.12, currency="EUR")


@pytest.mark.parametrize("partner", ["google", "trivago", "tripadvisor", "microsoft"])
def test_a_published_bid_is_a_product_that_the_partner_can_say_and_no_cap_is_passed(partner: str) -> None:
    found = said(partner)
    assert found.verdict is not Verdict.FAIL
    assert found.files
    assert (found.table["bid_micros"] <= POLICY.max_bid_micros).all()
    assert 0 < (found.language_loss or 0) < 0.03
    both = (found.table["bid_micros"] > 0) & (found.table["wanted_micros"] > 0)
    error = np.log(found.table["bid_micros"] / found.table["wanted_micros"])[both]
    assert abs(float(np.average(error, weights=found.table["clicks_seen"][both]))) < 0.06


@pytest.mark.parametrize("partner", ["trivago", "tripadvisor"])
def test_an_account_in_another_currency_gets_its_files_in_it_and_the_table_stays_in_the_markets(partner: str) -> None:
    cells = table(partner)
    rates = {("EUR", "USD"): 1.25}
    home = said(partner)
    away = say(
        partner, cells, policy=POLICY, take_share=0.12, currency="EUR", account_currency="USD", rates=rates
    )  # fmt: skip
    both = pd.read_csv(io.BytesIO(away.files["base_bids.csv"])), pd.read_csv(io.BytesIO(home.files["base_bids.csv"]))
    assert [set(file["currency"]) for file in both] == [{"USD"}, {"EUR"}]
    np.testing.assert_allclose(both[0]["amount_micros"], 1.25 * both[1]["amount_micros"], rtol=0.02, atol=10_000)
    spent = [float(found.table["bid_micros"] @ found.table["clicks_seen"]) for found in (away, home)]
    assert spent[0] == pytest.approx(spent[1], rel=0.05)  # three bases on steps of a cent
    assert (away.table["bid_micros"] <= POLICY.max_bid_micros).all()


def test_an_account_in_a_currency_without_a_rate_is_told_nothing_but_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"no rate from EUR to USD.*fx_rates EUR/USD") as error:
        say("google", table("google"), policy=POLICY, take_share=0.12, currency="EUR", account_currency="USD")
    assert "no bid was published" in str(error.value)


def test_a_partner_whose_language_nobody_knows_takes_the_table_as_it_is() -> None:
    found = said("kayak")
    pd.testing.assert_frame_equal(found.table, table("kayak"))
    assert (dict(found.files), found.language_loss) == ({}, None)


def test_cells_that_the_product_lifts_above_their_worth_are_counted() -> None:
    odd = table("google")
    odd.loc[7, ["p_book", "bid_micros"]] = [0.001, 1_000]
    found = say("google", odd, policy=POLICY, take_share=0.12, currency="EUR")
    worth = odd["p_book"] * odd["net_value_micros"] * 0.12
    dear = int((found.table["bid_micros"] > worth).sum())
    assert dear >= 1
    assert any(reason.startswith(f"{dear} of {len(odd)} cells are bid above") for reason in found.reasons)


def test_the_same_table_is_said_with_the_same_bytes() -> None:
    one, two = said("google"), said("google")
    assert dict(one.files) == dict(two.files)
    assert json.loads(next(iter(one.files.values())))
    pd.testing.assert_frame_equal(one.table, two.table)


def objective(cells: pd.DataFrame, exploration: Exploration | None = None) -> Objective:
    """One curve for all cells in bid over worth, best at half of it."""
    worth = 0.12 * cells["net_value_micros"].to_numpy(dtype=float) * cells["p_book"].to_numpy(dtype=float)
    levels = 10_000 * 1.15 ** np.arange(45)
    ratio = levels[None, :] / worth[:, None]
    clicks = cells["clicks_seen"].to_numpy(dtype=float)[:, None] * ratio / (ratio + 0.5)
    landscape = Landscape(levels, clicks, clicks * levels[None, :], worth)
    return Objective(landscape, worth, np.ones(len(cells)), exploration)


def test_words_that_are_searched_for_profit_lose_less_of_it_than_words_nearest_to_the_bids() -> None:
    cells = table("google")
    aim = objective(cells)
    near = said("google").table["bid_micros"].to_numpy(dtype=float)
    found = say("google", cells, policy=POLICY, take_share=0.12, currency="EUR", objective=aim)
    searched = found.table["bid_micros"].to_numpy(dtype=float)
    assert float(aim.landscape.profit_at(searched).sum()) >= float(aim.landscape.profit_at(near).sum())


def test_bids_say_what_they_are_expected_to_do_as_they_are_said_where_a_landscape_is_known() -> None:
    cells = table("google")
    aim = objective(cells)
    found = say("google", cells, policy=POLICY, take_share=0.12, currency="EUR", objective=aim)
    clicks, cost = aim.landscape.at(found.table["bid_micros"].to_numpy(dtype=float))
    assert found.expected is not None
    assert found.expected.clicks == pytest.approx(clicks.sum(), abs=1e-3)
    assert found.expected.cost_micros == pytest.approx(cost.sum(), abs=1)
    assert found.expected.profit_micros == pytest.approx(clicks @ aim.value_micros - cost.sum(), abs=1)
    assert said("google").expected is None


def test_a_daily_budget_is_the_expected_cost_times_the_cap_and_none_where_nothing_is_expected() -> None:
    assert daily_budgets({"google": Expected(12.0, 1_000_000, 5)}, 1.2) == {"google": 1_200_000}
    assert daily_budgets({"google": Expected(0.0, 0, 0)}, 1.2) == {"google": None}
    assert daily_budgets({}, 1.2) == {}


def test_daily_budgets_come_to_the_cap_in_all_and_leave_more_to_a_partner_of_few_clicks() -> None:
    expected = {"google": Expected(320.0, 60_000_000, 0), "tripadvisor": Expected(50.0, 8_000_000, 0)}
    found = daily_budgets(expected, 1.2)
    assert sum(budget or 0 for budget in found.values()) == pytest.approx(1.2 * 68_000_000, abs=2)
    over = {name: (budget or 0) / expected[name].cost_micros for name, budget in found.items()}
    assert 1.0 < over["google"] < 1.2 < over["tripadvisor"]


def test_what_is_tried_is_published_with_its_density_and_moves_little_money() -> None:
    cells = pd.concat([table("google").assign(hotel_id=f"h{number:03d}") for number in range(60)], ignore_index=True)
    cells = cells.drop_duplicates(["hotel_id", "device", "lead_bucket", "los_bucket"], ignore_index=True)
    tried = Exploration(ExplorationPolicy(seed=3, max_spend_share=0.03), period="2026-03-01")
    found = say(
        "google", cells, policy=POLICY, take_share=0.12, currency="EUR", objective=objective(cells, tried)
    ).table
    moved = found["explore_factor"] != 1
    assert 0 < moved.mean() < 0.2
    assert (found.loc[moved, "explore_density"] > 0).all()
    assert (found.loc[~moved, "explore_factor"] == 1).all()
