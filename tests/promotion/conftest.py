"""Evidence of a good candidate, an empty ledger with two registered versions, and a folder of blobs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ml.core.digests import Digest
from ml.evaluation.interval import Interval
from ml.evaluation.two_way import Estimate
from ml.lake.local import LocalBlobs
from ml.ledger import versions
from ml.ledger.database import Database
from ml.promotion.evidence import (
    BidChange,
    BidEvidence,
    CodeEvidence,
    ComparisonEvidence,
    DelayEvidence,
    Evidence,
    FieldEvidence,
    InputEvidence,
    LossEvidence,
    ModelEvidence,
    OrderEvidence,
    ProfitEvidence,
    RowCount,
    ServingEvidence,
    SliceEvidence,
)
from ml.promotion.evidence_bids import (
    BiddingEvidence,
    Constraints,
    DryRun,
    LandscapeCheck,
    Monotonicity,
    OffPolicy,
    PartnerDryRun,
    Probe,
    Replay,
    RollbackDrill,
    ServingRehearsal,
    Shadow,
    Shock,
    SparseHotels,
    Stress,
)

DAY = date(2025, 3, 10)
AT = datetime(2025, 3, 11, 6, tzinfo=UTC)
CANDIDATE = Digest("c" * 64)
CHAMPION = Digest("a" * 64)


def estimate(mid: float, error: float, *, days: int = 14, rows: int = 2_000) -> Estimate:
    return Estimate(mid, error, days - 1, 40, days, rows)


@pytest.fixture
def model() -> ModelEvidence:
    """A value model that gains on its baseline, shows a gain on the champion, and loses nowhere."""
    return ModelEvidence(
        name="value",
        inputs=("lead_days", "rate_micros"),
        training_rows=10_000,
        certain_rows=8_000,
        corrected_rows=2_000,
        evaluation_rows=2_000,
        positives=600,
        auc=0.80,
        baseline_auc=0.77,
        champion_auc=0.80,
        strongest_column="lead_days",
        strongest_auc=0.66,
        strongest_error=0.01,
        losses=(
            LossEvidence(
                "log_loss",
                candidate=0.50,
                baseline=0.53,
                champion=0.50,
                over_baseline=Interval(-0.04, -0.03, -0.02, blocks=14, rows=2_000),
                over_champion=Interval(-0.005, 0.0, 0.005, blocks=14, rows=2_000),
                paired=estimate(-0.02, 0.003),
            ),
            LossEvidence(
                "net_value_deviance",
                candidate=150.0,
                baseline=170.0,
                champion=150.0,
                over_baseline=Interval(-25.0, -20.0, -15.0, blocks=14, rows=2_000),
                over_champion=Interval(-3.0, 0.0, 3.0, blocks=14, rows=2_000),
            ),
        ),
        baseline_loss=LossEvidence(
            "log_loss",
            candidate=0.50,
            baseline=0.53,
            over_baseline=Interval(-0.04, -0.03, -0.02, blocks=14, rows=2_000),
        ),
        calibration=Interval(0.96, 1.01, 1.06, blocks=14, rows=2_000),
        matured_share=1.0,
        auc_over_champion=estimate(0.0, 0.002),
        slices=(
            SliceEvidence("device", "mobile", 1_200, 400, 0.5, estimate(-0.01, 0.01, rows=1_200)),
            SliceEvidence("device", "desktop", 800, 200, 0.5, estimate(0.0, 0.01, rows=800)),
        ),
        fields=(
            FieldEvidence("device", "mobile", 1_200, 800.0, 1.02e9, 1e9, estimate(1.02, 0.03)),
            FieldEvidence("device", "desktop", 800, 600.0, 0.99e9, 1e9, estimate(0.99, 0.03)),
        ),
        cancelled=(FieldEvidence("lead_bucket", "031-090", 900, 300.0, 300.0, 295.0, estimate(1.02, 0.04)),),
        wape=0.40,
        champion_wape=0.40,
        wape_over_champion=estimate(0.0, 0.005),
        delay=DelayEvidence(applies=True, age_days=3, bookings=500, error=0.01, spread=0.01),
    )


@pytest.fixture
def bidding() -> BiddingEvidence:
    """The bidding evidence of a good candidate."""
    return good_bidding()


def good_bidding() -> BiddingEvidence:
    """What was measured of a good candidate of the simulated market, rounded."""
    return BiddingEvidence(
        sparse_hotels=SparseHotels(
            hotels=240, sparse=183, bookings=284, follows=0.22, ought=0.20, lowest=0.41, highest=2.4,
            outside_share=0.011, over_bid_share=0.01, promised=Interval(0.7, 0.95, 1.4, blocks=33, rows=171),
        ),
        landscape=LandscapeCheck(
            auctions=9_700, days=14, clicks=Interval(0.83, 0.92, 1.02, blocks=146, rows=9_700),
            cost=Interval(0.7, 0.9, 1.05, blocks=146, rows=9_700), groups=17, covered=0.82,
        ),
        monotonicity=Monotonicity(
            (
                Probe("net value in the value of the stay", rows=1_000, broken=0.0, worst=-0.2),
                Probe("net value in the nights", rows=1_000, broken=0.0, worst=0.0, elasticity=0.98, wanted=1.0),
                Probe("bookings in the currency", rows=1_500, broken=0.0, worst=0.0, elasticity=-0.15, wanted=0.0),
            )
        ),
        replay=Replay(
            days=14, auctions=235_000, trust=0.48, scale=0.91, candidate_profit_micros=237e6,
            champion_profit_micros=234e6, budget_micros=107e6, candidate_spend_micros=92e6,
            champion_spend_micros=89e6, gain=Interval(0.002, 0.01, 0.02, blocks=14, rows=235_000), worse_by_margin=0.0,
        ),
        off_policy=OffPolicy(
            clicks=3_600, ess_share=0.8, mean_weight=1.02, snips=Interval(-0.01, 0.011, 0.024, blocks=240, rows=116_000),
            dr=Interval(-0.02, 0.013, 0.025, blocks=240, rows=116_000),
        ),
        stress=Stress(
            usual_profit_micros=234e6, champion=True,
            shocks=(Shock("demand doubles", 296e6, 307e6, 1.2), Shock("conversion falls", 138e6, 137e6, 1.0)),
        ),
        constraints=Constraints(
            weeks=200, has_budget=True, budget_over=-0.01, weeks_over=0.01, has_floor=True, weeks_under_floor=0.0,
            plan_over=-0.04, above_cap=0,
        ),
        partner_dry_run=PartnerDryRun(
            (DryRun("google", "", language_loss=0.08, champion_loss=0.04, clipped_share=0.015, unit_error=1e-6, files=1),)
        ),
        serving=ServingRehearsal(
            compared=5_000, matched_share=1.0, timed=200, p50_ms=4.8, p99_ms=6.2, fault=""
        ),
        shadow=Shadow(days=8, critical=0, predicted_over_realised=1.03),
        rollback_drill=RollbackDrill(age_days=6.0, took_s=20.0),
    )  # fmt: skip


@pytest.fixture
def good(model: ModelEvidence, bidding: BiddingEvidence) -> Evidence:
    """Complete evidence of a candidate that passes every gate, against a champion of generation 1."""
    return Evidence(
        day=DAY,
        candidate=CANDIDATE,
        champion_generation=1,
        model_names=("value",),
        inputs=InputEvidence(
            data_digest="d" * 64,
            first_day=date(2025, 1, 1),
            last_day=DAY,
            missing_days=(),
            held_days=(),
            unfit_days_used=(),
            watermark=DAY,
        ),
        serving=ServingEvidence(
            days=7, read_back=1_400, compared=2_800, worst_feature="hotel_traffic.traffic_ctr_7d", worst_share=1.0
        ),
        order=OrderEvidence(
            trained_known_by=datetime(2025, 2, 25, tzinfo=UTC),
            newest_fitted=datetime(2025, 2, 24, 23, tzinfo=UTC),
            evaluated_known_from=datetime(2025, 2, 25, tzinfo=UTC),
            rows_with_future_features=0,
            leaky_columns=("country", "deposit_type"),
        ),
        models=(model,),
        bids=BidEvidence(
            published_before=True,
            changes=(
                BidChange(
                    "google",
                    cells=500,
                    matched_share=0.97,
                    median_change=0.04,
                    p99_change=0.3,
                    spend_change=0.02,
                    top_hotels=(("h1", 0.04, 0.03),),
                ),
            ),
        ),
        gathered=True,
        rejections=(),
        code=CodeEvidence("0" * 40, clean=True, production=True),
        comparison=ComparisonEvidence(
            candidate_data_digest="d" * 64,
            candidate_trained_through=date(2025, 2, 24),
            champion=CHAMPION,
            champion_data_digest="e" * 64,
            champion_trained_through=date(2025, 2, 17),
            champion_since=date(2025, 3, 3),
            last_look=None,
            incidents=(),
        ),
        row_counts=(RowCount("opportunities", rows=70_000, expected=71_000.0, days=7),),
        profit=ProfitEvidence(
            applies=True, clicks=4_000, bookings=300, candidate=505.0, champion=500.0, difference=estimate(0.01, 0.01)
        ),
        bidding=bidding,
    )


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("promotion") / "migrated.db"
    with closing(Database.open(f"sqlite:///{file}")) as database:
        database.migrate()
    return file


@pytest.fixture
def db(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    """A ledger in which the champion-to-be and the candidate are registered, and nothing is live."""
    file = tmp_path / "ledger.db"
    shutil.copyfile(migrated, file)
    with closing(Database.open(f"sqlite:///{file}")) as database:
        for digest in (CHAMPION, CANDIDATE):
            version = versions.Version(
                digest=digest,
                market="simulator",
                day=DAY,
                uri=f"bundles/{digest}",
                data_digest=Digest("d" * 64),
                trained_through=date(2025, 2, 24),
                metrics={"auc": 0.8},
                mlflow_run_id="",
            )
            versions.register(database, version, AT)
        yield database
