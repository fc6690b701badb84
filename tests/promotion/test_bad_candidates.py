"""Bad candidates on purpose, measured on rows of a market whose truth is known, and put through the real decision.

Each is refused by the gate whose matter it is, and the champion stays; the good one is promoted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ml.core.digests import Digest
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions
from ml.ledger.database import Database
from ml.promotion.evidence import (
    BidEvidence,
    CodeEvidence,
    ComparisonEvidence,
    Evidence,
    InputEvidence,
    ModelEvidence,
    OrderEvidence,
    ProfitEvidence,
    RowCount,
    ServingEvidence,
)
from ml.promotion.measure import (
    Outcomes,
    Predictions,
    TrainingRows,
    count_future_rows,
    measure_bid_change,
    measure_model,
)
from ml.promotion.measure_paired import measure_fields
from ml.promotion.policy import POLICY
from ml.promotion.promote import judge_candidate, move_champion
from tests.promotion.conftest import good_bidding

DAY = date(2025, 3, 10)
AT = datetime(2025, 3, 11, 6, tzinfo=UTC)
KNOWN_BY = datetime(2025, 2, 25, tzinfo=UTC)
CANDIDATE, CHAMPION = Digest("c" * 64), Digest("a" * 64)
DAYS, PER_DAY = 14, 160

Floats = npt.NDArray[np.float64]


def sigmoid(margin: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-margin)), dtype=np.float64)


@dataclass(frozen=True)
class Market:
    """Bookings whose chance to cancel depends on lead time and rate, with a bend that a line does not see."""

    truth: Floats
    line: Floats
    label: Floats
    value: Floats
    day: npt.NDArray[np.int64]
    decided: npt.NDArray[np.datetime64]
    noise: Floats

    @property
    def realised(self) -> Floats:
        return self.value * (1 - self.label)

    def said(self, p: Floats, *, factor: float | Floats = 1.0) -> Predictions:
        return Predictions(p, self.value * (1 - p) * factor)


@pytest.fixture(scope="module")
def market() -> Market:
    rng = np.random.default_rng(42)
    rows = DAYS * PER_DAY
    lead, rate, day = rng.normal(size=rows), rng.normal(size=rows), np.repeat(np.arange(DAYS), PER_DAY)
    mood = rng.normal(0, 0.15, DAYS)[day]
    margin = -1.2 + 0.9 * lead + 1.1 * np.abs(rate) * np.sign(lead) + mood
    truth = sigmoid(margin)
    label = (rng.random(rows) < truth).astype(float)
    decided = np.datetime64("2025-02-25T12:00", "us") + day.astype("timedelta64[D]")
    return Market(
        truth, sigmoid(-1.1 + 1.5 * lead), label, rng.lognormal(6, 0.6, rows), day, decided, rng.normal(size=rows)
    )


@dataclass(frozen=True)
class Case:
    """A candidate: what it says, and in what else it differs from a good one."""

    said: Callable[[Market], Predictions]
    feature_lag_s: int = 0
    behind_days: int = 0
    bid_factor: float = 1.03
    served_share: float = 1.0


def near(market: Market, spread: float) -> Floats:
    """The truth, as a model knows it: a little off."""
    return sigmoid(np.log(market.truth / (1 - market.truth)) + spread * market.noise)


def one_nan(market: Market) -> Predictions:
    p = near(market, 0.1)
    p[17] = np.nan
    return market.said(p)


GOOD = Case(lambda m: m.said(near(m, 0.1)))

BAD: dict[str, tuple[Case, Verdict, str]] = {
    "promises half as much again": (Case(lambda m: m.said(near(m, 0.1), factor=1.5)), Verdict.FAIL, "calibration"),
    "promises half": (Case(lambda m: m.said(near(m, 0.1), factor=0.5)), Verdict.FAIL, "calibration"),
    "value per stay taken per night": (
        Case(lambda m: m.said(near(m, 0.1), factor=1.0 / (1 + np.arange(len(m.label)) % 5))),
        Verdict.FAIL,
        "calibration",
    ),
    "ignores cancellations in its value": (
        Case(lambda m: Predictions(near(m, 0.1), m.value)),
        Verdict.FAIL,
        "calibration",
    ),
    "worse than the logistic baseline": (Case(lambda m: m.said(near(m, 2.5))), Verdict.FAIL, "beats_baseline"),
    "the wrong way round": (Case(lambda m: m.said(1 - m.truth)), Verdict.FAIL, "beats_baseline"),
    "worse than the champion": (Case(lambda m: m.said(near(m, 1.0))), Verdict.FAIL, "not_worse_than_champion"),
    "a feature from the future": (
        Case(lambda m: m.said(np.clip(m.label * 0.9 + 0.05, 0, 1)), feature_lag_s=3600),
        Verdict.FAIL,
        "leakage",
    ),
    "a future feature with a false time stamp": (
        Case(lambda m: m.said(np.clip(0.5 * m.truth + 0.5 * (0.9 * m.label + 0.05), 0, 1))),
        Verdict.HOLD,
        "leakage",
    ),
    "one NaN among its predictions": (Case(one_nan), Verdict.HOLD, "beats_baseline"),
    "trained on stale data": (
        Case(lambda m: m.said(near(m, 0.1)), behind_days=3),
        Verdict.FAIL,
        "contract_and_freshness",
    ),
    "served another feature than it learned from": (
        Case(lambda m: m.said(near(m, 0.1)), served_share=0.98),
        Verdict.FAIL,
        "feature_parity",
    ),
    "doubles every bid": (Case(lambda m: m.said(near(m, 0.1)), bid_factor=2.0), Verdict.FAIL, "bid_change"),
}


def measure(case: Case, market: Market, *, generation: int) -> Evidence:
    reached = DAY - timedelta(days=case.behind_days)
    known = market.decided + np.timedelta64(case.feature_lag_s, "s")
    published = pd.DataFrame({"hotel": np.arange(50), "bid": np.arange(50) * 10_000 + 400_000})
    wanted = published.assign(bid=(published["bid"] * case.bid_factor).astype(int), clicks=10)
    change = measure_bid_change("google", published, wanted, keys=["hotel"], amount="bid", volume="clicks")
    return Evidence(
        day=DAY,
        candidate=CANDIDATE,
        champion_generation=generation,
        model_names=("value",),
        inputs=InputEvidence("d" * 64, date(2025, 1, 1), reached, (), (), (), reached),
        serving=ServingEvidence(7, 1_400, 2_800, "segment_history.segment_cancel_ratio_28d", case.served_share),
        order=OrderEvidence(KNOWN_BY, KNOWN_BY, KNOWN_BY, count_future_rows(known, market.decided), ("country",)),
        models=(measured(case.said(market), market, generation=generation),),
        bids=BidEvidence(published_before=True, changes=(change,)),
        bidding=good_bidding(),
        gathered=True,
        rejections=(),
        code=CodeEvidence("0" * 40, clean=True, production=True),
        comparison=ComparisonEvidence(
            candidate_trained_through=DAY - timedelta(days=14),
            champion_trained_through=DAY - timedelta(days=42),
            champion_since=DAY - timedelta(days=28),
            incidents=(),
        ),
        row_counts=(RowCount("bookings", rows=1_120, expected=1_100.0, days=7),),
        profit=ProfitEvidence(applies=False),
    )


def measured(said: Predictions, market: Market, *, generation: int) -> ModelEvidence:
    slices = {"half": np.where(market.day % 2, "odd", "even").astype(object)}
    model = measure_model(
        "value",
        TrainingRows(inputs=("lead_days", "rate_micros"), rows=20_000, certain=16_000, corrected=4_000),
        Outcomes(label=market.label, block=market.day, value=market.realised, slices=slices),
        candidate=said,
        baseline=market.said(market.line),
        champion=market.said(near(market, 0.15)) if generation else None,
        seed=7,
    )
    p, value = np.asarray(said.probability), np.asarray(said.value)
    thirds = {"third": (np.arange(len(p)) % 3).astype(str).astype(object)}
    fields = measure_fields(value, market.realised, 1 - p, thirds, market.day, None)
    return replace(model, fields=fields, strongest_column="lead_days", strongest_auc=0.62, strongest_error=0.01)


def decide(db: Database, evidence: Evidence) -> decisions.Decision:
    decision = judge_candidate(
        db,
        market="simulator",
        day=DAY,
        candidate=evidence.candidate,
        evidence=evidence,
        policy=POLICY,
        approval="never",
        at=AT,
    )
    assert decision.id is not None
    move_champion(db, decision_id=decision.id, day=DAY, at=AT)
    return decision


@pytest.fixture
def live(db: Database, market: Market) -> champion.Champion:
    """The champion: a good model of the week before."""
    decide(db, replace(measure(GOOD, market, generation=0), candidate=CHAMPION))
    found = champion.current(db, "simulator")
    assert found is not None
    return found


@pytest.mark.ml_test_score("infra4")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_candidate_is_refused_by_name_and_the_champion_stays(
    db: Database, live: champion.Champion, market: Market, name: str
) -> None:
    case, verdict, gate = BAD[name]
    decision = decide(db, measure(case, market, generation=1))
    verdicts = {record["gate"]: record["verdict"] for record in decision.gates}
    assert decision.verdict is verdict
    assert verdicts[gate] == verdict, verdicts
    assert champion.current(db, "simulator") == live


@pytest.mark.ml_test_score("infra4")
@pytest.mark.parametrize("name", [n for n in BAD if n != "worse than the champion"])
def test_a_bad_candidate_is_refused_also_where_there_is_no_champion_to_compare_with(
    db: Database, market: Market, name: str
) -> None:
    case, _, gate = BAD[name]
    decision = decide(db, measure(case, market, generation=0))
    verdicts = {record["gate"]: record["verdict"] for record in decision.gates}
    assert verdicts[gate] != Verdict.PASS, verdicts
    assert champion.current(db, "simulator") is None


def test_a_good_candidate_replaces_the_champion(db: Database, live: champion.Champion, market: Market) -> None:
    decision = decide(db, measure(GOOD, market, generation=1))
    assert {record["gate"]: record["verdict"] for record in decision.gates} == {g.name: "PASS" for g in POLICY.gates}
    found = champion.current(db, "simulator")
    assert found is not None
    assert (found.digest, found.generation) == (CANDIDATE, 2)
