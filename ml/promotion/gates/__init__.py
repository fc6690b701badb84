"""The gates, a file each. To add one: write its file, add its line here, and put it into a policy."""

from __future__ import annotations

from collections.abc import Mapping

from ml.promotion.gates.base import Gate, GateResult, Gates
from ml.promotion.gates.beats_baseline import BeatsBaseline
from ml.promotion.gates.bid_change import BidChange
from ml.promotion.gates.calibration import Calibration
from ml.promotion.gates.contract_and_freshness import ContractAndFreshness
from ml.promotion.gates.feature_parity import FeatureParity
from ml.promotion.gates.label_maturity import LabelMaturity
from ml.promotion.gates.leakage import Leakage
from ml.promotion.gates.not_worse_than_champion import NotWorseThanChampion

__all__ = ["GATES", "Gate", "GateResult", "Gates"]

GATES: Mapping[str, type[Gate]] = {
    "contract_and_freshness": ContractAndFreshness,
    "label_maturity": LabelMaturity,
    "leakage": Leakage,
    "feature_parity": FeatureParity,
    "beats_baseline": BeatsBaseline,
    "not_worse_than_champion": NotWorseThanChampion,
    "calibration": Calibration,
    "bid_change": BidChange,
}
