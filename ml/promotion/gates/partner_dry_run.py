"""Gate 16: every partner would take the files of the candidate's bids, in the right unit and currency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.promotion.evidence_bids import DryRun
from ml.promotion.evidence_bids import PartnerDryRun as Measured
from ml.promotion.gates.base import GateResult, need, severest
from ml.promotion.gates.bid_gate import BidGate


@dataclass(frozen=True)
class PartnerDryRun(BidGate):
    """Acceptance, units, what the language loses and what the cap cuts, of each partner.

    The language's loss is the market's more than the candidate's: what counts is how much more of it the candidate's
    bids lose than the champion's (`max_more_loss`), and nobody's may lose more than `max_loss`. Above the former it holds, as it
    does where much of the spend is bid at the cap.
    """

    name: ClassVar[str] = "partner_dry_run"
    what: ClassVar[str] = "the dry run with each partner"
    max_more_loss: float = 0.20
    max_loss: float = 0.30
    max_clipped_share: float = 0.20
    max_unit_error: float = 0.02

    def examine_part(self, part: Measured) -> GateResult:
        """Number: 1 for a refusal, else the first number beyond its limit, else the largest language loss."""
        results = [self.part(run.partner, lambda run=run: self._partner(run)) for run in part.partners]  # type: ignore[misc]
        result = severest(results, missing="the dry run of any partner")
        if result.verdict is not Verdict.PASS:
            return result
        return max(results, key=lambda one: one.number or 0.0)

    def _partner(self, run: DryRun) -> GateResult:
        refusal = need(run.refusal, "whether the partner would take the files")
        if refusal:
            return self.say(Verdict.FAIL, f"its files would be refused: {refusal}", number=1.0, threshold=0.0)
        files = need(run.files, "the number of files")
        clipped = need(run.clipped_share, "the share of spend that the cap cuts")
        if run.unit_error is not None and need(run.unit_error, "the error of the unit") > self.max_unit_error:
            reason = (
                f"its files say bids that differ by {run.unit_error:.0%} from those meant: a unit or currency is wrong"
            )
            return self.say(Verdict.FAIL, reason, number=run.unit_error, threshold=self.max_unit_error, sample=files)
        if clipped > self.max_clipped_share:
            reason = f"{clipped:.1%} of the spend is bid at the cap, so that the cap decides and not the model"
            return self.say(Verdict.HOLD, reason, number=clipped, threshold=self.max_clipped_share, sample=files)
        if run.language_loss is None:
            return self.say(Verdict.PASS, "accepted; all can be said", number=0.0, sample=files)
        loss = need(run.language_loss, "what the language loses")
        reason = f"accepted; its language loses {loss:.1%} of the expected profit"
        if loss > self.max_loss:
            return self.say(Verdict.FAIL, reason, number=loss, threshold=self.max_loss, sample=files)
        limit = self.max_loss
        if run.champion_loss is not None:
            limit = min(limit, max(run.champion_loss, 0.0) + self.max_more_loss)
            reason += f", of the champion's bids {run.champion_loss:.1%}"
        verdict = Verdict.HOLD if loss > limit else Verdict.PASS
        return self.say(verdict, reason, number=loss, threshold=limit, sample=files)
