"""The split of a rollout: sticky, even, salted, and moved as little as possible."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.core.errors import UsageError
from ml.serving.arms import ALL_STABLE, Arm, Shares, Split

KEYS = [f"key-{number}" for number in range(20_000)]
share = st.floats(0, 0.5)


def test_the_shares_are_held_within_sampling_error() -> None:
    split = Split("rollout-1", Shares(baseline=0.05, canary=0.05))
    arms = [split.arm(key) for key in KEYS]
    for arm in (Arm.BASELINE, Arm.CANARY):
        assert abs(arms.count(arm) - 1_000) < 5 * 31  # five standard errors


def test_without_shares_every_key_is_stable() -> None:
    assert {Split("any", ALL_STABLE).arm(key) for key in KEYS} == {Arm.STABLE}


def test_a_share_of_one_takes_every_key() -> None:
    assert {Split("any", Shares(canary=1.0)).arm(key) for key in KEYS} == {Arm.CANARY}
    assert {Split("any", Shares(baseline=1.0)).arm(key) for key in KEYS} == {Arm.BASELINE}


@given(st.text(), st.text(min_size=1), share, share, share, share)
def test_a_ramp_moves_only_keys_out_of_stable(
    salt: str, key: str, baseline: float, canary: float, more: float, still_more: float
) -> None:
    before = Split(salt, Shares(baseline, canary)).arm(key)
    ramped = Shares(max(baseline, more), max(canary, still_more))
    after = Split(salt, ramped).arm(key)
    assert after == before or before == Arm.STABLE


@given(st.text(), st.text(min_size=1))
def test_a_key_is_in_the_same_arm_every_time(salt: str, key: str) -> None:
    shares = Shares(0.3, 0.3)
    assert Split(salt, shares).arm(key) == Split(salt, shares).arm(key)


def test_another_process_finds_the_same_arms() -> None:
    code = (
        "from ml.serving.arms import Shares, Split\n"
        "split = Split('rollout-1', Shares(0.25, 0.25))\n"
        "print(*(split.arm(f'key-{n}') for n in range(200)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    split = Split("rollout-1", Shares(0.25, 0.25))
    assert [int(arm) for arm in told.split()] == [split.arm(key) for key in KEYS[:200]]


def test_another_salt_draws_another_canary() -> None:
    first, second = (Split(salt, Shares(canary=0.05)) for salt in ("rollout-1", "rollout-2"))
    both = sum(first.arm(key) == second.arm(key) == Arm.CANARY for key in KEYS)
    assert both < 100  # 50 by chance


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.6, 0.6), (float("nan"), 0.1), (0.0, 1.1)])
def test_shares_that_cannot_be_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="cannot be given"):
        Shares(*shares)
