"""The documentation of the features, written from their definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ml.features.definitions import FEATURE_VIEWS, FeatureView
from ml.market.hotel_bookings import LEAKY_COLUMNS

_INTRO = """# Features

Written by `bidwright features --markdown > docs/features.md`; a test fails when this page is not what that prints.

A feature row is computed at the end of each market day, once, by the Ibis expressions in `ml/features`, and serves
training and bidding alike. Its `event_timestamp` is 00:00 UTC of the next day: everything it counts was known before
that (`known_at`), and a decision may use it from that instant on. Its `created_timestamp` says from when the row
itself was known; it is later only for rows that were built again after their day was restated. A window of w days
ends with the row's market day. Money is in micros, millionths of the market's currency.

Online, the newest row of each entity is served from the embedded store: [how it works, how to read it, and where Feast's
own stores differ](online-store.md).

## Engines

The expressions run on DuckDB, or with the setting `feature_engine = "spark"` on Spark (Java 17 or newer; `spark_master` names a
cluster, whose machines must all see the lake's folder). A test compares the two row by row; only the last bit of a logarithm
may differ. DuckDB keeps within `engine_memory` and spills the rest to disk.

## Training sets

A decision gets the newest feature row that was known by then: neither its `event_timestamp` nor its `created_timestamp` lies after
the decision. The join has no cap on rows. With each version the ledger keeps the digest of every model's rows and the queries
that made them: `bidwright explain VERSION --json`. What those queries leave open, the outcome of each booking as known
at the instant of training, is `ml.features.training_set.with_outcomes`.

Two million decisions with two million feature rows take 1.15 s and 0.98 GB on two cores, where stock Feast takes 6.1 s and 2.9 GB
and DuckDB's own ASOF JOIN, which knows neither the second clock nor the ttl, 0.87 s and 0.82 GB; ten million with ten million take
5.6 s and 3.1 GB (`python -m benchmarks.training_set --json`, and with `--rows 10000000`). All give the same rows.

## What was served

Each day, before its features go online, a sample of 200 entities of its decisions is read from the online store as a request would
have been answered, and compared value by value with the join above. The share of exact matches is kept with the day's
record; the gate `feature_parity`, the drift check and its mail rest on it.
"""

Users = Mapping[str, Sequence[str]]
"""Who reads each feature, by its name; a feature that nobody reads has no entry."""


def describe(users: Users) -> str:
    """Markdown about every feature view, with who reads each feature."""
    return "\n".join([_INTRO, *(_section(each, users) for each in FEATURE_VIEWS.values()), _leaky()])


def _section(view: FeatureView, users: Users) -> str:
    """One view: what it is about, then a row per measure with the windows that it is computed over."""
    lines = [
        f"## {view.name}\n",
        f"{view.meaning[0].upper()}{view.meaning[1:]}.\n",
        f"- One row per {', '.join(f'`{key}`' for key in view.entity)} seen within {view.lookback_days} days; "
        "a key that is null has none.",
        f"- From the tables {', '.join(f'`{table}`' for table in view.tables)}; "
        f"for sources with {view.for_sources_with}.",
        f"- New each market day, for decisions from 00:00 UTC of the next; older than {view.ttl_days} days it counts as absent.",
        f"- Owner: {view.owner}.",
        f"- Leakage: {view.caution}.\n",
        "| feature | window, days | unit | type | meaning | read by |",
        "|---|---|---|---|---|---|",
        *_rows(view, users),
    ]
    return "\n".join(lines) + "\n"


def _rows(view: FeatureView, users: Users) -> Iterator[str]:
    for feature in view.features:
        told = (feature.window_days, feature.unit, feature.dtype, feature.meaning, _read_by(feature.name, users))
        yield f"| `{feature.name}` | {' | '.join(str(cell) for cell in told)} |"


def _read_by(name: str, users: Users) -> str:
    return ", ".join(users.get(name, ())) or "people"


def _leaky() -> str:
    rows = [f"| `{name}` | {reason} |" for name, reason in LEAKY_COLUMNS.items()]
    intro = (
        "## Columns that may not be used\n\nThey are filled in after the booking. The source drops them, and a feature "
        "view that names or reads one is refused with a LeakageError.\n"
    )
    return "\n".join([intro, "| column of hotel_bookings | why |", "|---|---|", *rows]) + "\n"
