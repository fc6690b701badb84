"""The point-in-time join: for each decision the newest feature row that was known by then, in both clocks."""

from __future__ import annotations

from typing import Any

import ibis

from ml.features.definitions import CREATED_TIMESTAMP, EVENT_TIMESTAMP, FeatureView

DECISION_AT = "decision_at"
"""Column of a row to be joined: the instant of its decision. Nothing learned at or after it may be seen."""

KNOWN_FROM_SUFFIX = "_known_from"
"""Of the column, one a view, that says from when the joined feature row was known; null where none was joined."""


def join_features(rows: Any, features: Any, view: FeatureView) -> Any:
    """Every row with the view's features, null where there are none.

    A feature row can be seen if neither what it describes (`event_timestamp`) nor our knowledge of it
    (`created_timestamp`) lies after the decision, and if it is not older than the view's `ttl_days`. Of those the
    newest event is taken, and of its versions the newest.

    Args:
        rows: an Ibis table with `decision_at` and the view's entity columns.
        features: an Ibis table of the view's feature rows.
        view: the view.

    Returns:
        `rows` with the view's features as float64 and `<view>_known_from`, the later of the joined row's two clocks;
        as many rows, in any order.
    """
    known = _newest_by_instant(features, view)
    entity = [rows[key] == known[key] for key in view.entity]
    both = rows.asof_join(known, rows[DECISION_AT] >= known["known_from"], predicates=entity, rname="feature_{name}")
    fresh = both[DECISION_AT] <= both[EVENT_TIMESTAMP] + ibis.interval(days=view.ttl_days)
    values = {name: fresh.ifelse(both[name], None).cast("float64") for name in view.feature_names}
    values[view.name + KNOWN_FROM_SUFFIX] = fresh.ifelse(both["known_from"], None)
    return both.select(*rows.columns, **values)


def _newest_by_instant(features: Any, view: FeatureView) -> Any:
    """Feature rows that are the newest known at some instant, with `known_from`, the instant from which they are.

    Rows that were known only after a newer event had been, and former versions of the same instant, are left out,
    so that the row with the latest `known_from` before a decision is the one to take.
    """
    stamped = features.mutate(known_from=ibis.greatest(features[EVENT_TIMESTAMP], features[CREATED_TIMESTAMP]))
    in_order = ["known_from", EVENT_TIMESTAMP, CREATED_TIMESTAMP]
    until_now = ibis.cumulative_window(group_by=list(view.entity), order_by=in_order)
    in_turn = ibis.window(group_by=list(view.entity), order_by=in_order)
    ranked = stamped.mutate(
        newest_event=stamped[EVENT_TIMESTAMP].max().over(until_now),
        next_known=stamped["known_from"].lead().over(in_turn),
    )
    newest = ranked[EVENT_TIMESTAMP] == ranked["newest_event"]
    last_of_instant = ranked["next_known"].isnull() | (ranked["next_known"] != ranked["known_from"])
    kept = ranked.filter(newest & last_of_instant)
    return kept.select(*view.entity, *view.feature_names, EVENT_TIMESTAMP, "known_from")
