"""Whether the features that were served on a day are those that the training set has of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml.core.verdict import Verdict
from monitoring.findings import Finding, held

MIN_SHARE = 0.999
"""Exact matches of a feature, of the entities compared, below which serving and training have parted."""

Served = Mapping[str, Mapping[str, Any]]
"""By view: `compared` entities, of each feature the `equal` ones, the first `differing` values, and an `error` if any."""


def parity(served: Served) -> list[Finding]:
    """A finding for each view: its worst feature, or why nothing could be compared."""
    return [_of_view(name, found) for name, found in served.items() if found["compared"] or found.get("error")]


def _of_view(name: str, found: Mapping[str, Any]) -> Finding:
    compared = found["compared"]
    if not compared:
        return held("parity", name, f"{name}: what was served could not be compared ({found['error']})")
    worst, equal = min(found["equal"].items(), key=lambda one: one[1])
    share = equal / compared
    if share >= MIN_SHARE:
        reason = f"{name}: {compared} served entities have exactly the training set's features"
        return Finding("parity", name, "", Verdict.PASS, share, MIN_SHARE, reason)
    reason = f"{name}.{worst} was served otherwise than training has it for {compared - equal} of {compared} entities"
    first = next((one for one in found["differing"] if one["feature"] == worst), None)
    if first is not None:
        keys = ", ".join(f"{key} {value}" for key, value in first["entity"].items())
        reason += f"; for {keys}: {first['online']} in place of {first['offline']}"
    return Finding("parity", name, worst, Verdict.FAIL, share, MIN_SHARE, reason)
