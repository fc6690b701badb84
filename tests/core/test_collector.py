"""How often cycles are looked for is changed for a step, and for nothing after it."""

from __future__ import annotations

import gc

import pytest

from ml.core.collector import rare_collections


def test_a_step_that_fails_leaves_the_thresholds_as_they_were() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="broken"), rare_collections():
        assert gc.get_threshold() > before
        raise ValueError("broken")
    assert gc.get_threshold() == before


def test_cycles_are_still_collected() -> None:
    class Node:
        """Points to itself."""

    with rare_collections():
        before = gc.get_stats()[0]["collections"]
        for _ in range(200_000):
            node = Node()
            node.itself = node  # type: ignore[attr-defined]
        assert gc.get_stats()[0]["collections"] > before
