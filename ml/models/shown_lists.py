"""Clicks on a whole list of offers: which of up to 25 hotels shown together is the one that is clicked.

`ml.models.click` scores one offer of ours against the cheapest rival, which is all that a partner tells an advertiser.
Where whole lists are known, as in the trivago impressions, position and price can be told apart better: an offer competes
with the offers of its own list. The model is a conditional logit (McFadden 1974) whose utilities are boosted trees.

Columns come from the list itself (place, price against the others), from what the traveller did earlier in the session,
and from how often others clicked the hotel (`Popularity`), in training without those of the same tenth of sessions.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact, NoData
from ml.models import lightgbm_text
from ml.models.artefacts import read_object, read_text
from ml.models.lightgbm_text import Recipe, TextModel
from ml.models.numbers import Floats, Ints

NAME = "shown_lists"

LIST_COLUMNS = (
    "position",
    "offers",
    "price_rank",
    "over_median",
    "over_cheapest",
    "over_cheapest_above",
    "over_first",
    "is_cheapest",
)
"""Place and price in the list: what any advertiser could know of it."""

SESSION_COLUMNS = (
    "seen_image",
    "seen_details",
    "searched",
    "clicked_before",
    "steps_since",
    "is_last",
    "places_below_last",
    "over_last",
    "shown_before",
    "session_clicks",
    "session_actions",
    "seconds_since",
    "sorted_by_price",
    "mobile",
)
"""What the traveller did earlier in the session."""

POPULARITY_COLUMNS = ("others_clicks", "others_actions", "others_ctr")
"""What others did with the hotel."""

FOLDS = 10
_KINDS = {
    "interaction item image": "seen_image",
    "interaction item info": "seen_details",
    "interaction item rating": "seen_details",
    "interaction item deals": "seen_details",
    "search for item": "searched",
    "clickout item": "clicked_before",
}
_SORT = "change of sort order"
_COUNTS = ("seen_image", "seen_details", "searched", "clicked_before")

RECIPE = Recipe(rounds=250, learning_rate=0.05, num_leaves=15, min_rows_in_leaf=100, feature_fraction=0.5, l2=5.0)
MIN_LISTS = 200


@dataclass(frozen=True)
class Popularity:
    """Clicks, actions and showings of each hotel, by fold of the sessions they come from; each (hotels, `FOLDS`)."""

    hotels: pd.Index[str]
    clicks: Floats
    actions: Floats
    shown: Floats

    @classmethod
    def fit(cls, lists: pd.DataFrame, actions: pd.DataFrame) -> Popularity:
        """Count over lists and actions as `ml.market.trivago.TrivagoImpressions` gives them."""
        touched = actions[actions["kind"].isin(_KINDS)]
        hotels = pd.Index(np.union1d(lists["hotel_id"].unique(), touched["reference"].dropna().unique()))

        def count(rows: pd.DataFrame, name: str) -> Floats:
            cell = hotels.get_indexer(pd.Index(rows[name])) * FOLDS + _folds(rows["session_id"])
            return np.bincount(cell, minlength=len(hotels) * FOLDS).reshape(-1, FOLDS).astype(np.float64)

        return cls(
            hotels,
            count(lists[lists["clicked"]], "hotel_id"),
            count(touched[touched["reference"].notna()], "reference"),
            count(lists, "hotel_id"),
        )

    def columns(self, lists: pd.DataFrame, *, out_of_fold: bool) -> dict[str, Floats]:
        """`POPULARITY_COLUMNS` of the rows; out of fold, without the sessions of the row's own fold, scaled to all."""
        code = self.hotels.get_indexer(pd.Index(lists["hotel_id"]))
        fold = _folds(lists["session_id"])

        def of(counts: Floats) -> Floats:
            total = counts.sum(axis=1)[code]
            if out_of_fold:
                total = (total - counts[code, fold]) * FOLDS / (FOLDS - 1)
            return np.where(code >= 0, total, 0.0)

        clicks, shown = of(self.clicks), of(self.shown)
        return {
            "others_clicks": clicks,
            "others_actions": of(self.actions),
            "others_ctr": (clicks + 0.5) / (shown + 11.5),
        }


def list_columns(lists: pd.DataFrame) -> pd.DataFrame:
    """`LIST_COLUMNS` of rows with list_id, position and price_micros."""
    group = lists.groupby("list_id", sort=False)
    price = np.log(lists["price_micros"])
    by = price.groupby(lists["list_id"], sort=False)
    above = by.cummin().groupby(lists["list_id"], sort=False).shift()
    offers = group["position"].transform("size")
    found = {
        "position": lists["position"],
        "offers": offers,
        "price_rank": by.rank(method="min") / offers,
        "over_median": price - by.transform("median"),
        "over_cheapest": price - by.transform("min"),
        "over_cheapest_above": price - above,
        "over_first": price - by.transform("first"),
        "is_cheapest": price <= by.transform("min"),
    }
    return pd.DataFrame(found, index=lists.index).astype(np.float64)


def session_columns(lists: pd.DataFrame, actions: pd.DataFrame) -> pd.DataFrame:
    """`SESSION_COLUMNS` from actions of lower step in the same session; nothing of the click itself, nor of later.

    Args:
        lists: rows with list_id, session_id, ts, step, device, hotel_id, position and price_micros.
        actions: of the same days: session_id, step, ts, kind, reference.
    """
    rows = lists.assign(order=np.arange(len(lists))).sort_values("step", kind="stable")
    acts = actions.sort_values("step", kind="stable")
    own = acts[acts["kind"].isin(_KINDS)].rename(columns={"reference": "hotel_id"})
    column = own["kind"].map(_KINDS)
    by_hotel = own.groupby(["session_id", "hotel_id"], sort=False)
    counts = {name: (column == name).groupby([own["session_id"], own["hotel_id"]]).cumsum() for name in _COUNTS}
    at = own[["session_id", "hotel_id", "step"]].assign(**counts, at_step=own["step"], nth=by_hotel.cumcount())
    found = pd.merge_asof(rows, at, on="step", by=["session_id", "hotel_id"], allow_exact_matches=False)
    last = own[["session_id", "step", "hotel_id"]].rename(columns={"hotel_id": "last_hotel"})
    found = pd.merge_asof(found, last, on="step", by="session_id", allow_exact_matches=False)
    running = acts[["session_id", "step"]].assign(
        session_clicks=(acts["kind"] == "clickout item").groupby(acts["session_id"]).cumsum(),
        session_actions=acts.groupby("session_id").cumcount() + 1,
        last_ts=acts["ts"],
    )
    found = pd.merge_asof(found, running, on="step", by="session_id", allow_exact_matches=False)
    order = acts.loc[acts["kind"] == _SORT, ["session_id", "step", "reference"]]
    order = order.assign(sorted_by_price=order["reference"].str.contains("price", na=False).astype(float))
    found = pd.merge_asof(
        found,
        order[["session_id", "step", "sorted_by_price"]],
        on="step",
        by="session_id",
        allow_exact_matches=False,
    )
    found["shown_before"] = found.groupby(["session_id", "hotel_id"], sort=False).cumcount()
    found = found.sort_values("order", ignore_index=True)
    is_last = (found["hotel_id"] == found["last_hotel"]).to_numpy()
    of_last = found.loc[is_last, ["list_id", "position", "price_micros"]].set_index("list_id")
    place = found["list_id"].map(of_last["position"])
    columns = {
        **{name: found[name].fillna(0.0) for name in (*_COUNTS, "session_clicks", "session_actions")},
        "steps_since": found["step"] - found["at_step"],
        "is_last": is_last,
        "places_below_last": found["position"] - place,
        "over_last": np.log(found["price_micros"] / found["list_id"].map(of_last["price_micros"])),
        "shown_before": found["shown_before"],
        "seconds_since": (found["ts"] - found["last_ts"]).dt.total_seconds(),
        "sorted_by_price": found["sorted_by_price"].fillna(-1.0),
        "mobile": found["device"] == "mobile",
    }
    frame = pd.DataFrame(columns).astype(np.float64).set_axis(lists.index)
    return frame[list(SESSION_COLUMNS)]


@dataclass(frozen=True)
class ShownLists:
    """Fitted utilities of offers."""

    names: tuple[str, ...]
    trees: TextModel

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, clicked: Floats, lists: Sequence[int], *, seed: int, recipe: Recipe = RECIPE
    ) -> Self:
        """Fit on columns of lists, one after the other.

        Args:
            frame: any columns of this module, shape (n, k).
            clicked: 1 for the one clicked of each list, shape (n,).
            lists: offers of each list, in order; they sum to n.
            seed: of the trees.
            recipe: how to grow them.

        Raises:
            NoData: there are fewer than `MIN_LISTS` lists.
        """
        if len(lists) < MIN_LISTS:
            raise NoData(f"there are {len(lists)} shown lists; {MIN_LISTS} are needed", next="take more days")
        names = tuple(map(str, frame.columns))
        text = lightgbm_text.train_lists(
            frame.to_numpy(dtype=np.float64), clicked, lists, recipe=recipe, seed=seed, names=names
        )
        return cls(names, TextModel(text))

    def utility(self, frame: pd.DataFrame) -> Floats:
        """Utilities, shape (n,); their softmax over a list is the probability of each offer to be the one clicked."""
        return self.trees.margin(frame[list(self.names)].to_numpy(dtype=np.float64))

    def artefacts(self) -> dict[str, bytes]:
        """`shown_lists/model.txt` and `shown_lists/columns.json`."""
        columns = canonical_json({"columns": list(self.names)})
        return {f"{NAME}/model.txt": self.trees.text.encode(), f"{NAME}/columns.json": columns}

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Self:
        """Read back `artefacts`; CorruptArtefact when a file is missing or not of its form."""
        columns = read_object(artefacts, f"{NAME}/columns.json").get("columns")
        if not isinstance(columns, list) or not columns:
            raise CorruptArtefact(f"{NAME}/columns.json is not of the expected form", next="train the version again")
        return cls(tuple(map(str, columns)), TextModel(read_text(artefacts, f"{NAME}/model.txt")))


def _folds(sessions: pd.Series[str]) -> Ints:
    """The fold of each session, by a checksum of its name."""
    names = sessions.unique()
    fold = {name: zlib.crc32(str(name).encode()) % FOLDS for name in names}
    return sessions.map(fold).to_numpy(dtype=np.int64)
