"""The simulated market answers to the bids that were published, and what it has answered stays."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.bidding.publish import publish_table
from ml.core.errors import CorruptArtefact
from ml.core.settings import Settings
from ml.lake.blobs import BlobStore, open_blobs
from ml.lake.parquet import encode
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS, lead_buckets, los_buckets
from ml.market.simulator.bids import fill_from_coarser
from ml.market.simulator.partners import NAMES, PARTNERS
from ml.market.simulator.source import FIRST_DAY, Simulator, open_truth
from ml.market.tables import DEVICES

ROOT = Path(__file__).parents[2]
D0, D1, D2, D3 = (FIRST_DAY + timedelta(days=n) for n in range(4))
HOTELS = 30
READERS = ("ml/market/simulator/", "benchmarks/", "tests/")

Delivery = Mapping[str, pd.DataFrame]


def settings(home: Path, **more: object) -> Settings:
    return Settings(home=home, simulator_opportunities_per_day=1500, simulator_hotels=HOTELS, **more)  # type: ignore[arg-type]


def simulator(home: Path, **more: object) -> Simulator:
    return Simulator.from_settings(settings(home, **more))


def bids(partner: str, micros: int, *, hotels: range = range(1, HOTELS + 1)) -> pd.DataFrame:
    """The same bid in every cell of these hotels."""
    cells = pd.MultiIndex.from_product(
        [[f"h{number:03d}" for number in hotels], DEVICES, LEAD_BUCKETS, LOS_BUCKETS],
        names=["hotel_id", "device", "lead_bucket", "los_bucket"],
    )
    return cells.to_frame(index=False).assign(partner=partner, market="simulator", bid_micros=micros)


def publish(home: Path, day: date, table: pd.DataFrame, *, budget: int | None = None) -> None:
    blobs: BlobStore = open_blobs(settings(home).blobs, cache=home / "cache")
    (partner,) = set(table["partner"])
    publish_table(
        blobs, table, market="simulator", partner=partner, day=day, version="v", generation=1, policy="p",
        daily_budget_micros=budget,
    )  # fmt: skip


def bytes_of(delivery: Delivery) -> dict[str, bytes]:
    return {name: encode(frame) for name, frame in delivery.items()}


def of(partner: str, frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["partner"] == partner]


def test_yesterdays_bids_decide_todays_auctions(tmp_path: Path) -> None:
    shown, spent = [], []
    for place, micros in enumerate((0, 200_000, 2_000_000)):
        home = tmp_path / str(place)
        publish(home, D0, bids("google", micros))
        day = simulator(home).fetch(D1)
        searched = of("google", day["opportunities"])
        assert set(searched["bid_micros"]) == {micros}
        shown.append(searched["shown"].mean())
        spent.append(of("google", day["clicks"])["cpc_micros"].sum())
    assert shown[0] == spent[0] == 0
    assert shown[0] < shown[1] < shown[2]
    assert spent[0] < spent[1] < spent[2]


def test_a_publication_does_not_bid_on_its_own_day(tmp_path: Path) -> None:
    publish(tmp_path / "bid", D1, bids("google", 1_234_567))
    assert bytes_of(simulator(tmp_path / "bid").fetch(D1)) == bytes_of(simulator(tmp_path / "none").fetch(D1))


def test_a_partner_without_a_publication_is_bid_for_by_the_house_policy(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("google", 0))
    searched = simulator(tmp_path).fetch(D1)["opportunities"]
    other = of("trivago", searched)["bid_micros"]
    assert other.nunique() > 0.9 * len(other)  # jittered, and logged
    assert of("google", searched)["bid_micros"].max() == 0


def test_where_yesterday_was_not_published_the_newest_earlier_bids_stand(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("google", 500_000))
    publish(tmp_path, D1, bids("google", 700_000))
    market = simulator(tmp_path)
    for day, micros in ((D1, 500_000), (D2, 700_000), (D3, 700_000)):
        assert set(of("google", market.fetch(day)["opportunities"])["bid_micros"]) == {micros}


def test_a_search_takes_the_bid_of_its_own_cell(tmp_path: Path) -> None:
    table = bids("google", 0)
    table["bid_micros"] = 100_000 + np.arange(len(table)) * 10
    publish(tmp_path, D0, table)
    searched = of("google", simulator(tmp_path).fetch(D1)["opportunities"])
    searched = searched.assign(
        lead_bucket=lead_buckets(searched["lead_days"]), los_bucket=los_buckets(searched["los_nights"])
    )
    both = searched.merge(table, on=["hotel_id", "device", "lead_bucket", "los_bucket"], suffixes=("", "_published"))
    assert len(both) == len(searched) > 300
    assert (both["bid_micros"] == both["bid_micros_published"]).all()


def test_a_cell_that_was_not_published_takes_the_mean_of_the_nearest_coarser_one() -> None:
    cells = np.full((2, 3, 7, 5), np.nan)
    cells[0, 0, 0, 0], cells[0, 0, 0, 1], cells[0, 0, 1, 0], cells[0, 1, 0, 0] = 1.0, 3.0, 8.0, 20.0
    filled = fill_from_coarser(cells)
    assert filled[0, 0, 0, 0] == 1.0
    assert filled[0, 0, 0, 4] == 2.0  # hotel, device and lead time
    assert filled[0, 0, 5, 0] == 4.0  # hotel and device
    assert filled[0, 2, 0, 0] == 8.0  # hotel
    assert np.isnan(filled[1]).all()


def test_a_hotel_without_any_bid_is_bid_for_by_the_house_policy(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("google", 0, hotels=range(1, 11)))
    searched = of("google", simulator(tmp_path).fetch(D1)["opportunities"])
    ours = searched["hotel_id"] <= "h010"
    assert (searched.loc[ours, "bid_micros"] == 0).all()
    assert (searched.loc[~ours, "bid_micros"] > 0).all()


def test_a_bid_per_night_is_charged_by_the_nights_that_are_searched(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("tripadvisor", 340_000))
    searched = of("tripadvisor", simulator(tmp_path).fetch(D1)["opportunities"])
    by_nights = searched.groupby("los_nights")["bid_micros"].unique()
    assert [bid.tolist() for bid in by_nights.loc[[1, 2, 3, 4]]] == [[340_000], [340_000], [300_000], [400_000]]


def test_a_bid_in_percent_follows_the_price_and_the_nights_that_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    percent = dict(PARTNERS) | {"google": replace(PARTNERS["google"], unit="percent")}
    monkeypatch.setattr("ml.market.simulator.bids.PARTNERS", percent)
    publish(tmp_path, D0, bids("google", 1_000_000))
    day = simulator(tmp_path).fetch(D1)
    searched = of("google", day["opportunities"]).merge(day["hotels"], on="hotel_id")
    for bucket, nights in {"01": 1.0, "02": 2.0, "03-04": 3.4}.items():
        rows = searched[los_buckets(searched["los_nights"]) == bucket]
        share = rows["bid_micros"] / (rows["price_micros"] * rows["los_nights"])
        assert np.allclose(share, 1_000_000 / (rows["base_rate_micros"].astype(float) * nights), rtol=1e-4)


def test_a_resolved_day_keeps_its_bytes_whatever_is_published_later(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("google", 900_000))
    first = bytes_of(simulator(tmp_path).fetch(D1))
    publish(tmp_path, D0, bids("google", 0))
    assert bytes_of(simulator(tmp_path).fetch(D1)) == first
    record = open_truth(settings(tmp_path)).day(D1).record
    assert record["bids"]["google"]["day"] == D0.isoformat()


def test_the_same_seed_and_bids_give_the_same_bytes_and_other_bids_give_others(tmp_path: Path) -> None:
    days = []
    for name, micros in (("one", 800_000), ("two", 800_000), ("three", 300_000)):
        publish(tmp_path / name, D0, bids("google", micros))
        days.append(bytes_of(simulator(tmp_path / name).fetch(D1)))
    assert days[0] == days[1]
    assert days[0]["opportunities"] != days[2]["opportunities"]
    assert days[0]["hotels"] == days[2]["hotels"]


def test_bookings_of_later_days_come_from_the_clicks_that_were_bought(tmp_path: Path) -> None:
    """A month of bids of nothing: no click, and soon no booking through one."""
    for name in NAMES:
        publish(tmp_path, D0, bids(name, 0))
    market = simulator(tmp_path)
    days = [market.fetch(D1 + timedelta(days=n)) for n in range(33)]
    assert sum(len(day["clicks"]) for day in days) == 0
    assert days[0]["bookings"]["click_id"].notna().any()  # of clicks of the days before
    assert days[-1]["bookings"]["click_id"].isna().all()
    assert len(days[-1]["bookings"]) > 100


def test_a_day_that_was_skipped_is_settled_by_the_first_later_one(tmp_path: Path) -> None:
    """Its bids are those that stood then; what is published for it afterwards comes too late."""
    publish(tmp_path / "late", D0, bids("google", 900_000))
    publish(tmp_path / "order", D0, bids("google", 900_000))
    late, order = simulator(tmp_path / "late"), simulator(tmp_path / "order")
    third = bytes_of(late.fetch(D3))
    publish(tmp_path / "late", D1, bids("google", 0))
    in_order = {day: bytes_of(order.fetch(day)) for day in (D1, D2, D3)}
    assert third == in_order[D3]
    for day in (D2, D1):
        assert bytes_of(simulator(tmp_path / "late").fetch(day)) == in_order[day]


def test_a_day_before_every_publication_stays_with_the_house_policy(tmp_path: Path) -> None:
    calm = bytes_of(simulator(tmp_path / "calm").fetch(D1))
    home = tmp_path / "late"
    simulator(home).fetch(D2)
    publish(home, D0, bids("google", 0))
    assert bytes_of(simulator(home).fetch(D1)) == calm


def test_a_fresh_process_tells_the_same_day_as_one_that_has_told_those_before(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("trivago", 600_000))
    market = simulator(tmp_path)
    told = [bytes_of(market.fetch(day)) for day in (D0, D1, D2)]
    assert [bytes_of(simulator(tmp_path).fetch(day)) for day in (D0, D1, D2)] == told


def test_bids_that_are_not_those_of_their_manifest_stop_the_day_in_one_sentence(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("google", 900_000))
    file = tmp_path / "blobs" / "bids" / "simulator" / "google" / D0.isoformat() / "bids.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptArtefact, match=r"bids/simulator/google/2025-01-06 cannot be used: its digest"):
        simulator(tmp_path).fetch(D1)
    assert not open_truth(settings(tmp_path)).has(D1)


def spent_by_time(day: Delivery, partner: str) -> pd.DataFrame:
    """The clicks of a partner in the order of their searches, with what they had cost by then."""
    searched = of(partner, day["opportunities"])[["opportunity_id", "ts"]].rename(columns={"ts": "searched_at"})
    clicks = day["clicks"].merge(searched, on="opportunity_id").sort_values("searched_at", ignore_index=True)
    return clicks.assign(spent=clicks["cpc_micros"].cumsum())


def test_a_partner_stops_showing_us_with_the_click_that_spends_the_daily_budget(tmp_path: Path) -> None:
    publish(tmp_path / "free", D0, bids("google", 900_000))
    free = simulator(tmp_path / "free").fetch(D1)
    by_time = spent_by_time(free, "google")
    budget = int(by_time["cpc_micros"].sum()) // 2
    publish(tmp_path / "held", D0, bids("google", 900_000), budget=budget)
    held = simulator(tmp_path / "held").fetch(D1)
    last = by_time[by_time["spent"] >= budget].iloc[0]
    clicks = of("google", held["clicks"])
    assert clicks["cpc_micros"].sum() == last["spent"]  # the last click is charged in full
    assert set(clicks["click_id"]) == set(by_time.loc[: last.name, "click_id"])
    searched, before = (of("google", day["opportunities"]) for day in (held, free))
    late = searched["ts"] > last["searched_at"]
    assert 0 < late.mean() < 1
    assert not searched.loc[late, "shown"].any()
    assert (searched.loc[late, "bid_micros"] == 0).all()
    pd.testing.assert_frame_equal(searched[~late], before[~late])


def test_a_daily_budget_touches_no_other_partner_and_no_other_day(tmp_path: Path) -> None:
    for home, budget in ((tmp_path / "free", None), (tmp_path / "held", 300_000)):
        publish(home, D0, bids("google", 900_000), budget=budget)
        publish(home, D1, bids("google", 900_000))
    free, held = simulator(tmp_path / "free"), simulator(tmp_path / "held")
    for name in ("opportunities", "clicks"):
        ours, theirs = (market.fetch(D1)[name] for market in (held, free))
        assert encode(ours[ours["partner"] != "google"]) == encode(theirs[theirs["partner"] != "google"])
    assert encode(held.fetch(D2)["opportunities"]) == encode(free.fetch(D2)["opportunities"])


def test_the_truth_says_from_when_on_a_partner_did_not_show_us(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("google", 900_000), budget=300_000)
    publish(tmp_path, D0, bids("trivago", 900_000), budget=10**12)
    told = bytes_of(simulator(tmp_path).fetch(D1))
    truth = open_truth(settings(tmp_path)).day(D1)
    assert set(truth.resolved.stopped) == {"google"}  # a budget that is not spent stops nothing
    searches, outcomes = truth.resolved.searches, truth.resolved.outcomes
    late = (searches["partner"] == NAMES.index("google")) & (searches["second"] > truth.resolved.stopped["google"])
    assert late.any()
    for column in ("position", "bid", "cpc", "click_chance", "clicked"):
        assert not outcomes[column][late].any()
    assert (outcomes["needed_1"][late] > 0).all()  # what was missed stays known
    assert bytes_of(simulator(tmp_path).fetch(D1)) == told


def test_a_budget_of_nothing_shows_nothing_and_one_that_is_no_amount_stops_the_day(tmp_path: Path) -> None:
    publish(tmp_path / "none", D0, bids("google", 900_000), budget=0)
    assert not of("google", simulator(tmp_path / "none").fetch(D1)["opportunities"])["shown"].any()
    publish(tmp_path / "wrong", D0, bids("google", 900_000), budget=-1)
    with pytest.raises(CorruptArtefact, match="its daily budget is no amount of money"):
        simulator(tmp_path / "wrong").fetch(D1)


@pytest.mark.parametrize("damage", [{"bid_micros": "-1"}, {"device": "fridge"}, {"lead_bucket": "soon"}])
def test_a_publication_that_is_no_table_of_bids_stops_the_day(tmp_path: Path, damage: dict[str, str]) -> None:
    publish(tmp_path, D0, bids("google", 900_000).assign(**damage))
    with pytest.raises(CorruptArtefact, match="cannot be used"):
        simulator(tmp_path).fetch(D1)


def test_a_publication_without_a_manifest_did_not_happen(tmp_path: Path) -> None:
    publish(tmp_path, D0, bids("google", 0))
    (tmp_path / "blobs" / "bids" / "simulator" / "google" / D0.isoformat() / "manifest.json").unlink()
    assert of("google", simulator(tmp_path).fetch(D1)["opportunities"])["bid_micros"].min() > 0


def test_the_truth_of_a_day_is_kept_with_what_no_delivery_tells(tmp_path: Path) -> None:
    market = simulator(tmp_path, simulator_scenarios=(f"site_bug@{D0}",))
    market.fetch(D0)
    truth = open_truth(settings(tmp_path)).day(D0)
    assert truth.record["seed"] == 7
    assert truth.record["scenarios"] == {"site_bug": 1.0}
    outcomes = truth.resolved.outcomes
    assert {"conversion", "value", "score_mega_one", "needed_1", "click_4"} <= set(outcomes.dtype.names or ())
    assert len(truth.resolved.searches) == len(outcomes) == len(market.fetch(D0)["opportunities"])
    assert (truth.bookings["origin"] == (D0 - date(1970, 1, 1)).days).all()


def test_a_damaged_truth_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    simulator(tmp_path).fetch(D0)
    (file,) = (tmp_path / "truth").glob(f"simulator/*/{D0}/queries.parquet")
    file.write_bytes(b"not parquet")
    with pytest.raises(CorruptArtefact, match="remove the folder 2025-01-06 of the truth"):
        simulator(tmp_path).fetch(D0)


def test_another_seed_or_size_in_the_same_folder_is_another_world(tmp_path: Path) -> None:
    one, two = simulator(tmp_path), simulator(tmp_path, seed=8)
    first = bytes_of(one.fetch(D0))
    assert bytes_of(two.fetch(D0)) != first
    assert bytes_of(simulator(tmp_path).fetch(D0)) == first


def test_a_half_written_day_is_not_there(tmp_path: Path) -> None:
    store = open_truth(settings(tmp_path))
    (store.folder / ".writing-x").mkdir(parents=True)
    (store.folder / ".writing-x" / "day.json").write_text(json.dumps({}))
    assert not store.has(D0)
    simulator(tmp_path).fetch(D0)
    assert store.has(D0)


def test_the_truth_is_read_by_nobody_but_the_simulator_and_the_benchmarks() -> None:
    """Models, features, gates and policies live on what the partners tell."""
    strangers = []
    for room in ("ml", "monitoring", "dags", "plugins", "feature_repo", "local"):
        for path in (ROOT / room).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(READERS):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if any(module.startswith("ml.market.simulator") for module in modules):
                    strangers.append(name)
    assert set(strangers) <= {"ml/market/__init__.py"}  # which opens the source, and sees no truth


def test_where_two_processes_resolve_a_day_the_first_ones_truth_holds_for_both(tmp_path: Path) -> None:
    store = open_truth(settings(tmp_path))
    simulator(tmp_path).fetch(D0)
    first = store.day(D0)
    late = replace(first, record={**first.record, "seed": 99})
    assert store.freeze(D0, late).record == first.record
    assert store.day(D0).record == first.record
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(".writing-")] == []
