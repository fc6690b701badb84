"""Gate 4d: there is a reason to change: a gain that is shown, or data that the champion has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.core.verdict import Verdict
from ml.evaluation.alpha import ALPHA_A_YEAR, MOST_DAYS, alpha_of_look, gains
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence import ComparisonEvidence, Evidence
from ml.promotion.gates.base import GateResult, MissingEvidence, ReadsModels, need

PRIMARY = ("conversion", "value")
"""Models of what a click is worth; of a bundle without them, all are primary."""


@dataclass(frozen=True)
class GainsOnChampion(ReadsModels):
    """A candidate replaces the champion for one of three reasons, which the decision names.

    * *First*: there is no champion; `beats_baseline` stands in.
    * *Win*: the log loss of a model of worth is lower than the champion's on the same matured rows, at the alpha that this look may spend
      (`ml.evaluation.alpha`), with the error by hotel and day, over all primaries together (Holm). A year of candidates that are no better wins by
      chance with probability `alpha_a_year` at most.
    * *Refresh*: its training data reach `refresh_after_days` further than the champion's, or any further while an incident stands that a
      newer model may cure. Then no gain is asked: fresh data are worth something that two weeks of outcomes cannot show, and it is enough that no
      guard loses (`not_worse_than_champion`, which has to *show* it). A refit on the champion's own data, an A/A candidate, has no newer data and can
      only win. Refreshes are at most one per `refresh_after_days` on a quiet market, by the calendar and not by chance.

    Everything else holds: the champion stays, and the next retrain looks again.
    """

    name: ClassVar[str] = "gains_on_champion"
    reads: ClassVar[tuple[str, ...]] = ("day", "champion_generation", "comparison")
    model_fields: ClassVar[tuple[str, ...]] = ("losses", "matured_share")
    alpha_a_year: float = ALPHA_A_YEAR
    most_days: int = MOST_DAYS
    refresh_after_days: int = 28
    min_days: int = 7

    def examine(self, evidence: Evidence) -> GateResult:
        """Number: the smallest p-value of a gain; threshold: the alpha of this look."""
        if need(evidence.champion_generation, "the champion's generation") == 0:
            reason = "first champion: none is live in this market, so the baseline stands in"
            return self.say(Verdict.PASS, reason, number=0.0, sample=0)
        known = need(evidence.comparison, "what candidate and champion are")
        estimates = self._primaries(evidence)
        since = need(known.champion_since, "the champion's first day")
        alpha = alpha_of_look(
            (evidence.day - max(since, known.last_look or since)).days,
            a_year=self.alpha_a_year,
            most_days=self.most_days,
        )
        p_values = {name: found.p_below() if found.days >= self.min_days else 1.0 for name, found in estimates.items()}
        best = min(p_values, key=lambda name: p_values[name])
        shown = estimates[best]
        numbers = {
            "number": p_values[best],
            "threshold": alpha,
            "interval": shown.interval(1 - 2 * alpha) if alpha > 0 else None,
            "sample": shown.rows,
        }
        told = f"{best} {shown.mid:+.2g}, p {p_values[best]:.2g} of alpha {alpha:.2g}"
        winners = gains(p_values, alpha)
        if winners:
            return self.say(Verdict.PASS, f"a win in {', '.join(winners)}: {told}", **numbers)
        refresh = self._refresh(known)
        if refresh:
            return self.say(Verdict.PASS, f"a refresh, not a win ({told}): {refresh}", **numbers)
        return self.say(Verdict.HOLD, f"no gain is shown: {told}; the data are not so much newer", **numbers)

    def _primaries(self, evidence: Evidence) -> dict[str, Estimate]:
        measured = {model.name: model for model in evidence.models}
        names = [name for name in evidence.model_names if name in PRIMARY] or list(evidence.model_names)
        found = {}
        for name in names:
            if name not in measured:
                raise MissingEvidence(f"{name}: its evidence was not measured")
            need(measured[name].matured_share, f"{name}: how mature the judged rows are")
            loss = measured[name].losses[0] if measured[name].losses else None
            paired = need(loss.paired if loss else None, f"{name}: the difference of losses from the champion")
            if not paired.finite:
                raise MissingEvidence(f"{name}: the difference of losses from the champion has no finite error")
            found[name] = paired
        if not found:
            raise MissingEvidence("the list of models in the bundle was not measured")
        return found

    def _refresh(self, known: ComparisonEvidence) -> str:
        """Why newer data are reason enough; empty where they are none."""
        ours = need(known.candidate_trained_through, "the end of the candidate's data")
        theirs = need(known.champion_trained_through, "the end of the champion's data")
        newer = (ours - theirs).days
        if newer >= self.refresh_after_days:
            return f"its data reach {newer} days further than the champion's"
        incidents = need(known.incidents, "which incidents are open")
        if newer > 0 and incidents:
            return f"its data reach {newer} days further, and an incident of {', '.join(incidents)} is open"
        return ""
