"""What market days leave behind, without the instants at which it happened: two runs of the same days compare equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from local.client import AirflowClient
from ml.platform import Platform

STAGES = ("ingest", "settle", "materialize", "drift", "train", "publish")
"""The stages that every day has; `promote` is only where there was a candidate."""

MOST = 10_000


def effects(platform: Platform, days: Sequence[date]) -> dict[str, Any]:
    """Digests of everything that was landed, learned, decided and published on these days.

    Args:
        platform: whose ledger is read.
        days: the market days.
    """
    from ml.ledger import champion, decisions, partitions, publications, stages, versions

    db, market = platform.db, platform.market
    return {
        "landed": {str(day): dict(sorted(partitions.digests(db, market, day).items())) for day in days},
        "learned": sorted((str(found.day), found.digest) for found in versions.newest(db, market, MOST)),
        "decided": sorted(
            (str(found.day), found.candidate, found.verdict.value, found.generation)
            for found in decisions.latest(db, market, MOST)
        ),
        "champions": sorted((c.generation, c.digest, str(c.since)) for c in champion.history(db, market)),
        "published": {
            str(day): sorted((p.partner, p.version, p.digest) for p in publications.for_day(db, market, day))
            for day in days
        },
        "stages": {str(day): sorted(stages.for_day(db, market, day)) for day in days},
    }


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Where two runs differ, one line each; empty where they left the same behind."""
    found = []
    for name, value in ours.items():
        other = theirs[name]
        if isinstance(value, Mapping):
            found += [f"{name} of {day}" for day in sorted({*value, *other}) if value.get(day) != other.get(day)]
        elif value != other:
            found.append(name)
    return found


def skipped(left: Mapping[str, Any]) -> list[str]:
    """Days that lack a stage that every day has."""
    return [day for day, had in left["stages"].items() if not set(STAGES) <= set(had)]


def doubled(left: Mapping[str, Any], client: AirflowClient, days: Sequence[date]) -> list[str]:
    """Runs, decisions or champions that there are more than one of where there must be one.

    A day's DAG runs once; `publish_bids` once more for each champion that moved on it.
    """
    found = []
    moved = [day for _, _, day in left["champions"]]
    for day in days:
        runs = [run.dag_id for run in client.runs(day.isoformat())]
        for dag in sorted(set(runs)):
            allowed = 1 + (moved.count(str(day)) if dag == "publish_bids" else 0)
            if runs.count(dag) > allowed:
                found.append(f"{dag} of {day} ran {runs.count(dag)} times, {allowed} were due")
    for what, keys in (
        ("decision", [(day, candidate) for day, candidate, _, _ in left["decided"]]),
        ("generation", [generation for generation, _, _ in left["champions"]]),
        ("version of a day", [day for day, _ in left["learned"]]),
    ):
        found += [f"{what} {key} is there {keys.count(key)} times" for key in sorted(set(keys)) if keys.count(key) > 1]
    return found
