"""The gates, a file each. To add one: write its file, add its line here, and put it into a policy."""

from __future__ import annotations

from collections.abc import Mapping

from ml.promotion.gates.base import Gate, GateResult, Gates
from ml.promotion.gates.beats_baseline import BeatsBaseline
from ml.promotion.gates.bid_change import BidChange
from ml.promotion.gates.calibration import Calibration
from ml.promotion.gates.code_version import OfCommittedCode
from ml.promotion.gates.constraints import Constraints
from ml.promotion.gates.contract_and_freshness import ContractAndFreshness
from ml.promotion.gates.delay_backtest import DelayBacktest
from ml.promotion.gates.discrimination import Discrimination
from ml.promotion.gates.evidence_gathered import EvidenceGathered
from ml.promotion.gates.feature_parity import FeatureParity
from ml.promotion.gates.field_calibration import FieldCalibration
from ml.promotion.gates.gains_on_champion import GainsOnChampion
from ml.promotion.gates.label_maturity import LabelMaturity
from ml.promotion.gates.landscape import Landscape
from ml.promotion.gates.leakage import Leakage
from ml.promotion.gates.monotonicity import Monotonicity
from ml.promotion.gates.not_rejected import NotRejected
from ml.promotion.gates.not_worse_than_champion import NotWorseThanChampion
from ml.promotion.gates.off_policy import OffPolicy
from ml.promotion.gates.partner_dry_run import PartnerDryRun
from ml.promotion.gates.profit_kept import ProfitKept
from ml.promotion.gates.replay import Replay
from ml.promotion.gates.rollback_drill import RollbackDrill
from ml.promotion.gates.row_counts import RowCounts
from ml.promotion.gates.serving import Serving
from ml.promotion.gates.shadow import Shadow
from ml.promotion.gates.slices import Slices
from ml.promotion.gates.sparse_hotels import SparseHotels
from ml.promotion.gates.stress import Stress
from ml.promotion.gates.value_error import ValueErrors

__all__ = ["GATES", "Gate", "GateResult", "Gates"]

GATES: Mapping[str, type[Gate]] = {
    "evidence_gathered": EvidenceGathered,
    "not_rejected": NotRejected,
    "code_version": OfCommittedCode,
    "contract_and_freshness": ContractAndFreshness,
    "row_counts": RowCounts,
    "label_maturity": LabelMaturity,
    "delay_backtest": DelayBacktest,
    "leakage": Leakage,
    "feature_parity": FeatureParity,
    "beats_baseline": BeatsBaseline,
    "not_worse_than_champion": NotWorseThanChampion,
    "gains_on_champion": GainsOnChampion,
    "discrimination": Discrimination,
    "profit_kept": ProfitKept,
    "slices": Slices,
    "calibration": Calibration,
    "field_calibration": FieldCalibration,
    "value_error": ValueErrors,
    "sparse_hotels": SparseHotels,
    "landscape": Landscape,
    "monotonicity": Monotonicity,
    "replay": Replay,
    "off_policy": OffPolicy,
    "stress": Stress,
    "constraints": Constraints,
    "bid_change": BidChange,
    "partner_dry_run": PartnerDryRun,
    "serving": Serving,
    "shadow": Shadow,
    "rollback_drill": RollbackDrill,
}
