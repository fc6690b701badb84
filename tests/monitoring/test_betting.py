"""Detectors that may be looked at for ever: how seldom they err, and how soon they see."""

from __future__ import annotations

import numpy as np

from monitoring.watchers.betting import FALLS, RISES, detector, limit_of


def test_false_alarms_are_rarer_than_the_limit_promises() -> None:
    """Two years of hours between false alarms at the mean: 200 quiet runs of three weeks may see few, and see none."""
    rng = np.random.default_rng(1)
    limit = limit_of(2.0, 24.0)
    alarms = sum(
        bool(
            (
                detector(rng.poisson(0.6, 504).astype(float), np.full(504, 0.6), tolerated=0.9, alternatives=FALLS)
                >= limit
            ).any()
        )
        for _ in range(200)
    )
    assert alarms <= 200 * 504 / (2 * 365 * 24)


def test_an_outage_is_seen_as_soon_as_counts_allow() -> None:
    """Nothing of what is expected: the limit's logarithm is reached once about a dozen events are missing."""
    expected = np.full(48, 1.0)
    path = detector(np.zeros(48), expected, tolerated=0.9, alternatives=FALLS)
    crossed = int(np.flatnonzero(path >= limit_of(2.0, 24.0))[0])
    assert 10 <= crossed <= 15


def test_it_starts_anew_after_a_long_quiet_time() -> None:
    quiet, loss = np.full(500, 1.0), np.zeros(24)
    path = detector(np.concatenate([quiet, loss]), np.ones(524), tolerated=0.9, alternatives=FALLS)
    alone = detector(loss, np.ones(24), tolerated=0.9, alternatives=FALLS)
    assert path[-1] >= alone[-1] - 0.5


def test_steps_without_knowledge_are_left_out() -> None:
    count, expected = np.array([0.0, np.nan, 0.0]), np.array([3.0, 3.0, np.nan])
    alone = detector(np.array([0.0]), np.array([3.0]), tolerated=0.9, alternatives=FALLS)
    assert detector(count, expected, tolerated=0.9, alternatives=FALLS)[-1] == alone[-1]


def test_a_wave_is_seen_by_the_other_side() -> None:
    path = detector(np.full(6, 40.0), np.full(6, 20.0), tolerated=1.2, alternatives=RISES)
    assert path[-1] >= limit_of(2.0, 1.0)
