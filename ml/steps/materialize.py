"""Put a market day's features online, after comparing what was served on the day with what the training set will see."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.errors import BidwrightError, SchemaBreak

if TYPE_CHECKING:
    from ml.platform import Platform


def put_online(platform: Platform, day: date, *, part: int = 0, parts: int = 1) -> dict[str, Any]:
    """Compare the day's decisions with the store that served them, then build, materialise and read back the day.

    `parity` of the result has, for each view that still held the day before, what `ml.features.parity` found, or under
    `error` why it could not be compared. A repeat of the day finds the store moved on, and keeps what was found first.

    Args:
        platform: the platform.
        day: the market day.
        part: which part of the views, from 0.
        parts: over how many they are spread; each may run beside the others, on its own views.

    Raises:
        SchemaBreak: the definitions lack a feature that the champion reads; the store goes on serving what it holds.
    """
    from ml.features.materialize import materialize_day

    views = None if parts == 1 else views_of(platform, part, parts)
    if views == []:
        return {"rows": 0, "verified": 0, "views": {}, "parity": {}}
    refuse_dropped(platform)
    found = served_of_day(platform, day, views)
    built = materialize_day(
        platform.lake,
        platform.db,
        platform.settings,
        market=platform.market,
        day=day,
        at=platform.clock.now(),
        views=views,
    )
    return built | {"parity": _first_found(platform, day, built["views"]) | found}


def together(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The result of a day from those of its parts."""
    return {
        "rows": sum(result["rows"] for result in results),
        "verified": sum(result["verified"] for result in results),
        "views": {name: view for result in results for name, view in result["views"].items()},
        "parity": {name: view for result in results for name, view in result["parity"].items()},
    }


def views_of(platform: Platform, part: int, parts: int) -> list[str]:
    """The names of a part's views: neighbours stay together, since they may share what they are computed from."""
    from ml.features.build import market_views

    names = list(market_views(platform.lake))
    return names[len(names) * part // parts : len(names) * (part + 1) // parts]


def refuse_dropped(platform: Platform) -> None:
    """SchemaBreak when a model of the champion reads a column that no table and no feature view has any more."""
    from ml.features.definitions import FEATURE_VIEWS
    from ml.ledger import champion
    from ml.market.tables import TABLES
    from ml.promotion.bundle import read_bundle

    live = champion.current(platform.db, platform.market)
    if live is None:
        return
    known = {name for table in TABLES.values() for name in table.names}
    known |= {name for view in FEATURE_VIEWS.values() for name in view.feature_names}
    for model, training in read_bundle(platform.blobs, live.digest, platform.keys).meta["training"].items():
        gone = sorted(set(training["inputs"]) - known)
        if gone:
            raise SchemaBreak(
                f"no feature view has {gone[0]} any more, which the {model} model of champion {live.digest[:12]} reads",
                left="the online store goes on serving the day before",
                next="define it again, and drop it only after a champion without it was promoted",
            )


def served_of_day(platform: Platform, day: date, views: Collection[str] | None) -> dict[str, Mapping[str, Any]]:
    """What `served_parity` says of each view that holds exactly the day before; none on the first day of a market."""
    from ml.ledger import watermarks

    marks = watermarks.all_views(platform.db, platform.market)
    holding = [
        view for view, mark in marks.items() if mark == day - timedelta(days=1) and (views is None or view in views)
    ]
    if not holding:
        return {}
    from ml.features.store import FeatureStore

    store = FeatureStore.open(platform.settings, platform.lake, writer="" if views is None else "-".join(sorted(views)))
    store.apply()
    return {name: _parity(platform, store, name, day) for name in holding if name in store.views}


def _first_found(platform: Platform, day: date, views: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """What an earlier run of the day had found of these views."""
    from ml.ledger import stages

    former = stages.get(platform.db, stages.StageKey(platform.market, "materialize", day))
    found = former.result.get("parity", {}) if former else {}
    return {name: view for name, view in found.items() if name in views}


def _parity(platform: Platform, store: Any, name: str, day: date) -> Mapping[str, Any]:
    from ml.features.parity import served_parity

    try:
        return served_parity(store, platform.lake, store.views[name], day, seed=platform.settings.seed).as_json()
    except BidwrightError as error:
        # A store that cannot be read is about to be written anew; that nothing was compared is what the gate reads.
        return {"compared": 0, "equal": {}, "differing": [], "error": str(error)}
