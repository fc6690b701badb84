"""Which policies there are. To add one: write it as a `Policy`, add it to `POLICIES`."""

from __future__ import annotations

from collections.abc import Mapping

from ml.core.errors import UsageError
from ml.evaluation.replay.pacing import BIDWRIGHT
from ml.evaluation.replay.peers import PEERS
from ml.evaluation.replay.policy import Policy

POLICIES: Mapping[str, Policy] = {policy.name: policy for policy in (*PEERS, BIDWRIGHT)}
"""Every policy by its name on the command line."""


def policy_named(name: str) -> Policy:
    """A policy by its name; a name nobody knows is a usage error."""
    if name not in POLICIES:
        raise UsageError(f"there is no policy {name!r}", next=f"choose one of {', '.join(POLICIES)}")
    return POLICIES[name]
