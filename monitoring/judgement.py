"""One verdict on a market day: is it whole, did it shift, do predictions shift, does the money come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pandas as pd

from ml.core.verdict import Verdict, worst
from monitoring.calibration import CALIBRATION, Calibration, CalibrationLimits, calibration
from monitoring.completeness import LIMITS, CompletenessLimits, guards
from monitoring.drift import SAMPLE, DriftResult, distances
from monitoring.findings import COLD_START, Finding, finite, first_line, held, reasons_of, verdict_of
from monitoring.parity import Served, parity
from monitoring.shift import ColumnShift, History, history, judged_together, season_note, shifts
from monitoring.subject import Subject
from monitoring.windows import WINDOWS, Windows

PARTS = ("completeness", "drift", "predictions", "calibration", "parity", "watchers")
"""The parts of a judgement, in the order in which they are judged."""


@dataclass(frozen=True)
class Limits:
    """Everything that a judgement holds numbers against."""

    completeness: CompletenessLimits = LIMITS
    windows: Windows = WINDOWS
    calibration: CalibrationLimits = CALIBRATION


@dataclass(frozen=True)
class DriftVerdict:
    """The judgement of a day.

    Attributes:
        verdict: FAIL when the day is not whole, has drifted, or calibration is off; HOLD when something could
            not be judged; PASS otherwise.
        parts: the verdict of each part that was judged.
        findings: every finding, by part.
        shifts: every column and prediction of every subject, the furthest beyond its limit first.
        calibration: the calibration numbers.
        reports: HTML report per subject.
        diagnosis: likely causes, the likeliest first, each with `cause`, `share` and `evidence`.
        impact: per column or prediction (`subject.column`), what its shift costs.
        notes: what a reader should know of the references: a first year, a last year with a hole.
    """

    verdict: Verdict
    parts: Mapping[str, Verdict]
    findings: Mapping[str, Sequence[Finding]]
    shifts: Sequence[ColumnShift]
    calibration: Calibration | None
    reports: Mapping[str, bytes]
    diagnosis: Sequence[Mapping[str, Any]] = ()
    impact: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def held(self) -> bool:
        """Whether nothing downstream may learn from the day: it is not whole."""
        return self.parts["completeness"] is Verdict.FAIL

    @property
    def reasons(self) -> list[str]:
        """What failed and what could not be judged, in the order of the parts, failures first."""
        every = [finding for part in PARTS for finding in self.findings.get(part, ())]
        return reasons_of(every)

    @property
    def exceeding(self) -> list[ColumnShift]:
        """Columns and predictions that matter and are beyond their limit, confirmed or not."""
        return [shift for shift in self.shifts if shift.matters and shift.score.exceeds]

    def confirmed(self, part: str) -> list[str]:
        """Names of what drifted for sure in a part (`drift` or `predictions`)."""
        found = self.findings.get(part, ())
        return [f"{f.subject}.{f.column}" for f in found if f.verdict is Verdict.FAIL and f.column]

    def numbers(self) -> dict[str, Any]:
        """What the ledger keeps beside the verdict: small JSON, the memory of the next day's judgement."""
        measured = self.calibration
        return {
            "parts": {part: verdict.value for part, verdict in self.parts.items()},
            "held": self.held,
            "columns": [{**shift.as_json(), "impact": self.impact.get(shift.name)} for shift in self.shifts],
            "notes": list(self.notes),
            "exceeding": [shift.name for shift in self.exceeding],
            "confirmed": [*self.confirmed("drift"), *self.confirmed("predictions")],
            "findings": [
                finding.as_json()
                for part in PARTS
                for finding in self.findings.get(part, ())
                if finding.verdict is not Verdict.PASS
            ],
            "diagnosis": [dict(cause) for cause in self.diagnosis],
            "watchers": [finding.as_json() for finding in self.findings.get("watchers", ())],
            "calibration": None
            if measured is None
            else {
                "ratio": finite(measured.ratio),
                "low": finite(measured.low),
                "high": finite(measured.high),
                "rows": measured.rows,
                "days": measured.days,
            },
        }


@dataclass(frozen=True)
class Explanation:
    """What a verdict means: its likely causes and what each shift costs, as `DriftVerdict` keeps them."""

    diagnosis: Sequence[Mapping[str, Any]] = ()
    impact: Mapping[str, Any] = field(default_factory=dict)


Explain = Callable[[DriftVerdict], Explanation]
"""Explains a verdict once everything was judged. What it raises becomes a HOLD finding."""


def judge_day(
    subjects: Sequence[Subject],
    *,
    day: date,
    exceeded_before: Iterable[str] = frozenset(),
    matured: pd.DataFrame | None = None,
    served: Served | None = None,
    watched: Sequence[Finding] = (),
    explain: Explain | None = None,
    limits: Limits | None = None,
    seed: int = 0,
    sample: int = SAMPLE,
    report: bool = True,
) -> DriftVerdict:
    """Judge a market day.

    Args:
        subjects: the rows to watch, those of the model that matters most first.
        day: the market day.
        exceeded_before: names (`subject.column`) that exceeded their limit on each of the judged days before this
            one, a name as often as it did (`Windows.confirm_of` less one days); a shift is drift once it was there
            on `Windows.confirm_days` of them, this one included.
        matured: mature rows with `day`, `expected_micros` and `realised_micros`; None while there is no champion.
        served: see `monitoring.parity.parity`; None or empty where nothing was served.
        watched: what the watchers of daily series found, whole day or not.
        explain: names causes and costs of the verdict.
        limits: what numbers are held against.
        seed: of every draw.
        sample: rows per side that Evidently sees.
        report: whether Evidently is asked at all: for its HTML and its second opinion, which change no verdict.

    Returns:
        The verdict with everything it rests on. A day that is not whole is not judged any further: what is
        missing would look like drift, or hide it.
    """
    limits = limits or Limits()
    whole = [finding for subject in subjects for finding in guards(subject, day, limits.completeness)]
    findings: dict[str, Sequence[Finding]] = {"completeness": whole}
    findings |= {"watchers": watched} if watched else {}
    if not subjects or verdict_of(whole) is Verdict.FAIL:
        return _explained(_verdict(findings, [], None, {}), explain)
    before = Counter(exceeded_before)
    pasts = [_history(subject, day, limits.windows) for subject in subjects]
    found = judged_together(
        [
            s
            for subject, (past, _) in zip(subjects, pasts, strict=True)
            for s in shifts(subject, past, limits.windows, day=day)
        ],
        limits.windows,
    )
    reports: dict[str, bytes] = {}
    drift, predictions = [], []
    for subject, (past, unscored) in zip(subjects, pasts, strict=True):
        moved = [shift for shift in found if shift.subject == subject.name]
        features = [shift for shift in moved if not shift.is_prediction]
        answers = [shift for shift in moved if shift.is_prediction]
        drift += _drift(subject, features, past, before, limits.windows)
        if report:
            opinion = _opinion(subject, past, moved, limits.windows, seed=seed, sample=sample)
            reports |= {subject.name: opinion.html} if opinion.html is not None else {}
            drift += [opinion.finding] if opinion.finding else _disagreements(features, opinion)
        predictions += unscored or _predictions(subject, answers, past, before, limits.windows)
    measured = calibration(matured, seed=seed, limits=limits.calibration)
    findings |= {"drift": drift, "predictions": predictions, "calibration": [measured.finding]}
    same = parity(served or {})
    findings |= {"parity": same} if same else {}
    order = sorted(found, key=lambda shift: (not shift.matters, -(shift.score.ratio or 0.0), shift.name))
    notes = [season_note(subject, past, limits.windows) for subject, (past, _) in zip(subjects, pasts, strict=True)]
    judged = replace(_verdict(findings, order, measured, reports), notes=[note for note in notes if note])
    return _explained(judged, explain)


def _explained(verdict: DriftVerdict, explain: Explain | None) -> DriftVerdict:
    if explain is None:
        return verdict
    try:
        found = explain(verdict)
    except Exception as error:  # noqa: BLE001  (a verdict without its explanation is still the verdict)
        broken = held("explain_error", "day", f"the causes could not be told ({first_line(error)})")
        findings = {**verdict.findings, "watchers": [*verdict.findings.get("watchers", ()), broken]}
        again = _verdict(findings, verdict.shifts, verdict.calibration, verdict.reports)
        return replace(again, notes=verdict.notes)
    return replace(verdict, diagnosis=found.diagnosis, impact=found.impact)


def _verdict(
    findings: Mapping[str, Sequence[Finding]],
    found: Sequence[ColumnShift],
    measured: Calibration | None,
    reports: Mapping[str, bytes],
) -> DriftVerdict:
    parts = {part: verdict_of(findings[part]) for part in PARTS if part in findings}
    return DriftVerdict(worst(parts.values()), parts, findings, found, measured, reports)


def _history(subject: Subject, day: date, windows: Windows) -> tuple[History, list[Finding]]:
    """The rows to look at; without predictions, and with a HOLD finding, where they cannot be had."""
    if subject.predict is None:
        reason = f"{subject.name}: predictions wait for a champion"
        return history(subject, day, windows), [held(COLD_START, subject.name, reason)]
    try:
        return history(subject, day, windows), []
    except Exception as error:  # noqa: BLE001  (a model that cannot score must hold, whatever broke it)
        reason = f"{subject.name}: the champion could not score the rows ({first_line(error)})"
        broken = held("predictions_error", subject.name, reason)
        return history(replace(subject, predict=None), day, windows), [broken]


def _opinion(
    subject: Subject, past: History, moved: Sequence[ColumnShift], windows: Windows, *, seed: int, sample: int
) -> DriftResult:
    """Evidently on the longest window and the reference before it, with our limits of that window as its thresholds.

    Of the columns that matter and those beyond their limit: its time and its report's size go into a plot each.
    """
    moved = [shift for shift in moved if shift.matters or shift.score.exceeds] or list(moved)
    current = past.span(windows.longest - 1, 0)
    reference = past.span(windows.longest + windows.reference_days - 1, windows.longest)
    if min(len(current), len(reference)) < windows.minimum_rows:
        return DriftResult({}, None)
    return distances(
        current,
        reference,
        [shift.column for shift in moved],
        [shift.column for shift in moved if not shift.is_numeric],
        thresholds={s.column: s.score.longest_limit for s in moved if s.score.longest_limit is not None},
        sample=sample,
        seed=seed,
        subject=subject.name,
    )


def _drift(
    subject: Subject, moved: Sequence[ColumnShift], past: History, before: Counter[str], windows: Windows
) -> list[Finding]:
    if not moved:
        return [held("drift", subject.name, f"{subject.name}: no column is watched")]
    unknown = _cold_start("drift", subject, moved, past, windows)
    return unknown or [_finding("drift", shift, before, windows) for shift in moved]


def _predictions(
    subject: Subject, answers: Sequence[ColumnShift], past: History, before: Counter[str], windows: Windows
) -> list[Finding]:
    if not answers:
        return [held("predictions", subject.name, f"{subject.name}: the champion predicts nothing")]
    broken = [_not_finite(subject, past, shift.column) for shift in answers]
    unknown = _cold_start("predictions", subject, answers, past, windows)
    return [*broken, *(unknown or [_finding("predictions", shift, before, windows) for shift in answers])]


def _cold_start(
    check: str, subject: Subject, moved: Sequence[ColumnShift], past: History, windows: Windows
) -> list[Finding]:
    """HOLD, once for all columns, when none can be judged."""
    if any(shift.score.ratio is not None for shift in moved):
        return []
    reason = f"{subject.name}: {past.n_days} days are known, {windows.days_to_judge} are needed to judge {check}"
    if past.n_days >= windows.days_to_judge:
        reason = f"{subject.name}: too few rows a day to judge {check}"
    return [held(COLD_START, subject.name, reason)]


def _finding(check: str, shift: ColumnShift, before: Counter[str], windows: Windows) -> Finding:
    score = shift.score
    if score.ratio is None:
        reason = f"{shift.name} cannot be judged yet: only {score.past} earlier windows are known"
        return held(COLD_START, shift.subject, reason, column=shift.column)
    days = "today" if score.days == 1 else f"over {score.days} days"
    reason = f"{shift.name} moved by {score.number:.2f} {days} against the {score.reference} (limit {score.limit:.2f})"
    verdict = Verdict.PASS
    if score.exceeds and shift.matters:
        seen = before[shift.name] + 1
        confirmed = seen >= windows.confirm_days
        verdict = Verdict.FAIL if confirmed else Verdict.PASS
        of = f"{seen} of the last {windows.confirm_of} judged days"
        reason += f", on {of}" if confirmed else ", seen once: confirmed if it is still there tomorrow"
    return Finding(check, shift.subject, shift.column, verdict, score.number, score.limit, reason)


def _not_finite(subject: Subject, past: History, name: str) -> Finding:
    today = past.span(0, 0)[name]
    share = float((~today.astype(float).abs().lt(float("inf"))).mean()) if len(today) else 0.0
    verdict = Verdict.FAIL if share > 0 else Verdict.PASS
    reason = f"{subject.name}: {share:.0%} of the predictions {name} is null or infinite"
    return Finding("prediction_finite", subject.name, "", verdict, share, 0.0, reason)


def _disagreements(moved: Sequence[ColumnShift], opinion: DriftResult) -> list[Finding]:
    """Columns that matter and that Evidently sees otherwise: told, and no verdict of their own."""
    found = []
    for shift in moved:
        theirs = opinion.columns.get(shift.column)
        if theirs is None or shift.score.ratio is None or not shift.matters or theirs.drifted == shift.score.exceeds:
            continue
        sees, why = (
            ("drift", "one odd day may carry it")
            if theirs.drifted
            else ("none", "it looks at the longest window as a whole")
        )
        reason = f"{shift.name}: Evidently sees {sees} ({theirs.score:.2f} against {theirs.threshold:.2f}); {why}"
        found.append(
            Finding("second_opinion", shift.subject, shift.column, Verdict.PASS, theirs.score, theirs.threshold, reason)
        )
    return found
