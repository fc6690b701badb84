"""The click on real lists of a hotel metasearch site: day 1 of the trivago sample trains, day 2 tests.

Mean reciprocal rank (MRR) and multinomial log loss per clicked list, with 90 % intervals by session. The peer is the
shown order on the same test day; its log loss is that of the share of clicks that each place had on day 1. Settings
were chosen by cross-validation over the sessions of day 1 alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common import ROOT, Figure, MissingData, run
from ml.evaluation.interval import Interval
from ml.evaluation.paired import paired_bootstrap, ratio_bootstrap
from ml.evaluation.ranking import list_log_losses, list_starts, reciprocal_ranks, softmax
from ml.models.lightgbm_text import Recipe
from ml.models.numbers import Floats
from ml.models.shown_lists import (
    LIST_COLUMNS,
    POPULARITY_COLUMNS,
    RECIPE,
    SESSION_COLUMNS,
    Popularity,
    ShownLists,
    list_columns,
    session_columns,
)

TRIVAGO = ROOT.parent / "shared" / "data" / "trivago_recsys2019"
SEED = 1
MRR_SHOWN, MRR_PRICE = 0.4497, 0.2511
"""MRR of the shown order and of the price order over both days, as the data's own notes say."""

LIST_RECIPE = Recipe(rounds=120, learning_rate=0.05, num_leaves=6, min_rows_in_leaf=200, feature_fraction=0.7, l2=5.0)
"""For place and price alone."""


def measure(given: argparse.Namespace) -> dict[str, Figure]:
    """Train on the first day, test on the second."""
    from ml.core.errors import NoData
    from ml.market import IMPRESSIONS

    source = IMPRESSIONS["trivago"](Path(given.data))
    try:
        first, last = source.first_day(), source.last_day()
    except NoData as error:
        raise MissingData(str(error)) from error
    train, test = source.impressions(first), source.impressions(last)
    early = source.actions(first)
    actions = pd.concat([early, source.actions(last)], ignore_index=True)
    popularity = Popularity.fit(train, early)
    columns = [
        pd.concat(
            [
                list_columns(rows),
                session_columns(rows, acts),
                pd.DataFrame(popularity.columns(rows, out_of_fold=rows is train), index=rows.index),
            ],
            axis=1,
        )
        for rows, acts in ((train, early), (test, actions))
    ]
    figures: dict[str, Figure] = {}
    sessions = test["session_id"].to_numpy()[list_starts(test["list_id"])]
    shown_rank, shown_loss = _shown_order(train, test)
    for name, chosen, recipe in (
        ("", (*LIST_COLUMNS, *SESSION_COLUMNS, *POPULARITY_COLUMNS), RECIPE),
        ("_list_and_session", (*LIST_COLUMNS, *SESSION_COLUMNS), RECIPE),
        ("_place_and_price", LIST_COLUMNS, LIST_RECIPE),
    ):
        model = ShownLists.fit(
            columns[0][list(chosen)], train["clicked"].to_numpy(float), _sizes(train), seed=SEED, recipe=recipe
        )
        utility = model.utility(columns[1])
        rank = reciprocal_ranks(test["clicked"], utility, test["list_id"])
        loss = list_log_losses(test["clicked"], softmax(utility, list_starts(test["list_id"])), test["list_id"])
        figures |= _figures(f"mrr{name}", "MRR", rank, shown_rank, sessions)
        figures |= _figures(f"log_loss{name}", "nats a list", loss, shown_loss, sessions)
    price = reciprocal_ranks(test["clicked"], -test["price_micros"], test["list_id"])
    figures["mrr_price_order"] = Figure(_round(price.mean()), "MRR", peer=_round(shown_rank.mean()))
    return figures | _whole(pd.concat([train, test], ignore_index=True))


def _figures(name: str, unit: str, ours: Floats, theirs: Floats, sessions: np.ndarray) -> dict[str, Figure]:
    """The mean, its interval, and that of its difference from the shown order."""
    own = ratio_bootstrap(ours, np.ones(len(ours)), sessions, seed=SEED)
    ahead = paired_bootstrap(ours, theirs, sessions, seed=SEED)
    peer = _round(theirs.mean())
    return {
        name: Figure(_round(own.mid), unit, peer=peer, limit=peer, runs=_bounds(own)),
        f"{name}_less_shown_order": Figure(_round(ahead.mid), unit, limit=0.0, runs=_bounds(ahead)),
    }


def _bounds(found: Interval) -> tuple[float, float]:
    """Ends of the 90 % interval, in the place of runs: there is one test day."""
    return _round(found.low), _round(found.high)


def _shown_order(train: pd.DataFrame, test: pd.DataFrame) -> tuple[Floats, Floats]:
    """Reciprocal ranks of the shown order, and log losses of each place's share of clicks on the training day."""
    share = train.groupby("position")["clicked"].sum() + 1.0
    utility = np.log(test["position"].map(share / share.sum()).to_numpy(dtype=np.float64))
    p = softmax(utility, list_starts(test["list_id"]))
    losses = list_log_losses(test["clicked"], p, test["list_id"])
    return reciprocal_ranks(test["clicked"], -test["position"], test["list_id"]), losses


def _whole(lists: pd.DataFrame) -> dict[str, Figure]:
    """What the data's notes say of both days, measured again: the source reads them as they are meant."""
    shown = reciprocal_ranks(lists["clicked"], -lists["position"], lists["list_id"]).mean()
    # Among equal prices the one shown first comes first, as in the notes.
    place = lists.sort_values(["list_id", "price_micros", "position"]).groupby("list_id", sort=False).cumcount()
    price = reciprocal_ranks(lists["clicked"], -place.reindex(lists.index), lists["list_id"]).mean()
    return {
        "both_days_shown_order": Figure(_round(shown), "MRR", peer=MRR_SHOWN),
        "both_days_price_order": Figure(_round(price), "MRR", peer=MRR_PRICE),
        "lists": Figure(float(len(list_starts(lists["list_id"]))), "lists"),
    }


def _sizes(lists: pd.DataFrame) -> list[int]:
    starts = list_starts(lists["list_id"])
    return [int(size) for size in np.diff(np.append(starts, len(lists)))]


def _round(value: float) -> float:
    return round(float(value), 4)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default=str(TRIVAGO), help="folder of the trivago RecSys 2019 sample")


if __name__ == "__main__":
    sys.exit(run("click", measure, arguments=_arguments))
