"""From a verdict to what people are told: which incidents it opens, keeps or ends, and in which words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml.core.verdict import Verdict
from ml.ledger.incidents import Severity
from monitoring.charts import charts
from monitoring.diagnosis import CAUSES, SHOWN
from monitoring.findings import Finding, alarming
from monitoring.judgement import DriftVerdict
from monitoring.observed import Observed
from monitoring.series import Series
from monitoring.shift import ColumnShift

COLUMNS_SHOWN = 8
CRITICAL_RATIO = 2.0
"""So many times its limit makes a shift critical by itself."""

STAKE_CRITICAL = 0.25
"""A shift that costs this share of the usual profit is critical."""

HOUR_CRITICAL = 1.25
"""So many times the evidence needed makes a dear hour critical: on the edge a few clicks of dear hotels are enough, which can wait for the morning."""

GRAVE = frozenset({"tracking", "feed"})
"""Causes that are critical whatever they cost so far: what is learned or bid on them is wrong."""

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
    at_stake_micros: int | None = None
    charts: Sequence[Series] = ()
    noticed_at: str = ""


def signals(
    verdict: DriftVerdict,
    *,
    exceeded_before: frozenset[str],
    observed: Observed | None = None,
    said_before: Collection[str] = (),
) -> list[Signal]:
    """Every signal of a verdict. Of a day that is not whole only that is said: nothing else was judged.

    Args:
        verdict: of the day.
        exceeded_before: see `monitoring.judgement.judge_day`.
        observed: what watchers saw; None where nothing was watched.
        said_before: likely causes of drift that the day before named.
    """
    found = [_completeness(verdict)]
    if verdict.held or "drift" not in verdict.parts:
        return found
    found.append(_check(verdict))
    found += _drift(verdict, exceeded_before, observed, frozenset(said_before))
    found += [signal for signal in (_broken(verdict), _calibration(verdict), _parity(verdict)) if signal]
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


def _drift(
    verdict: DriftVerdict, exceeded_before: frozenset[str], observed: Observed | None, said_before: frozenset[str]
) -> list[Signal]:
    """One signal for the likeliest cause of what moved; a cause ends when neither this day nor the one before named it."""
    moved = _columns(verdict)
    likely = observed.diagnoses[0].cause if observed and observed.diagnoses else "unknown"
    found = []
    if observed is not None and observed.diagnoses:
        found.append(_watched(observed, moved))
    elif moved is not None:
        found.append(replace(moved, cause=f"drift:{likely}"))
    said = {d.cause for d in observed.diagnoses if d.share >= SHOWN} if observed else set()
    still = {likely} if moved is not None or verdict.exceeding or exceeded_before else set()
    judged = any(shift.score.ratio is not None for shift in verdict.shifts) or (
        observed is not None and observed.judged
    )
    if not judged or (observed is not None and not observed.judged and said_before):
        return found
    over = [cause for cause in CAUSES if cause not in said | still | said_before]
    ended = [Signal(f"drift:{cause}", None, "what moved is within its limits two days in a row") for cause in over]
    calm = not found and not still
    return [
        *found,
        *ended,
        *([Signal("drift", None, "every column was within its limit two days in a row")] if calm else []),
    ]


def _watched(observed: Observed, moved: Signal | None) -> Signal:
    """What watchers found, by its likeliest cause; columns that moved on the same day stand in the same signal."""
    lead = observed.diagnoses[0]
    failed = [f for f in observed.findings if f.verdict is Verdict.FAIL]
    first = max(failed, key=lambda f: (f.scope == lead.scope, f.evidence or 0.0))
    others = [f"{d.cause} {d.share:.0%}" for d in observed.diagnoses[1:]]
    reasons = [*lead.evidence, *(observed.impact.sentences if observed.impact else ())]
    reasons += (
        [f"Likely cause: {lead.cause} ({lead.share:.0%}); also thought of: {', '.join(others)}."] if others else []
    )
    reasons += list(moved.reasons) if moved else []
    noticed = min((f.noticed_at for f in failed if f.noticed_at is not None), default=None)
    return Signal(
        f"drift:{lead.cause}",
        _gravity(observed, moved),
        # What it was held against stands among the reasons; a subject is read on a phone.
        first.reason.partition(" (")[0],
        reasons,
        moved.columns if moved else (),
        at_stake_micros=observed.impact.at_stake if observed.impact else None,
        charts=charts(observed.findings, observed.series),
        noticed_at=noticed.isoformat() if noticed else "",
    )


def _gravity(observed: Observed, moved: Signal | None) -> Severity:
    """How bad: by what it costs; demand alone is nobody's fault and wakes nobody."""
    lead = observed.diagnoses[0]
    share = observed.impact.share if observed.impact else None
    hours = [f.evidence or 0.0 for f in observed.findings if f.column == "hourly_spend" and f.verdict is Verdict.FAIL]
    burning = max(hours, default=0.0) >= HOUR_CRITICAL
    if lead.cause == "demand" and not burning:
        return "warning"
    if lead.cause in GRAVE or burning or (share is not None and share >= STAKE_CRITICAL):
        return "critical"
    return moved.severity or "warning" if moved and share is None else "warning"


def _columns(verdict: DriftVerdict) -> Signal | None:
    """Columns and predictions that drifted for sure, as a signal whose cause is still to be named."""
    names = {*verdict.confirmed("drift"), *verdict.confirmed("predictions")}
    confirmed = [shift for shift in verdict.shifts if shift.name in names]
    if not confirmed:
        return None
    lead = max(confirmed, key=lambda shift: shift.score.ratio or 0.0)
    opinions = [
        f for f in verdict.findings["drift"] if f.check == "second_opinion" and f"{f.subject}.{f.column}" in names
    ]
    columns = [shift.as_json() for shift in verdict.shifts if shift.matters][:COLUMNS_SHOWN]
    # A shift that serving made itself is none of the market: what was compared is said in the same mail.
    reasons = [_what_moved(verdict, confirmed), *_reasons(opinions), *_reasons(verdict.findings.get("parity", ()))]
    return Signal("drift", _severity(confirmed), _drift_title(lead, len(confirmed)), reasons, columns)


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
        f"from the weeks before than they go by themselves, on two of three days: {names}."
    )


def _first(findings: Sequence[Finding], ending: str = "") -> str:
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{findings[0].reason}{more}{ending}"


def _reasons(findings: Sequence[Finding]) -> list[str]:
    return [finding.reason for finding in findings]
