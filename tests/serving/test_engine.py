"""The engines bid what models, plan and pacing say, in whole micros within the caps, and say why where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact
from ml.models.history import TRAFFIC_HISTORY
from ml.promotion.bundle import Bundle, load_models
from ml.serving import trees
from ml.serving.engine import ItineraryEngine, ListingEngine
from ml.serving.engine_inputs import search_columns
from ml.serving.engine_loading import load_engine
from ml.serving.messages import BidRequest, Candidate, Reason, User
from tests.models.conftest import AS_OF, clicks_known, make_offers
from tests.serving.engine_stand_ins import (
    LISTING_COLUMNS,
    FixedPlan,
    Table,
    damaged,
    itinerary_bundle,
    listing_bundle,
    listing_rows,
    made,
)

AT_US = int(AS_OF.timestamp() * 1e6) + 3_600_000_000
TODAY = AS_OF.date()


@pytest.fixture(scope="module")
def searches() -> dict[str, pd.DataFrame]:
    """Rows of the conversion and the click model: the small market of the models' own tests."""
    offers = make_offers()
    return {"conversion": clicks_known(offers, AS_OF), "click": offers[offers["ts"] < AS_OF].reset_index(drop=True)}


@pytest.fixture(scope="module")
def bundle(searches: dict[str, pd.DataFrame]) -> Bundle:
    return itinerary_bundle(searches)


@pytest.fixture(scope="module")
def listings() -> pd.DataFrame:
    return listing_rows()


@pytest.fixture(scope="module")
def listing_files(listings: pd.DataFrame) -> Bundle:
    return listing_bundle(listings)


def traffic(seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    rows = {(f"h{number}", "google"): rng.random(len(TRAFFIC_HISTORY)) for number in range(10)}
    return Table([column.name for column in TRAFFIC_HISTORY], rows, dtype=np.float64)


def itineraries(bundle: Bundle, *, plan: FixedPlan | None = None, table: Table | None = None) -> ItineraryEngine:
    found = load_engine(bundle, plan or FixedPlan(), open_view=lambda *_: table or traffic(), now_us=lambda: AT_US)
    assert isinstance(found, ItineraryEngine)
    return found


def auction(bundle: Bundle, rows: pd.DataFrame, *, plan: FixedPlan | None = None) -> ListingEngine:
    values = rows[list(LISTING_COLUMNS)].to_numpy()
    table = Table(LISTING_COLUMNS, {(key,): value for key, value in zip(rows["id"], values, strict=True)})
    found = load_engine(bundle, plan or FixedPlan(), open_view=lambda *_: table)
    assert isinstance(found, ListingEngine)
    return found


def some_requests(count: int = 8, *, seed: int = 0) -> list[BidRequest]:
    rng = np.random.default_rng(seed)

    def candidate(number: int) -> Candidate:
        price = int(rng.integers(30, 300)) * 1_000_000
        rival = None if rng.random() < 0.2 else int(price * rng.uniform(0.8, 1.2))
        return Candidate(
            f"c{number}",
            hotel_id=f"h{rng.integers(0, 14)}",
            check_in=TODAY + timedelta(days=int(rng.integers(0, 80))),
            los_nights=int(rng.integers(1, 12)),
            price_micros=price,
            rival_price_micros=rival,
            default_date=bool(rng.random() < 0.5),
        )

    return [
        BidRequest(
            f"k{number}",
            [candidate(n) for n in range(rng.integers(1, 21))],
            User("google", "m", str(rng.choice(["mobile", "desktop", "fridge"])), str(rng.choice(["PT", "XX"]))),
        )
        for number in range(count)
    ]


def decide(engine: ItineraryEngine | ListingEngine, requests: Sequence[BidRequest], *, pacing: float = 1.0) -> Any:
    return engine.decide(requests, engine.look_up(requests), at_us=AT_US, pacing=pacing)


def one(**fields: Any) -> BidRequest:
    given = {"hotel_id": "h1", "check_in": TODAY + timedelta(days=9), "price_micros": 90_000_000} | fields
    return BidRequest("k", [Candidate("c", **given)], User("google", "m", "mobile", "PT"))


def test_a_batch_is_decided_to_the_last_bit_as_each_request_alone(bundle: Bundle) -> None:
    engine, requests = itineraries(bundle), some_requests(30)
    assert decide(engine, requests) == [decide(engine, [request])[0] for request in requests]


def test_a_batch_of_listings_is_decided_to_the_last_bit_as_each_request_alone(
    listing_files: Bundle, listings: pd.DataFrame
) -> None:
    engine = auction(listing_files, listings)
    requests = [
        BidRequest("k", [Candidate(f"l{7 * at + n}", value_micros=100_000 + n) for n in range(1 + at % 20)])
        for at in range(30)
    ]
    assert decide(engine, requests) == [decide(engine, [request])[0] for request in requests]


@pytest.mark.ml_test_score("monitor3")
def test_a_bid_is_what_the_offline_models_and_the_plan_say(bundle: Bundle, searches: dict[str, pd.DataFrame]) -> None:
    """Rows of the market's own data, as candidates: the same p_book and p_click to the last bit."""
    rows = searches["click"].tail(200).reset_index(drop=True)
    rows["los_nights"] = rows["los_nights"].astype(float)
    names = [column.name for column in TRAFFIC_HISTORY]
    models = load_models(bundle)
    offline = models["conversion"].predict(rows)["p_book"].to_numpy()
    clicks = models["click"].predict(rows.assign(position=1))["p_click"].to_numpy()
    engine = itineraries(bundle)
    for at, row in rows.iterrows():
        request = BidRequest(
            "k",
            [
                Candidate(
                    "c", hotel_id=row["hotel_id"], check_in=row["check_in"].date(), los_nights=int(row["los_nights"]),
                    price_micros=int(row["price_micros"]), default_date=bool(row["default_date"]),
                    rival_price_micros=None if row["rival_price_micros"] is pd.NA else int(row["rival_price_micros"]),
                )
            ],
            User("google", "m", row["device"], row["user_country"]),
        )  # fmt: skip
        at_us = int(row["ts"].timestamp() * 1e6 + 0.5)
        features = row[names].to_numpy(dtype=float)[None, :]
        (said,) = engine.intermediates(request, features, at_us=at_us, pacing=0.9)
        assert (said["p_book"], said["p_click"]) == (offline[at], clicks[at])
        worth = offline[at] * row["price_micros"] * row["los_nights"] * 0.8 * 0.15
        assert said["bid_micros"] == round(min(worth * 0.7, 2_000_000) * 0.9)
        assert list(said)[-1] == "bid_micros"


def test_what_is_looked_up_is_logged_and_gives_the_same_decision_again(bundle: Bundle) -> None:
    engine, requests = itineraries(bundle), some_requests(5)
    for request, said in zip(requests, decide(engine, requests), strict=True):
        kept = np.frombuffer(said.features, dtype=engine.layout.dtype).reshape(-1, len(engine.layout.columns))
        assert engine.decide([request], kept, at_us=AT_US, pacing=1.0) == [said]


def test_intermediates_end_with_the_bid_that_was_made(bundle: Bundle) -> None:
    engine, (request,) = itineraries(bundle), some_requests(1)
    features = engine.look_up([request])
    (said,) = engine.decide([request], features, at_us=AT_US, pacing=0.8)
    steps = engine.intermediates(request, features, at_us=AT_US, pacing=0.8)
    assert [step["bid_micros"] for step in steps] == said.bid_micros
    assert [step["score"] for step in steps] == said.score


def test_bids_are_whole_micros_from_nothing_to_the_cap(bundle: Bundle) -> None:
    for cap in (0, 1, 50_000):
        for said in decide(itineraries(bundle, plan=FixedPlan(max_bid_micros=cap)), some_requests(20)):
            assert all(type(bid) is int and 0 <= bid <= cap for bid in said.bid_micros)


def test_a_cap_that_changes_a_bid_is_said(bundle: Bundle) -> None:
    plan = FixedPlan(hotels={"h1": (0.8, 0.7, 1_000), "h2": (0.8, 0.7, 0)})
    engine = itineraries(bundle, plan=plan)
    for hotel, cap in (("h1", 1_000), ("h2", 0)):
        (said,) = decide(engine, [one(hotel_id=hotel)])
        assert (said.bid_micros, said.reasons) == ([cap], [Reason.GUARD])


def test_where_the_plan_bids_nothing_there_is_no_bid(bundle: Bundle) -> None:
    (said,) = decide(itineraries(bundle, plan=FixedPlan(hotels={"h1": (0.8, 0.0, 9)})), [one()])
    assert (said.bid_micros, said.score, said.reasons) == ([0], [0.0], [Reason.WORTHLESS])


@pytest.mark.ml_test_score("monitor2")
@pytest.mark.parametrize(
    "fields",
    [{"hotel_id": ""}, {"check_in": None}, {"price_micros": None}, {"check_in": TODAY - timedelta(days=2)}],
    ids=["hotel", "date", "price", "past"],
)
def test_a_candidate_that_lacks_what_a_bid_needs_has_a_reason_and_no_bid(
    bundle: Bundle, fields: dict[str, Any]
) -> None:
    (said,) = decide(itineraries(bundle), [one(**fields)])
    assert (said.bid_micros, said.score, said.reasons) == ([0], [0.0], [Reason.UNKNOWN])


def test_a_stay_from_yesterday_counts_as_today_s(bundle: Bundle) -> None:
    early, today = one(check_in=TODAY - timedelta(days=1)), one(check_in=TODAY)
    lead = [search_columns([request], at_us=AT_US)["lead_days"][0] for request in (early, today)]
    assert lead == [0.0, 0.0]


@pytest.mark.parametrize("pacing", [float("nan"), -1.0, 0.0])
def test_a_pacing_that_is_no_share_stops_bids(bundle: Bundle, pacing: float) -> None:
    assert decide(itineraries(bundle), [one()], pacing=pacing)[0].bid_micros == [0]


def test_pacing_never_raises_a_bid(bundle: Bundle) -> None:
    engine = itineraries(bundle)
    assert decide(engine, [one()], pacing=7.0) == decide(engine, [one()], pacing=1.0)


def test_a_batch_with_a_multiplier_of_each_request_is_decided_as_each_alone(
    bundle: Bundle, listing_files: Bundle, listings: pd.DataFrame
) -> None:
    pacing = [1.0, 0.5, 0.0, 0.123456789, 1.0] * 6
    searches = some_requests(30)
    shown = [
        BidRequest("k", [Candidate(f"l{7 * at + n}", value_micros=100_000 + n) for n in range(1 + at % 20)])
        for at in range(30)
    ]
    for engine, requests in ((itineraries(bundle), searches), (auction(listing_files, listings), shown)):
        together = engine.decide(requests, engine.look_up(requests), at_us=AT_US, pacing=pacing)
        alone = [decide(engine, [request], pacing=one)[0] for request, one in zip(requests, pacing, strict=True)]
        assert together == alone
        assert decide(engine, requests, pacing=1.0) == engine.decide(
            requests, engine.look_up(requests), at_us=AT_US, pacing=[1.0] * 30
        )


def test_what_pacing_takes_away_is_taken_from_what_the_cap_leaves_and_said_where_nothing_is_left(
    bundle: Bundle,
) -> None:
    engine = itineraries(bundle, plan=FixedPlan(hotels={"h1": (0.8, 0.7, 1_001)}))
    (whole,), (half,), (none,) = (decide(engine, [one()], pacing=pacing) for pacing in (1.0, 0.5, 0.0))
    assert (whole.bid_micros, half.bid_micros, none.bid_micros) == ([1_001], [500], [0])
    assert (whole.reasons, half.reasons, none.reasons) == ([Reason.GUARD], [Reason.GUARD], [Reason.PACED])
    stopped = itineraries(bundle, plan=FixedPlan(hotels={"h1": (0.8, 0.7, 0)}))
    assert decide(stopped, [one()], pacing=0.0)[0].reasons == [Reason.GUARD], "a kill switch is no matter of money"


def test_features_that_are_missing_are_counted_and_flagged(bundle: Bundle) -> None:
    (known,), (unknown,) = (decide(itineraries(bundle), [one(hotel_id=hotel)]) for hotel in ("h1", "h13"))
    assert (known.missing, known.reasons) == (0, [Reason.BID])
    assert (unknown.missing, unknown.reasons) == (len(TRAFFIC_HISTORY), [Reason.DEFAULTS])
    assert unknown.bid_micros[0] > 0


def test_without_any_features_bids_are_made_with_defaults(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    table = traffic()
    table.gone = True
    (said,) = decide(itineraries(bundle, table=table), [one()])
    assert (said.reasons, said.bid_micros[0] > 0) == ([Reason.DEFAULTS], True)
    assert "online features cannot be read" in caplog.text


def test_features_past_their_time_to_live_are_not_asked_for(bundle: Bundle) -> None:
    table = traffic()
    decide(itineraries(bundle, table=table), [one()])
    assert table.not_before_us == AT_US - 30 * 86_400_000_000


@pytest.mark.ml_test_score("monitor5")
@pytest.mark.parametrize("p", [float("nan"), float("inf"), -0.1, 1.1])
@pytest.mark.parametrize("which", ["_conversion", "_click"])
def test_a_probability_that_is_none_gives_a_reason_and_no_bid(bundle: Bundle, which: str, p: float) -> None:
    class Broken:
        def predict_columns(self, columns: Any) -> dict[str, Any]:
            wrong = np.where(np.array(columns["hotel_id"]) == "h1", p, 0.5)
            return {"p_book": wrong, "p_click": wrong}

    engine = itineraries(bundle)
    setattr(engine, which, Broken())
    (said,) = decide(engine, [BidRequest("k", [*one().candidates, *one(hotel_id="h2").candidates], one().user)])
    assert (said.bid_micros[0], said.score[0], said.reasons[0]) == (0, 0.0, Reason.OUT_OF_RANGE)
    assert said.bid_micros[1] > 0


def test_without_a_click_model_the_bid_ranks(searches: dict[str, pd.DataFrame]) -> None:
    engine = itineraries(itinerary_bundle(searches, click=False))
    (said,) = decide(engine, [one()])
    assert said.score == [float(said.bid_micros[0])]
    assert (engine.layout.columns, said.features, said.missing) == ((), b"", 0)


def test_a_listing_s_bid_is_its_value_within_the_cap_and_ranks_by_what_it_earns(
    listing_files: Bundle, listings: pd.DataFrame
) -> None:
    engine = auction(listing_files, listings, plan=FixedPlan(max_bid_micros=400_000))
    p = load_model(listing_files).predict(listings.astype(dict.fromkeys(LISTING_COLUMNS, np.float32)))["p_click"]
    values = [100_000, 900_000, None]
    request = BidRequest("k", [Candidate(f"l{n}", value_micros=value) for n, value in enumerate(values)])
    (said,) = decide(engine, [request], pacing=0.5)
    assert said.bid_micros == [50_000, 200_000, 0]
    assert said.score == [p[0] * 50_000, p[1] * 200_000, p[2]]
    expected = [Reason.BID, Reason.GUARD, Reason.BID]
    gaps = listings[list(LISTING_COLUMNS)].isna().any(axis=1)
    assert said.reasons == [
        Reason.DEFAULTS if gap and reason is Reason.BID else reason for gap, reason in zip(gaps, expected, strict=False)
    ]


def test_a_listing_that_nobody_knows_is_ranked_by_defaults(listing_files: Bundle, listings: pd.DataFrame) -> None:
    (said,) = decide(auction(listing_files, listings), [BidRequest("k", [Candidate("?", value_micros=1_000)])])
    assert (said.reasons, said.missing, said.bid_micros) == ([Reason.DEFAULTS], len(LISTING_COLUMNS), [1_000])
    assert 0 < said.score[0] < 1_000


def load_model(bundle: Bundle) -> Any:
    from ml.serving.engine_loading import TYPES

    return load_models(bundle, types=TYPES)["listing"]


def test_a_listing_model_reads_back_the_same(listing_files: Bundle, listings: pd.DataFrame) -> None:
    again = load_model(listing_files)
    assert again.artefacts() == {k: v for k, v in listing_files.artefacts.items() if k != "golden.json"}
    assert again.predict(listings)["p_click"].between(0, 1).all()


def test_a_bundle_without_a_model_that_bids_is_refused(bundle: Bundle) -> None:
    files = {name: data for name, data in bundle.artefacts.items() if name.startswith("click")}
    with pytest.raises(CorruptArtefact, match="no model that bids are made with"):
        itineraries(made({**files, "golden.json": bundle.artefacts["golden.json"]}))


def test_a_bundle_that_does_not_repeat_its_golden_predictions_is_refused(bundle: Bundle) -> None:
    with pytest.raises(CorruptArtefact, match="golden"):
        itineraries(damaged(bundle, "click/calibration.json", b'"intercept":-', b'"intercept":-9'))


def test_where_nothing_can_be_compiled_lightgbm_itself_gives_the_same_bids(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requests = some_requests(4)
    fast = decide(itineraries(bundle), requests)

    def none() -> None:
        raise ImportError("no compiler")

    monkeypatch.setattr(trees, "kernel", none)
    assert decide(itineraries(bundle), requests) == fast
    assert "LightGBM itself serves, which is slower: no compiler" in caplog.text


def test_lead_time_counts_utc_days() -> None:
    late = int(AS_OF.timestamp() * 1e6) + 86_399_999_999
    found = search_columns([one(check_in=date(TODAY.year, TODAY.month, TODAY.day) + timedelta(days=3))], at_us=late)
    assert found["lead_days"][0] == 3.0
