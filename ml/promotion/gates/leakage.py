"""Gate 3: nothing from after the decision reached the model, and it is judged on what it could not have seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence import Evidence, ModelEvidence, OrderEvidence
from ml.promotion.gates.base import GateResult, MissingEvidence, ReadsModels, each_model, need, severest


@dataclass(frozen=True)
class Leakage(ReadsModels):
    """Time order and column list decide; a discrimination too good to be true only holds.

    Fails when a model reads a leaky column, when a feature of any row became known after the row's decision,
    when an evaluation outcome was known before training ended, or when a row that was fitted on became known after it: what is
    judged was then learned from, as in a split at random. Holds when the AUC is above the champion's
    by more than `max_auc_gain_over_champion`, or, without a champion, above the baseline's by more than
    `max_auc_gain_over_baseline`, by two standard errors: the same rows rarely yield so much more by themselves. It holds likewise when one column alone has an AUC
    above `max_auc_of_one_column`: where rows were corrected afterwards, champion and baseline profit from it as the candidate does, and no
    column that is known at the decision tells that much (docs/gates.md).
    """

    name: ClassVar[str] = "leakage"
    reads: ClassVar[tuple[str, ...]] = ("order", "champion_generation")
    model_fields: ClassVar[tuple[str, ...]] = (
        "inputs",
        "evaluation_rows",
        "positives",
        "auc",
        "baseline_auc",
        "champion_auc",
        "strongest_column",
        "strongest_auc",
        "strongest_error",
    )
    max_auc_gain_over_champion: float = 0.06
    max_auc_gain_over_baseline: float = 0.10
    max_auc_of_one_column: float = 0.85

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: rows or seconds out of order, else leaky columns, else the gain in AUC."""
        order = need(evidence.order, "the order in time")
        leaky = frozenset(name.casefold() for name in need(order.leaky_columns, "the list of leaky columns"))

        def columns_and_auc(model: ModelEvidence) -> GateResult:
            champion = need(evidence.champion_generation, "the champion's generation") > 0
            return self._columns(model, leaky) or severest(
                [self._plausible(model, champion=champion), self._alone(model)], missing="its AUC"
            )

        in_time = self.part("order in time", lambda: self._time_order(order))
        models = each_model(self, evidence, columns_and_auc)
        return severest([models, in_time], missing="anything")

    def _columns(self, model: ModelEvidence, leaky: frozenset[str]) -> GateResult | None:
        inputs = need(model.inputs, "the list of columns it reads")
        if not inputs:
            raise MissingEvidence("the list of columns it reads is empty")
        found = sorted(name for name in inputs if name.casefold() in leaky)
        if not found:
            return None
        reason = f"it reads what is filled in after the decision: {', '.join(found)}"
        return self.say(Verdict.FAIL, reason, number=float(len(found)), threshold=0.0, sample=len(inputs))

    def _time_order(self, order: OrderEvidence) -> GateResult:
        future = need(order.rows_with_future_features, "the count of rows with future features")
        if future:
            reason = f"{future} rows have a feature that became known after their decision"
            return self.say(Verdict.FAIL, reason, number=float(future), threshold=0.0)
        trained = need(order.trained_known_by, "the end of what training knew")
        fitted = need(order.newest_fitted, "when the newest row that was fitted on became known")
        if (late_s := (fitted - trained).total_seconds()) > 0:
            reason = f"it was fitted on what became known until {fitted.isoformat()}, after training's end, {trained.isoformat()}"
            return self.say(Verdict.FAIL, reason, number=late_s, threshold=0.0)
        judged = need(order.evaluated_known_from, "the first evaluation outcome")
        overlap_s = (trained - judged).total_seconds()
        verdict = Verdict.FAIL if overlap_s > 0 else Verdict.PASS
        reason = (
            f"training knew all until {trained.isoformat()}, the outcomes judged became known from {judged.isoformat()}"
        )
        return self.say(verdict, reason, number=overlap_s, threshold=0.0)

    def _alone(self, model: ModelEvidence) -> GateResult:
        best = need(model.strongest_auc, "how well single columns tell the outcome")
        error = need(model.strongest_error, "the error of that AUC")
        limit = self.max_auc_of_one_column
        verdict = Verdict.HOLD if best - 2 * error > limit else Verdict.PASS
        reason = f"of single columns {model.strongest_column} tells most, AUC {best:.3f} (standard error {error:.3f})"
        if verdict is Verdict.HOLD:
            reason += ": too good to be believed; it may have been filled in after the outcome"
        return self.say(verdict, reason, number=best, threshold=limit, sample=model.evaluation_rows)

    def _plausible(self, model: ModelEvidence, *, champion: bool) -> GateResult:
        auc = need(model.auc, "its AUC")
        positives = need(model.positives, "the number of positive evaluation rows")
        rows = need(model.evaluation_rows, "the number of evaluation rows")
        who, reference, limit = (
            ("champion", model.champion_auc, self.max_auc_gain_over_champion)
            if champion
            else ("baseline", model.baseline_auc, self.max_auc_gain_over_baseline)
        )
        gain = auc - need(reference, f"the AUC of the {who}")
        error = need(auc_standard_error(auc, positives=positives, negatives=rows - positives), "the error of its AUC")
        verdict = Verdict.HOLD if gain - 2 * error > limit else Verdict.PASS
        reason = f"AUC {auc:.3f}, {gain:+.3f} against the {who} (standard error {error:.3f})"
        if verdict is Verdict.HOLD:
            reason += ": too good to be believed; look for a feature from the future"
        return self.say(verdict, reason, number=gain, threshold=limit, sample=rows)


def auc_standard_error(auc: float, *, positives: int, negatives: int) -> float:
    """Standard error of an AUC; NaN where a class is empty.

    Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143 (1982), formula 1.

    >>> round(auc_standard_error(0.8, positives=100, negatives=900), 3)
    0.027
    """
    if positives < 1 or negatives < 1:
        return math.nan
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (q1 - auc * auc) + (negatives - 1) * (q2 - auc * auc)
    return math.sqrt(max(spread, 0.0) / (positives * negatives))
