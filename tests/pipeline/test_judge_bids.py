"""What is gathered about a candidate's bids: what does not apply says so, and what cannot be measured is missing with its error."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from ml.core.digests import Digest
from ml.core.verdict import Verdict
from ml.promotion.bundle import Bundle
from ml.promotion.evidence import Evidence
from ml.promotion.evidence_bids import BiddingEvidence, DoesNotApply, Monotonicity, ServingRehearsal
from ml.promotion.gates import GATES
from ml.promotion.gates.bid_gate import BidGate
from ml.promotion.policy import POLICY
from ml.steps.judge_bids import NO_CHAMPION, NO_PARTNER, gather_bids

DAY = date(2025, 3, 10)
BUNDLE = Bundle(Digest("e" * 64), {}, {"trained_known_by": "2025-02-25T00:00:00+00:00"})
ROWS = 300


class Value:
    name: ClassVar[str] = "value"
    outputs: ClassVar[tuple[str, ...]] = ("p_cancel", "net_value_micros")

    def __init__(self, kept: float) -> None:
        self.kept = kept

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        net = self.kept * rows["value_micros"].astype(float)
        return pd.DataFrame({"p_cancel": 1 - self.kept, "net_value_micros": net}, index=rows.index)


def bookings() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    nights, rate = rng.integers(1, 8, ROWS), rng.integers(40, 300, ROWS) * 1_000_000
    return pd.DataFrame(
        {
            "hotel_id": rng.choice(["a", "b"], ROWS), "lead_bucket": "0-3", "los_bucket": "1", "los_nights": nights,
            "rate_micros": rate, "value_micros": nights * rate,
        }
    )  # fmt: skip


def platform(**settings: Any) -> Any:
    given = {"seed": 1, "explored_share": 0.02, **settings}
    return SimpleNamespace(settings=SimpleNamespace(**given), source=SimpleNamespace(partners=()))


@pytest.fixture
def without_partners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.steps.publish.recent_rows", lambda *_: (bookings(), None))
    rehearsed = ServingRehearsal(compared=200, matched_share=1.0, timed=60, p50_ms=1.0, p99_ms=2.0, fault="")
    monkeypatch.setattr("ml.promotion.rehearsal.rehearse_serving", lambda *_: rehearsed)


def gathered(models: Any, champion: Any = None) -> tuple[Any, BiddingEvidence]:
    return gather_bids(platform(), DAY, bundle=BUNDLE, models=models, champion=champion, champion_meta={}, holdouts={})


@pytest.mark.usefixtures("without_partners")
def test_where_nobody_is_bid_to_every_gate_passes_or_says_that_it_does_not_apply() -> None:
    bids, bidding = gathered({"value": Value(0.8)}, {"value": Value(0.79)})
    assert bidding.failed == ()
    evidence = Evidence(day=DAY, candidate=Digest("c" * 64), bids=bids, bidding=bidding)
    results = {gate.name: gate.judge(evidence) for gate in POLICY.gates if isinstance(gate, BidGate)}
    assert {result.verdict for result in results.values()} == {Verdict.PASS}
    silent = {name for name, result in results.items() if not result.reason.startswith("does not apply: ")}
    assert silent == {"monotonicity", "serving"}
    assert isinstance(bidding.replay, DoesNotApply)
    assert bidding.replay.because == NO_PARTNER != NO_CHAMPION


@pytest.mark.usefixtures("without_partners")
def test_the_change_of_a_value_table_lists_its_hotels() -> None:
    bids, _ = gathered({"value": Value(0.8)}, {"value": Value(0.4)})
    (change,) = bids.changes
    assert change.median_change == pytest.approx(1.0, abs=1e-6)
    assert {name for name, _, _ in change.top_hotels} == {"a", "b"}
    assert sum(share for _, share, _ in change.top_hotels) == pytest.approx(1.0)


@pytest.mark.usefixtures("without_partners")
def test_what_raises_is_missing_with_its_error_and_its_gate_holds() -> None:
    class Broken(Value):
        def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
            raise RuntimeError(f"no such column among {len(rows.columns)}")

    bids, bidding = gathered({"value": Broken(0.8)})
    assert bids.published_before is False
    assert bidding.monotonicity is None
    assert dict(bidding.failed) == {"monotonicity": "RuntimeError: no such column among 6"}
    result = GATES["monotonicity"]().judge(Evidence(day=DAY, candidate=Digest("c" * 64), bidding=bidding))
    assert result.verdict is Verdict.HOLD
    assert "no such column" in result.reason


@pytest.mark.usefixtures("without_partners")
def test_shadow_and_drill_are_left_to_a_rollout_and_hold_where_it_does_not_fill_them() -> None:
    _, bidding = gathered({"value": Value(0.8)})
    evidence = Evidence(day=DAY, candidate=Digest("c" * 64), bidding=bidding)
    assert {GATES[name]().judge(evidence).verdict for name in ("shadow", "rollback_drill")} == {Verdict.HOLD}
    assert isinstance(bidding.monotonicity, Monotonicity)
