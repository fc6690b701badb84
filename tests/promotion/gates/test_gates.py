"""What holds for every gate: refusal of missing evidence, of NaN, of its own failure; and composition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import pytest

from ml.core.digests import canonical_json
from ml.core.verdict import Verdict
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence
from ml.promotion.gates import GATES, Gate, GateResult, Gates
from ml.promotion.gates.base import ReadsModels


@dataclass(frozen=True)
class Always(Gate):
    name: ClassVar[str] = "always"
    reads: ClassVar[tuple[str, ...]] = ("day",)
    verdict: Verdict = Verdict.PASS
    number: float | None = 1.0

    def examine(self, _evidence: Evidence) -> GateResult:
        return self.say(self.verdict, "as told", number=self.number)


@dataclass(frozen=True)
class Broken(Gate):
    name: ClassVar[str] = "broken"
    reads: ClassVar[tuple[str, ...]] = ()

    def examine(self, _evidence: Evidence) -> GateResult:
        raise ZeroDivisionError("float division by zero")


@pytest.mark.parametrize("name", GATES)
def test_a_gate_is_listed_under_its_name_and_passes_good_evidence(name: str, good: Evidence) -> None:
    result = GATES[name]().judge(good)
    assert (result.gate, result.verdict) == (name, Verdict.PASS)
    assert result.number is not None


@pytest.mark.parametrize("name", GATES)
def test_a_gate_without_evidence_holds(name: str, good: Evidence) -> None:
    result = GATES[name]().judge(Evidence(day=good.day, candidate=good.candidate))
    assert result.verdict is Verdict.HOLD
    assert "not measured" in result.reason


@pytest.mark.parametrize("name", [n for n in GATES if issubclass(GATES[n], ReadsModels)])
def test_a_gate_about_models_holds_when_a_model_of_the_bundle_was_not_measured(name: str, good: Evidence) -> None:
    result = GATES[name]().judge(replace(good, model_names=("value", "conversion")))
    assert result.verdict is Verdict.HOLD
    assert result.reason.startswith("conversion:")


@pytest.mark.parametrize("name", GATES)
def test_every_number_that_a_gate_read_is_in_its_result(name: str, good: Evidence) -> None:
    record = GATES[name]().judge(good).as_json()
    assert json.loads(canonical_json(record)) == record
    assert record["numbers"]
    assert set(record["limits"]) == {item.name for item in fields(GATES[name])}


def spoiled(value: Any, bad: float, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every copy of a value with one float in it replaced, and where that was."""
    if isinstance(value, float):
        yield path, bad
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            for where, worse in spoiled(getattr(value, item.name), bad, f"{path}.{item.name}"):
                yield where, replace(value, **{item.name: worse})
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            for where, worse in spoiled(part, bad, f"{path}[{place}]"):
                yield where, (*value[:place], worse, *value[place + 1 :])


@pytest.mark.ml_test_score("monitor5")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_holds_wherever_it_stands(good: Evidence, bad: float) -> None:
    """Each float of the evidence in turn, but for those that no gate reads: the baseline's AUC while there is a
    champion, and its losses other than the one that is compared."""
    gates = Gates(tuple(gate() for gate in GATES.values()))
    losses = [f".models[0].losses[{n}].{name}" for n in (0, 1) for name in ("baseline", "over_baseline")]
    unread = (".models[0].baseline_auc", *losses)
    tried = 0
    for path, evidence in spoiled(good, bad):
        if path.startswith(unread):
            continue
        tried += 1
        verdict, _ = gates.judge(evidence)
        assert verdict is Verdict.HOLD, path
    assert tried == 142


def test_a_gate_that_raises_holds_and_says_why(good: Evidence) -> None:
    result = Broken().judge(good)
    assert result.verdict is Verdict.HOLD
    assert result.reason == "the gate itself failed: ZeroDivisionError: float division by zero"


@pytest.mark.parametrize("number", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("claim", [Verdict.PASS, Verdict.FAIL])
def test_a_claim_without_a_finite_number_becomes_hold(good: Evidence, claim: Verdict, number: float | None) -> None:
    assert Always(verdict=claim, number=number).judge(good).verdict is Verdict.HOLD


def test_gates_compose_in_any_grouping_and_keep_their_order() -> None:
    a, b, c = Always(), Broken(), Always(number=2.0)
    assert (a & b) & c == a & (b & c) == Gates((a, b, c))


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ([Verdict.PASS, Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.HOLD], Verdict.HOLD),
        ([Verdict.FAIL, Verdict.HOLD], Verdict.FAIL),
        ([Verdict.HOLD, Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
        ([], Verdict.HOLD),
    ],
    ids=str,
)
def test_fail_beats_hold_beats_pass_and_nothing_holds(good: Evidence, verdicts: list[Verdict], worst: Verdict) -> None:
    verdict, results = Gates(tuple(Always(verdict=v) for v in verdicts)).judge(good)
    assert verdict is worst
    assert [result.verdict for result in results] == verdicts


def test_the_record_shows_people_rounded_numbers_and_keeps_the_exact_ones(good: Evidence) -> None:
    ratio = Interval(0.9612345678, 1.0012345678, 1.0612345678, blocks=14, rows=2_000)
    evidence = replace(good, models=(replace(good.models[0], calibration=ratio),))
    record = GATES["calibration"]().judge(evidence).as_json()
    assert (record["number"], record["interval"]) == (1.00123, [0.961235, 1.06123])
    assert record["numbers"]["models"]["value"]["calibration"]["low"] == 0.9612345678
