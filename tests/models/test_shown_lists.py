"""Clicks on whole lists: what the traveller did before counts, what comes after does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, NoData
from ml.evaluation.ranking import list_log_losses, list_starts, reciprocal_ranks, softmax
from ml.models.lightgbm_text import Recipe
from ml.models.shown_lists import (
    LIST_COLUMNS,
    POPULARITY_COLUMNS,
    SESSION_COLUMNS,
    Popularity,
    ShownLists,
    list_columns,
    session_columns,
)

SMALL = Recipe(rounds=60, learning_rate=0.1, num_leaves=6, min_rows_in_leaf=50, feature_fraction=0.9)
OFFERS = 8


def drawn_lists(lists: int = 900, *, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Lists of eight hotels clicked by a conditional logit of place and price, and the true probabilities."""
    rng = np.random.default_rng(seed)
    position = np.tile(np.arange(1, OFFERS + 1), lists)
    price = np.rint(np.exp(rng.normal(4.5, 0.4, lists * OFFERS)))
    starts = np.arange(lists) * OFFERS
    over = np.log(price / np.repeat(np.minimum.reduceat(price, starts), OFFERS))
    p = softmax(-0.25 * position - 3.0 * over, starts)
    clicked = (rng.random((lists, 1)) > np.cumsum(p.reshape(lists, OFFERS), axis=1)).sum(axis=1).clip(max=OFFERS - 1)
    number = np.repeat(np.arange(lists), OFFERS)
    frame = pd.DataFrame(
        {
            "list_id": [f"s{n}/9" for n in number],
            "session_id": [f"s{n}" for n in number],
            "ts": pd.Timestamp("2018-11-07", tz="UTC") + pd.to_timedelta(number, unit="s"),
            "step": 9,
            "device": "mobile",
            "hotel_id": [f"h{n}" for n in rng.integers(0, 10**9, lists * OFFERS)],
            "position": position,
            "price_micros": (price * 1e6).astype(np.int64),
            "clicked": position == np.repeat(clicked, OFFERS) + 1,
        }
    )
    return frame, p


def sizes(lists: pd.DataFrame) -> list[int]:
    return [OFFERS] * (len(lists) // OFFERS)


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return drawn_lists()[0]


@pytest.fixture(scope="module")
def fitted(train: pd.DataFrame) -> ShownLists:
    return ShownLists.fit(list_columns(train), train["clicked"].to_numpy(float), sizes(train), seed=1, recipe=SMALL)


def test_it_ranks_better_than_the_shown_order_and_is_near_the_true_probabilities(fitted: ShownLists) -> None:
    test, truth = drawn_lists(seed=1)
    utility = fitted.utility(list_columns(test))
    p = softmax(utility, list_starts(test["list_id"]))
    ours, shown = (
        reciprocal_ranks(test["clicked"], score, test["list_id"]).mean() for score in (utility, -test["position"])
    )
    losses = [list_log_losses(test["clicked"], guess, test["list_id"]).mean() for guess in (p, truth)]
    assert ours > shown + 0.05
    assert losses[0] < losses[1] + 0.08
    assert losses[0] < np.log(OFFERS) - 0.2


def test_the_same_lists_give_the_same_bytes_and_read_back_with_the_same_utilities(
    train: pd.DataFrame, fitted: ShownLists
) -> None:
    frame = list_columns(train)
    again = ShownLists.fit(frame, train["clicked"].to_numpy(float), sizes(train), seed=1, recipe=SMALL)
    assert again.artefacts() == fitted.artefacts()
    loaded = ShownLists.load(fitted.artefacts())
    np.testing.assert_array_equal(loaded.utility(frame), fitted.utility(frame))
    with pytest.raises(CorruptArtefact, match="columns"):
        ShownLists.load(fitted.artefacts() | {"shown_lists/columns.json": b"{}"})


def test_few_lists_are_not_fitted(train: pd.DataFrame) -> None:
    few = train.head(10 * OFFERS)
    with pytest.raises(NoData, match="10 shown lists"):
        ShownLists.fit(list_columns(few), few["clicked"].to_numpy(float), [OFFERS] * 10, seed=1)


def one_list() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "list_id": "s/5",
            "session_id": "s",
            "ts": pd.Timestamp("2018-11-07 10:00", tz="UTC"),
            "step": 5,
            "device": "mobile",
            "hotel_id": ["a", "b", "c"],
            "position": [1, 2, 3],
            "price_micros": [200, 100, 400],
            "clicked": [False, True, False],
        }
    )


def acts(*rows: tuple[int, str, str]) -> pd.DataFrame:
    at = pd.Timestamp("2018-11-07 09:59", tz="UTC")
    return pd.DataFrame(
        [("s", step, at + pd.Timedelta(seconds=step), kind, what) for step, kind, what in rows],
        columns=["session_id", "step", "ts", "kind", "reference"],
    )


def test_columns_of_a_list_compare_each_price_with_the_others() -> None:
    found = list_columns(one_list())
    assert tuple(found.columns) == LIST_COLUMNS
    np.testing.assert_allclose(found["price_rank"], [2 / 3, 1 / 3, 1.0])
    np.testing.assert_allclose(found["over_cheapest"], np.log([2, 1, 4]))
    np.testing.assert_allclose(found["over_cheapest_above"], [np.nan, np.log(0.5), np.log(4)])
    np.testing.assert_allclose(found["over_first"], np.log([1, 0.5, 2]))


def test_columns_of_the_session_count_what_was_done_before() -> None:
    before = acts(
        (1, "change of sort order", "price only"),
        (2, "interaction item image", "a"),
        (3, "interaction item image", "a"),
        (4, "clickout item", "b"),
    )
    found = session_columns(one_list(), before)
    assert tuple(found.columns) == SESSION_COLUMNS
    assert found["seen_image"].tolist() == [2, 0, 0]
    assert found["clicked_before"].tolist() == [0, 1, 0]
    assert found["is_last"].tolist() == [0, 1, 0]
    assert found["places_below_last"].tolist() == [-1, 0, 1]
    assert found["session_actions"].tolist() == [4, 4, 4]
    assert found["session_clicks"].tolist() == [1, 1, 1]
    assert found["sorted_by_price"].tolist() == [1, 1, 1]
    assert found["seconds_since"].tolist() == [56, 56, 56]


def test_the_click_itself_and_everything_after_it_change_no_column() -> None:
    before = acts((2, "interaction item image", "a"), (3, "search for item", "c"))
    after = acts(
        (5, "clickout item", "b"), (6, "interaction item image", "c"), (7, "change of sort order", "price only")
    )
    pd.testing.assert_frame_equal(
        session_columns(one_list(), pd.concat([after, before], ignore_index=True)), session_columns(one_list(), before)
    )


def test_popularity_out_of_fold_does_not_know_the_sessions_own_click() -> None:
    lists = pd.concat([one_list().assign(session_id=f"s{n}", list_id=f"s{n}/5") for n in range(40)], ignore_index=True)
    nobody = acts().astype({"session_id": object})
    found = Popularity.fit(lists, nobody)
    blind = pd.DataFrame(found.columns(lists, out_of_fold=True))
    flipped = lists.copy()
    own = flipped["session_id"] == "s0"
    flipped.loc[own, "clicked"] = [True, False, False]
    again = pd.DataFrame(Popularity.fit(flipped, nobody).columns(flipped, out_of_fold=True))
    assert tuple(blind.columns) == POPULARITY_COLUMNS
    pd.testing.assert_frame_equal(blind[own], again[own])
    known = found.columns(lists, out_of_fold=False)
    assert known["others_clicks"][1] == 40
    assert Popularity.fit(lists, nobody).columns(one_list().assign(hotel_id="new"), out_of_fold=False)[
        "others_clicks"
    ].tolist() == [0, 0, 0]
