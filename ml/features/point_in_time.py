"""The point-in-time join: for each decision the newest feature row that was known by then, in both clocks."""

from __future__ import annotations

from functools import reduce
from typing import Any

import ibis

from ml.features.definitions import CREATED_TIMESTAMP, EVENT_TIMESTAMP, FeatureView

DECISION_AT = "decision_at"
"""Column of a row to be joined: the instant of its decision. Nothing learned at or after it may be seen."""

KNOWN_FROM_SUFFIX = "_known_from"
"""Of the column, one a view, that says from when the joined feature row was known; null where none was joined."""

_KNOWN_FROM = "known_from"


def join_features(rows: Any, features: Any, view: FeatureView, *, learned_late: bool = True, asof: bool = True) -> Any:
    """Every row with the view's features, null where there are none.

    A feature row can be seen if neither what it describes (`event_timestamp`) nor our knowledge of it
    (`created_timestamp`) lies after the decision, and if it is not older than the view's `ttl_days`. Of those the
    newest event is taken, and of its versions the newest.

    Args:
        rows: an Ibis table with `decision_at` and the view's entity columns.
        features: an Ibis table of the view's feature rows, of which no two are of the same entity and both clocks.
        view: the view.
        learned_late: False where it is known (`late_rows`) that every feature row was known from its event on. There
            is then one version of each, and the sorting of versions is spared.
        asof: False for an engine that has no ASOF join: the same rows by way of a window.

    Returns:
        `rows` with the view's features (integers as float64) and `<view>_known_from`, the later of the joined row's
        two clocks; as many rows, in any order.
    """
    known = _newest_by_instant(features, view) if learned_late else _by_event(features, view)
    both = _asof_join(rows, known, view) if asof else _window_join(rows, known, view)
    fresh = both[DECISION_AT] <= both[EVENT_TIMESTAMP] + ibis.interval(days=view.ttl_days)
    values = {name: _float(fresh.ifelse(both[name], None)) for name in view.feature_names}
    values[view.name + KNOWN_FROM_SUFFIX] = fresh.ifelse(both[_KNOWN_FROM], None)
    return both.select(*rows.columns, **values)


def late_rows(features: Any) -> Any:
    """One row, `late_rows`: how many feature rows were known at another instant than that of their event."""
    return features.aggregate(late_rows=(features[CREATED_TIMESTAMP] != features[EVENT_TIMESTAMP]).sum())


def _by_event(features: Any, view: FeatureView) -> Any:
    """Feature rows that were each known from their event on."""
    return features.select(
        *view.entity, *view.feature_names, EVENT_TIMESTAMP, **{_KNOWN_FROM: features[EVENT_TIMESTAMP]}
    )


def _newest_by_instant(features: Any, view: FeatureView) -> Any:
    """Feature rows that are the newest known at some instant, with `known_from`, the instant from which they are.

    Rows that were known only after a newer event had been, and former versions of the same instant, are left out,
    so that the row with the latest `known_from` before a decision is the one to take.
    """
    stamped = features.mutate(**{_KNOWN_FROM: ibis.greatest(features[EVENT_TIMESTAMP], features[CREATED_TIMESTAMP])})
    in_order = [_KNOWN_FROM, EVENT_TIMESTAMP, CREATED_TIMESTAMP]
    until_now = ibis.cumulative_window(group_by=list(view.entity), order_by=in_order)
    in_turn = ibis.window(group_by=list(view.entity), order_by=in_order)
    ranked = stamped.mutate(
        newest_event=stamped[EVENT_TIMESTAMP].max().over(until_now),
        next_known=stamped[_KNOWN_FROM].lead().over(in_turn),
    )
    newest = ranked[EVENT_TIMESTAMP] == ranked["newest_event"]
    last_of_instant = ranked["next_known"].isnull() | (ranked["next_known"] != ranked[_KNOWN_FROM])
    kept = ranked.filter(newest & last_of_instant)
    return kept.select(*view.entity, *view.feature_names, EVENT_TIMESTAMP, _KNOWN_FROM)


def _asof_join(rows: Any, known: Any, view: FeatureView) -> Any:
    """The row with the latest `known_from` up to the decision, by the engine's own ASOF join."""
    entity = [rows[key] == known[key] for key in view.entity]
    return rows.asof_join(known, rows[DECISION_AT] >= known[_KNOWN_FROM], predicates=entity, rname="feature_{name}")


def _window_join(rows: Any, known: Any, view: FeatureView) -> Any:
    """The same in one pass: decisions and feature rows of an entity in the order of time, each row sees the last known.

    A feature row travels as one struct, so that a feature that is null is not mistaken for one that is absent.
    """
    carried = (*view.feature_names, EVENT_TIMESTAMP, _KNOWN_FROM)
    others = {name: kind(nullable=True) for name, kind in rows.schema().items() if name not in view.entity}
    struct = ibis.struct({name: _nullable(known[name]) for name in carried})
    keyed = reduce(lambda one, other: one & other, (known[key].notnull() for key in view.entity))
    learned = known.filter(keyed).select(
        **{key: _nullable(known[key]) for key in view.entity},
        **{name: ibis.null(kind) for name, kind in others.items()},
        _at=_nullable(known[_KNOWN_FROM]),
        _is_row=ibis.literal(0, "int8"),
        _known=_nullable(struct),
    )
    asked = rows.select(
        **{key: _nullable(rows[key]) for key in view.entity},
        **{name: _nullable(rows[name]) for name in others},
        _at=_nullable(rows[DECISION_AT]),
        _is_row=ibis.literal(1, "int8"),
        _known=ibis.null(struct.type()(nullable=True)),
    )
    # At the same instant what is known comes before who asks. A feature row opens a turn, and whoever asks in it sees
    # it; turns spare a "last that is not null", which Ibis does not say alike to every engine.
    in_order = ["_at", "_is_row"]
    together = ibis.union(learned, asked)
    turns = together.mutate(
        _turn=(1 - together["_is_row"])
        .sum()
        .over(ibis.cumulative_window(group_by=list(view.entity), order_by=in_order))
    )
    in_turn = ibis.cumulative_window(group_by=[*view.entity, "_turn"], order_by=in_order)
    seen = turns.mutate(_known=turns["_known"].first().over(in_turn))
    seen = seen.filter(seen["_is_row"] == 1)
    return seen.select(*rows.columns, **{name: seen["_known"][name] for name in carried})


def _nullable(column: Any) -> Any:
    """The two sides of a union have to be of one type, also in whether they may be null."""
    return column.cast(column.type()(nullable=True))


def _float(column: Any) -> Any:
    return column if column.type().is_floating() else column.cast("float64")
