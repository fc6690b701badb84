"""What rivals bid is read from the places that our bids reached, whatever these bids were, and believed as far as we book."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, UsageError
from ml.models.conversion import ConversionBaseline, ConversionModel
from ml.models.numbers import Floats, sigmoid
from ml.models.rival_level import AUCTION_COLUMNS, LEVEL, RivalLevel
from tests.models.conftest import AS_OF

HOTELS = 40
RIVALS, SPREAD = 5, 0.6
DEAR_AHEAD = 0.5
"""Rivals bid so much more, in the logarithm, for stays more than a week ahead."""


def make_auctions(seed: int = 0, *, rows: int = 40_000, ours: Floats | None = None, told: float = 1.0) -> pd.DataFrame:
    """Auctions against rivals whose bids follow the hotel's true `worth` (a column that no model reads) by `told`.

    Args:
        seed: of everything.
        rows: how many.
        ours: what we bid more for each hotel, in the logarithm; none: the same for all.
        told: how far the rivals' bids follow the worth.
    """
    rng = np.random.default_rng(seed)
    worth = np.random.default_rng(1).normal(0.0, 0.5, HOTELS)
    hotel, lead = rng.integers(0, HOTELS, rows), rng.integers(0, 60, rows)
    price = np.exp(rng.normal(4.5, 0.3, rows))
    level = np.log(0.003 * price) + told * worth[hotel] + np.where(lead > 7, DEAR_AHEAD, 0.0)
    bid = np.log(0.003 * price) + rng.normal(0.0, 0.5, rows) + (0.0 if ours is None else ours[hotel])
    above = (rng.normal(level[:, None], SPREAD, (rows, RIVALS)) > bid[:, None]).sum(axis=1)
    ts = pd.Series(pd.Timestamp(AS_OF) - pd.to_timedelta(1 + 27 * rng.random(rows), unit="D")).dt.as_unit("us")
    return pd.DataFrame(
        {
            "opportunity_id": [f"o{number:06d}" for number in range(rows)],
            "ts": ts,
            "known_at": ts,
            "partner": rng.choice(["google", "trivago"], rows),
            "hotel_id": [f"h{number:02d}" for number in hotel],
            "device": rng.choice(["desktop", "mobile"], rows),
            "user_country": rng.choice(["PT", "DE"], rows),
            "lead_days": lead,
            "check_in": ts.dt.floor("D") + pd.to_timedelta(lead, unit="D"),
            "los_nights": rng.integers(1, 5, rows),
            "default_date": rng.random(rows) < 0.3,
            "price_micros": np.rint(price * 1e6).astype(np.int64),
            "rival_price_micros": pd.array(np.rint(price * 1e6), dtype="Int64"),
            "bid_micros": np.rint(np.exp(bid) * 1e6).astype(np.int64),
            "shown": above < 4,
            "position": np.where(above < 4, above + 1, 0),
            "worth": worth[hotel],
        }
    )


def clicks_of(auctions: pd.DataFrame, seed: int = 3) -> pd.DataFrame:
    """Clicks on offers shown, one in fifteen of which books, more where the worth is higher."""
    rng = np.random.default_rng(seed)
    clicks = auctions[auctions["shown"]].sample(frac=0.5, random_state=seed).reset_index(drop=True)
    clicks["p_true"] = sigmoid(-2.8 + clicks["worth"].to_numpy())
    booked = rng.random(len(clicks)) < clicks["p_true"]
    at = clicks["ts"]
    return clicks.assign(
        click_id=clicks["opportunity_id"], click_known_at=at, booked=booked, booking_known_at=at.where(booked)
    )


def by_hotel(level: RivalLevel) -> Floats:
    return np.array([level.hotels[f"h{number:02d}"] for number in range(HOTELS)])


def worth_of() -> Floats:
    return np.random.default_rng(1).normal(0.0, 0.5, HOTELS)


def fitted(auctions: pd.DataFrame) -> RivalLevel:
    found = RivalLevel.fit(auctions)
    assert found is not None
    return found


def test_hotels_for_which_rivals_bid_more_have_a_higher_level() -> None:
    level = by_hotel(fitted(make_auctions()))
    assert np.corrcoef(level, worth_of())[0, 1] > 0.97
    assert np.polyfit(worth_of(), level, 1)[0] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("follows", [-0.8, 0.8])
def test_our_own_bids_do_not_move_it(follows: float) -> None:
    """A history of places or costs would: it reads the bids that made it."""
    same, moved = (by_hotel(fitted(make_auctions(5, ours=ours))) for ours in (None, follows * worth_of()))
    assert np.polyfit(same, moved, 1)[0] == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(same, moved)[0, 1] > 0.97


def test_what_rivals_bid_for_a_kind_of_search_is_part_of_it() -> None:
    auctions = make_auctions()
    level, ahead = fitted(auctions).of(auctions), (auctions["lead_days"] > 7).to_numpy()
    assert level[ahead].mean() - level[~ahead].mean() == pytest.approx(DEAR_AHEAD, abs=0.1)
    assert level.mean() == pytest.approx(0.0, abs=1e-9)


def test_a_hotel_or_a_country_never_seen_has_the_level_of_the_others() -> None:
    auctions = make_auctions()
    level = fitted(auctions)
    strange = auctions.assign(hotel_id="h99", user_country="XX")
    assert np.isfinite(level.of(strange)).all()
    assert level.of(strange).std() < level.of(auctions).std()


@pytest.mark.parametrize("change", [{"bid_micros": 300_000, "shown": True, "position": 2}, {"bid_micros": 0}])
def test_places_that_do_not_follow_bids_tell_nothing(change: dict[str, Any]) -> None:
    assert RivalLevel.fit(make_auctions().assign(**change)) is None


def test_a_few_auctions_tell_nothing() -> None:
    assert RivalLevel.fit(make_auctions(rows=1_000)) is None


@pytest.mark.parametrize("name", AUCTION_COLUMNS)
def test_a_column_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        RivalLevel.fit(make_auctions(rows=50).drop(columns=name))


def test_the_order_of_the_auctions_changes_nothing_and_it_reads_back_the_same() -> None:
    auctions = make_auctions()
    level = fitted(auctions)
    files = level.artefacts("conversion")
    assert fitted(auctions.sample(frac=1.0, random_state=2)).artefacts("conversion") == files
    np.testing.assert_array_equal(RivalLevel.load("conversion", files).of(auctions), level.of(auctions))


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b'{"centre": 0, "price": 0, "nights": 0, "groups": {}}'])
def test_a_file_of_another_form_is_refused(junk: bytes) -> None:
    with pytest.raises(CorruptArtefact):
        RivalLevel.load("conversion", {"conversion/rival_level.json": junk})


@pytest.mark.parametrize("kind", [ConversionModel, ConversionBaseline])
def test_the_conversion_model_believes_rivals_who_know_and_not_those_who_do_not(
    kind: type[ConversionModel] | type[ConversionBaseline],
) -> None:
    """How far they are to be believed is learned from bookings, so that ignorant rivals do no harm."""

    def error(told: float, *, seen: bool) -> float:
        """Variance over hotels of how far they are mistaken, in the logarithm."""
        auctions = make_auctions(7, told=told)
        clicks = clicks_of(auctions)
        prepared = kind.prepare(clicks, as_of=AS_OF, auctions=auctions if seen else None)
        p = kind.fit_prepared(prepared, seed=1).predict(clicks)["p_book"]
        return float(np.log(p / clicks["p_true"]).groupby(clicks["hotel_id"]).mean().var())

    assert error(1.0, seen=True) < 0.5 * error(1.0, seen=False)
    assert error(0.0, seen=True) < 1.1 * error(0.0, seen=False)


@pytest.mark.parametrize("kind", [ConversionModel, ConversionBaseline])
def test_a_model_that_reads_it_keeps_it_with_its_other_files(
    kind: type[ConversionModel] | type[ConversionBaseline],
) -> None:
    auctions = make_auctions(7)
    clicks = clicks_of(auctions)
    model = kind.fit_prepared(kind.prepare(clicks, as_of=AS_OF, auctions=auctions), seed=1)
    files = model.artefacts()
    again = kind.load(files)
    assert LEVEL.name in model.features
    pd.testing.assert_frame_equal(again.predict(clicks), model.predict(clicks))
    assert set(model.reference(clicks)["features"]) == set(model.features)
    with pytest.raises(CorruptArtefact, match="rival_level"):
        kind.load({name: data for name, data in files.items() if "rival_level" not in name})


def test_auctions_known_later_are_not_read() -> None:
    auctions = make_auctions(7)
    clicks = clicks_of(auctions)
    later = auctions.assign(known_at=pd.Timestamp(AS_OF), position=1, shown=True)
    both = pd.concat([auctions, later], ignore_index=True)
    files = [
        ConversionBaseline.fit_prepared(
            ConversionBaseline.prepare(clicks, as_of=AS_OF, auctions=rows), seed=1
        ).artefacts()
        for rows in (auctions, both)
    ]
    assert files[0] == files[1]
