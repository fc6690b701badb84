"""Published bids for the eye: what changed since the publication before, which hotels they are for, spend through the day.

Counted by DuckDB over the files of one publication (two, for changes) and over eight days of clicks, so that the work does
not grow with the history.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ml.core.digests import digest_bytes
from ml.core.errors import CorruptArtefact, NoData

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ml.lake.blobs import BlobStore
    from ml.ledger.publications import Publication
    from ml.platform import Platform

PROFILE_DAYS: Final = 7
"""Days before, whose clicks say at which hour money is spent."""

EDGES: Final = (-0.5, -0.2, -0.1, -0.02, 0.02, 0.1, 0.2, 0.5)
"""Edges of the bins of a bid's relative change."""

HOURS: Final = 24


def changes(platform: Platform, publication: Publication) -> dict[str, Any] | None:
    """How far a partner's bids moved since the publication before; None where there is none before, or no bid per click.

    Returns:
        `since` (its day), `cells` in both, `new` and `gone`, `median` and `p99` of the absolute relative change, `up` and
        `down` (how many cells moved by more than 2 %), and `bins`: per bin its `label` and its `share` of the cells.
    """
    from ml.ledger import publications

    before = publications.latest(platform.db, platform.market, publication.partner, publication.day)
    if before is None:
        return None
    found = _changes(_hashed(platform.blobs), publication.uri, publication.digest, before.uri, before.digest)
    return None if found is None else {"since": before.day.isoformat(), **found}


def top_hotels(platform: Platform, publication: Publication, n: int) -> list[dict[str, Any]]:
    """The hotels that weigh most: times shown x bid; empty for a table without bids.

    Each has `hotel_id`, `cells`, `shown` (how often our offer was, in the days that the bids were made from), and the
    means over these of `bid_micros` and of `worth_micros`, the net value that a click is expected to bring.
    """
    return [dict(row) for row in _top(_hashed(platform.blobs), n, publication.uri, publication.digest)]


def spend_through_the_day(platform: Platform, day: date, expected: Mapping[str, float]) -> list[dict[str, Any]]:
    """Per partner what its clicks of a day cost, added up by hour, beside the plan.

    The plan spreads a partner's expected cost over the hours as its clicks of the `PROFILE_DAYS` days before were spread;
    where there were none, evenly.

    Args:
        platform: the platform.
        day: whose clicks; those that became known on it.
        expected: expected cost of the day in micros, by partner.

    Returns:
        Rows with `partner`, `spent` and `planned` (24 sums in micros each, of the hours up to and with each hour, UTC; null
        where it is not known), partners ascending; empty where no clicks are delivered and nothing was planned.
    """
    first = day - timedelta(days=PROFILE_DAYS)
    paths = {d: path for d in _days(first, day) if (path := _path(platform.lake.blobs, platform.lake.key("clicks", d)))}
    by_hour = _by_hour([str(path) for path in paths.values()])
    spent = {(partner, hour): cost for partner, at, hour, cost in by_hour if at == day}
    partners = sorted(set(expected) | {partner for partner, _ in spent})
    rows = []
    for partner in partners:
        today = [spent.get((partner, hour), 0) for hour in range(HOURS)]
        before = [
            sum(c for p, at, h, c in by_hour if p == partner and at != day and h == hour) for hour in range(HOURS)
        ]
        plan = expected.get(partner)
        rows.append(
            {
                "partner": partner,
                "spent": _added_up(today) if day in paths else [None] * HOURS,
                "planned": [None] * HOURS if plan is None else [round(plan * share) for share in _shares(before)],
            }
        )
    return rows


def _hashed(blobs: BlobStore) -> Hashable:
    """A store as part of a cache's key: every store is told from another by what it is."""
    return cast("Hashable", blobs)


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _path(blobs: BlobStore, key: str) -> Path | None:
    try:
        return blobs.local_path(key)
    except NoData:
        return None


def _by_hour(paths: Sequence[str]) -> list[tuple[str, date, int, int]]:
    """Cost by partner, day and hour (UTC) of the click."""
    if not paths:
        return []
    with _duckdb() as connection:
        found = connection.execute(_SPENT, [list(paths)]).fetchall()
    return [(partner, _EPOCH + timedelta(days=at), hour, cost) for partner, at, hour, cost in found]


_EPOCH: Final = date(1970, 1, 1)


_SPENT: Final = """
SELECT partner, CAST(epoch(ts) AS BIGINT) // 86400 AS at, CAST(epoch(ts) AS BIGINT) // 3600 % 24, CAST(sum(cpc_micros) AS BIGINT)
FROM read_parquet(?) WHERE partner IS NOT NULL AND ts IS NOT NULL GROUP BY ALL
"""
"""Days and hours from the epoch: DuckDB's time zones are an extension that takes seconds to load."""


def _added_up(values: Sequence[int]) -> list[int]:
    total, sums = 0, []
    for value in values:
        total += value
        sums.append(total)
    return sums


def _shares(by_hour: Sequence[int]) -> list[float]:
    """Shares of a day's money that are spent by the end of each hour; evenly where nothing is known.

    >>> _shares([0] * 24)[11], _shares([1, 3] + [0] * 22)[:3]
    (0.5, [0.25, 1.0, 1.0])
    """
    sums = _added_up(by_hour)
    return [one / sums[-1] for one in sums] if sums[-1] > 0 else [(hour + 1) / HOURS for hour in range(HOURS)]


@lru_cache(maxsize=64)
def _changes(blobs: BlobStore, *files: str) -> dict[str, Any] | None:
    """By uri and digest of this manifest and the one before: a publication that was written anew is counted anew."""
    uri, _, before, _ = files
    now, then = _verified(blobs, uri), _verified(blobs, before)
    with _duckdb() as connection:
        if not (_has_bids(connection, now) and _has_bids(connection, then)):
            return None
        connection.execute(_MOVED, [str(now), str(then)])
        [(both, new, gone, median, p99, up, down)] = connection.execute(_SUMMED).fetchall()
        counts = dict(connection.execute(_BINNED, [list(EDGES)]).fetchall())
    total = sum(counts.values())
    return {
        "cells": both, "new": new, "gone": gone, "median": median, "p99": p99, "up": up, "down": down,
        "bins": [
            {"label": _label(place), "share": counts.get(place, 0) / total if total else 0.0}
            for place in range(len(EDGES) + 1)
        ],
    }  # fmt: skip


_MOVED: Final = """
CREATE TEMP TABLE moved AS SELECT n.bid_micros AS now, b.bid_micros AS was
FROM read_parquet(?) AS n FULL JOIN read_parquet(?) AS b USING (market, hotel_id, device, lead_bucket, los_bucket)
"""

_SUMMED: Final = """
WITH m AS (SELECT now, was, CASE WHEN was > 0 THEN now / was - 1.0 END AS change FROM moved)
SELECT count(*) FILTER (now IS NOT NULL AND was IS NOT NULL), count(*) FILTER (was IS NULL), count(*) FILTER (now IS NULL),
    quantile_cont(abs(change), 0.5), quantile_cont(abs(change), 0.99),
    count(*) FILTER (change > 0.02), count(*) FILTER (change < -0.02)
FROM m
"""

_BINNED: Final = """
SELECT len(list_filter(?, lambda edge: now / was - 1.0 >= edge)) AS place, count(*)
FROM moved WHERE now IS NOT NULL AND was > 0 GROUP BY place
"""


def _label(place: int) -> str:
    if place == 0:
        return f"under {EDGES[0]:+.0%}"
    if place == len(EDGES):
        return f"over {EDGES[-1]:+.0%}"
    low, high = EDGES[place - 1], EDGES[place]
    return "same" if low < 0 < high else f"{low:+.0%} to {high:+.0%}"


@lru_cache(maxsize=64)
def _top(blobs: BlobStore, n: int, *file: str) -> tuple[tuple[tuple[str, Any], ...], ...]:
    """By uri and digest of the manifest."""
    path = _verified(blobs, file[0])
    with _duckdb() as connection:
        if not _has_bids(connection, path):
            return ()
        rows = connection.execute(_HEAVIEST, [str(path), n]).fetchall()
    names = ("hotel_id", "cells", "shown", "bid_micros", "worth_micros")
    return tuple(tuple(zip(names, row, strict=True)) for row in rows)


_HEAVIEST: Final = """
SELECT hotel_id, count(*), CAST(sum(clicks_seen) AS BIGINT) AS shown,
    CAST(round(sum(clicks_seen * bid_micros) / nullif(sum(clicks_seen), 0)) AS BIGINT),
    CAST(round(sum(clicks_seen * p_book * net_value_micros) / nullif(sum(clicks_seen), 0)) AS BIGINT)
FROM read_parquet(?) GROUP BY hotel_id ORDER BY sum(clicks_seen * bid_micros) DESC NULLS LAST, hotel_id LIMIT ?
"""

_COLUMNS: Final = frozenset(
    [
        "market",
        "hotel_id",
        "device",
        "lead_bucket",
        "los_bucket",
        "clicks_seen",
        "p_book",
        "net_value_micros",
        "bid_micros",
    ]
)


def _has_bids(connection: DuckDBPyConnection, path: Path) -> bool:
    """Whether a published table has a bid per click and the clicks seen; a value table has neither."""
    described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    return {row[0] for row in described} >= _COLUMNS


def _verified(blobs: BlobStore, uri: str) -> Path:
    """The published table as a file, after its bytes were checked against its manifest."""
    path = blobs.local_path(f"{uri}/bids.parquet")
    want = json.loads(blobs.get(f"{uri}/manifest.json"))["files"]["bids.parquet"]
    if digest_bytes(path.read_bytes()) != want:
        raise CorruptArtefact(
            f"the published bids {uri}/bids.parquet are not those of their manifest", next="publish the day again"
        )
    return path


@contextmanager
def _duckdb() -> Iterator[DuckDBPyConnection]:
    """A connection of its own: the api-server answers in several threads. What cannot be read is one sentence."""
    import duckdb

    try:
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            yield connection
    except duckdb.Error as error:
        raise CorruptArtefact(
            f"published bids or clicks cannot be read: {str(error).splitlines()[0]}",
            next="publish, or ingest, the day again",
        ) from error
