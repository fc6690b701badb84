"""From a verdict to what people are told: which incidents it opens, keeps or ends, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml.core.verdict import Verdict
from ml.ledger.incidents import Severity
from monitoring.findings import Finding, alarming
from monitoring.judgement import DriftVerdict
from monitoring.shift import ColumnShift

COLUMNS_SHOWN = 8
CRITICAL_RATIO = 2.0
"""So many times its limit makes a shift critical by itself."""

ERRORS = frozenset({"drift_error", "predictions_error", "explain_error"})


@dataclass(frozen=True)
class Signal:
    """What a verdict says about one cause.

    `severity` None means that the cause has ended and `title` says why; a cause without a signal is left as it is.
    """

    cause: str
    severity: Severity | None
    title: str
    reasons: Sequence[str] = ()
    columns: Sequence[dict[str, Any]] = ()


def signals(verdict: DriftVerdict, *, exceeded_before: frozenset[str]) -> list[Signal]:
    """Every signal of a verdict. Of a day that is not whole only that is said: nothing else was judged."""
    found = [_completeness(verdict)]
    if verdict.held or "drift" not in verdict.parts:
        return found
    found.append(_check(verdict))
    found += [
        signal
        for signal in (_drift(verdict, exceeded_before), _broken(verdict), _calibration(verdict), _parity(verdict))
        if signal
    ]
    return found


def _completeness(verdict: DriftVerdict) -> Signal:
    failed = alarming(verdict.findings["completeness"], Verdict.FAIL)
    odd = alarming(verdict.findings["completeness"], Verdict.HOLD)
    if failed:
        return Signal("completeness", "critical", _first(failed, "; the day is held"), _reasons([*failed, *odd]))
    if odd:
        return Signal("completeness", "warning", _first(odd), _reasons(odd))
    return Signal("completeness", None, "the day is whole")


def _check(verdict: DriftVerdict) -> Signal:
    every = [finding for findings in verdict.findings.values() for finding in findings]
    broken = [finding for finding in every if finding.check in ERRORS]
    if broken:
        return Signal("check", "warning", "the check could not judge everything", _reasons(broken))
    return Signal("check", None, "the check judged the day")


def _drift(verdict: DriftVerdict, exceeded_before: frozenset[str]) -> Signal | None:
    """Drift ends with two days in a row within the limits; a day that could not be judged ends nothing."""
    names = {*verdict.confirmed("drift"), *verdict.confirmed("predictions")}
    confirmed = [shift for shift in verdict.shifts if shift.name in names]
    if confirmed:
        lead = max(confirmed, key=lambda shift: shift.score.ratio or 0.0)
        opinions = [
            f for f in verdict.findings["drift"] if f.check == "second_opinion" and f"{f.subject}.{f.column}" in names
        ]
        columns = [shift.as_json() for shift in verdict.shifts if shift.matters][:COLUMNS_SHOWN]
        # A shift that serving made itself is none of the market: what was compared is said in the same mail.
        reasons = [_what_moved(verdict, confirmed), *_reasons(opinions), *_reasons(verdict.findings.get("parity", ()))]
        return Signal("drift", _severity(confirmed), _drift_title(lead, len(confirmed)), reasons, columns)
    judged = any(shift.score.ratio is not None for shift in verdict.shifts)
    if judged and not verdict.exceeding and not exceeded_before:
        return Signal("drift", None, "every column was within its limit two days in a row")
    return None


def _broken(verdict: DriftVerdict) -> Signal | None:
    findings = [finding for finding in verdict.findings["predictions"] if finding.check == "prediction_finite"]
    failed = alarming(findings, Verdict.FAIL)
    if failed:
        return Signal("predictions", "critical", _first(failed), _reasons(failed))
    return Signal("predictions", None, "every prediction is a number") if findings else None


def _calibration(verdict: DriftVerdict) -> Signal | None:
    (finding,) = verdict.findings["calibration"]
    if finding.verdict is Verdict.FAIL:
        title = f"predicted / realised net value is {finding.number:.2f}"
        return Signal("calibration", "warning", title, [finding.reason])
    if finding.verdict is Verdict.PASS:
        return Signal("calibration", None, finding.reason)
    return None


def _parity(verdict: DriftVerdict) -> Signal | None:
    findings = verdict.findings.get("parity", ())
    failed = alarming(findings, Verdict.FAIL)
    if failed:
        return Signal("parity", "critical", _first(failed), _reasons(failed))
    if findings and all(finding.verdict is Verdict.PASS for finding in findings):
        return Signal("parity", None, "served and offline features are the same")
    return None


def _severity(confirmed: Sequence[ColumnShift]) -> Severity:
    grave = any(shift.is_prediction or (shift.score.ratio or 0.0) >= CRITICAL_RATIO for shift in confirmed)
    return "critical" if grave else "warning"


def _drift_title(lead: ColumnShift, count: int) -> str:
    more = f" and {count - 1} more moved, up to" if count > 1 else " moved,"
    return f"{lead.column}{more} {lead.score.ratio:.1f} times the limit"


def _what_moved(verdict: DriftVerdict, confirmed: Sequence[ColumnShift]) -> str:
    watched = sum(shift.matters for shift in verdict.shifts)
    names = ", ".join(shift.name for shift in confirmed)
    return (
        f"Verdict {verdict.verdict}: {len(confirmed)} of {watched} columns and predictions that matter were further "
        f"from the weeks before than they ever went by themselves, two days in a row: {names}."
    )


def _first(findings: Sequence[Finding], ending: str = "") -> str:
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{findings[0].reason}{more}{ending}"


def _reasons(findings: Sequence[Finding]) -> list[str]:
    return [finding.reason for finding in findings]
