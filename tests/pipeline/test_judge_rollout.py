"""Where a rollout follows, a decision asks for a rehearsed rollback and for what an earlier shadow showed; elsewhere it does not ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.canary import BEGIN, MARKET, register
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, drills, rollouts, versions
from ml.ledger.drills import Drill
from ml.platform import Platform
from ml.promotion.evidence import Evidence
from ml.promotion.evidence_bids import BiddingEvidence
from ml.promotion.policy import POLICY, policy_for
from ml.steps.judge_rollout import with_rollout

A, B = Digest("a" * 64), Digest("b" * 64)
AT = BEGIN + timedelta(days=40)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(load_settings(home=tmp_path, market=MARKET, rollout="canary"), FixedClock(AT))
    made.db.migrate()
    register(made.db, MARKET)
    return made


def asked(platform: Platform) -> dict[str, tuple[Verdict, str]]:
    """What the two gates say of the candidate."""
    version = versions.get(platform.db, MARKET, B)
    assert version is not None
    bidding = with_rollout(platform, version, BiddingEvidence())
    evidence = Evidence(day=AT.date(), candidate=B, bidding=bidding)
    gates = {gate.name: gate for gate in policy_for("canary").gates}
    found = {name: gates[name].judge(evidence) for name in ("shadow", "rollback_drill")}
    return {name: (result.verdict, result.reason) for name, result in found.items()}


def two_champions(platform: Platform) -> None:
    champion.move(
        platform.db, MARKET, digest=B, expected_generation=1, decision_id=2, day=BEGIN.date(), at=BEGIN,
    )  # fmt: skip


def drilled(platform: Platform, *, age_days: float, ok: bool = True) -> None:
    at = AT - timedelta(days=age_days)
    drills.record(platform.db, Drill(MARKET, at, 40, ok, {"reason": "back and forward" if ok else "it hung"}))


def test_a_market_without_a_rollout_does_not_ask_and_one_with_a_rollout_asks_both() -> None:
    more = [gate.name for gate in policy_for("canary").gates if gate.name not in {one.name for one in POLICY.gates}]
    assert more == ["shadow", "rollback_drill"]
    assert policy_for("off") is POLICY
    assert policy_for("canary").digest() != POLICY.digest()


def test_without_a_rollout_the_evidence_is_left_as_it_is(platform: Platform) -> None:
    off = Platform(load_settings(home=platform.settings.home, market=MARKET), FixedClock(AT))
    version = versions.get(platform.db, MARKET, B)
    assert version is not None
    assert with_rollout(off, version, BiddingEvidence()) == BiddingEvidence()


def test_before_a_second_champion_there_is_nothing_to_go_back_to_and_it_is_said(platform: Platform) -> None:
    verdict, reason = asked(platform)["rollback_drill"]
    assert (verdict, "does not apply: the market had fewer than two champions" in reason) == (Verdict.PASS, True)


def test_a_rollback_that_was_never_rehearsed_or_went_badly_or_long_ago_holds(platform: Platform) -> None:
    two_champions(platform)
    assert asked(platform)["rollback_drill"][0] is Verdict.HOLD
    assert "no rollback was ever rehearsed" in asked(platform)["rollback_drill"][1]
    drilled(platform, age_days=31)
    assert asked(platform)["rollback_drill"][0] is Verdict.HOLD
    drilled(platform, age_days=3)
    assert asked(platform)["rollback_drill"][0] is Verdict.PASS
    drilled(platform, age_days=2, ok=False)
    verdict, reason = asked(platform)["rollback_drill"]
    assert (verdict, "it hung" in reason) == (Verdict.HOLD, True)


def test_a_candidate_that_was_never_tried_is_told_to_be_and_passes_for_now(platform: Platform) -> None:
    verdict, reason = asked(platform)["shadow"]
    assert verdict is Verdict.PASS
    assert "does not apply: it was not in front of traffic yet: its rollout begins with" in reason


def test_a_candidate_that_the_judge_took_out_fails_until_a_person_lets_it_try_again(platform: Platform) -> None:
    seen = rollouts.queued(platform.db, MARKET)[0]
    with platform.db.session() as session:
        now = rollouts.change(session, seen, at=BEGIN, state="shadow", analysis=1)
        rollouts.change(session, now, at=BEGIN + timedelta(hours=1), state="rolled_back")
        bars.bar(session, MARKET, B, "errors", "the judge", BEGIN + timedelta(hours=1))
    assert asked(platform)["shadow"][0] is Verdict.FAIL
    with platform.db.session() as session:
        bars.lift(session, MARKET, B, why="the feed was wrong", by="ann", at=BEGIN + timedelta(hours=2))
    verdict, reason = asked(platform)["shadow"]
    assert (verdict, "none of its clicks has matured" in reason) == (Verdict.PASS, True)


@pytest.mark.parametrize(("middle", "verdict"), [(1.05, Verdict.PASS), (1.3, Verdict.FAIL)])
def test_what_it_promised_while_it_was_tried_is_held_against_what_came(
    platform: Platform, middle: float, verdict: Verdict
) -> None:
    seen = rollouts.queued(platform.db, MARKET)[0]
    with platform.db.session() as session:
        now = rollouts.change(session, seen, at=BEGIN, state="canary", analysis=1)
        now = rollouts.change(session, now, at=BEGIN, state="superseded")
    rollouts.measure(platform.db, now, {"calibration": {"low": 0.9, "mid": middle, "high": 1.4}}, AT)
    assert asked(platform)["shadow"][0] is verdict


def test_what_cannot_be_read_is_missing_with_its_reason_and_holds(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml.core.errors import StoreUnavailable

    def gone(*_: object) -> None:
        raise StoreUnavailable("the ledger is gone")

    monkeypatch.setattr(rollouts, "newest", gone)
    verdict, reason = asked(platform)["shadow"]
    assert (verdict, "the ledger is gone" in reason) == (Verdict.HOLD, True)
    assert replace(BiddingEvidence(), failed=(("shadow", "x"),)).failed
