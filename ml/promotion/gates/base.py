"""A gate: limits as fields, one judgement, composable with `&`.

    GATES = ContractAndFreshness() & LabelMaturity(min_evaluation_rows=500) & Leakage()

A gate that misses a number, meets NaN or infinity, or raises, holds. It cannot do otherwise: subclasses only
write `examine`, and `judge` guards it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any, ClassVar, TypeVar, final

from ml.core.verdict import Verdict, worst
from ml.evaluation.interval import LEVEL, Interval
from ml.promotion.evidence import Evidence, ModelEvidence, to_json

T = TypeVar("T")


class MissingEvidence(Exception):
    """A number that the gate needs was not measured, or is not finite."""


def need(value: T | None, name: str) -> T:
    """The value, if it was measured and is finite; else the gate holds and says which was missing."""
    if value is None:
        raise MissingEvidence(f"{name} was not measured")
    if isinstance(value, Real) and not math.isfinite(value):
        raise MissingEvidence(f"{name} is {value}, not a finite number")
    if isinstance(value, Interval) and not value.finite:
        raise MissingEvidence(f"{name} has no finite interval ({value.rows} rows in {value.blocks} blocks)")
    return value


@dataclass(frozen=True)
class GateResult:
    """What a gate says: its verdict, the number it rests on and that number's limit, and why.

    `sample` is the number of rows or days behind the number. `numbers` is all the evidence that the gate read,
    as JSON, and `limits` are its own. `waived` says who let a gate that did not pass be passed over, why and until when.
    """

    gate: str
    verdict: Verdict
    reason: str
    number: float | None = None
    threshold: float | None = None
    interval: Interval | None = None
    sample: int | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    waived: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the decision; `number`, `threshold` and `interval` are rounded for people, `numbers` is exact."""
        told = {
            "gate": self.gate,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "number": _round(self.number),
            "threshold": _round(self.threshold),
            "interval": None if self.interval is None else [_round(self.interval.low), _round(self.interval.high)],
            "sample": self.sample,
            "numbers": self.numbers,
            "limits": self.limits,
        }
        return told if self.waived is None else told | {"waived": self.waived}


@dataclass(frozen=True)
class Gate(ABC):
    """One condition of a promotion. `name` is its key in `GATES`; `reads` names the parts of the evidence it needs."""

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]

    @abstractmethod
    def examine(self, evidence: Evidence) -> GateResult:
        """Judge complete evidence; use `need` for every number, and `verdict` for the answer."""

    @final
    def judge(self, evidence: Evidence) -> GateResult:
        """The result; HOLD when the evidence is incomplete or the gate itself fails. Never raises."""
        result = self._guarded(evidence)
        if result.verdict is not Verdict.HOLD and not _sound(result):
            result = self.say(Verdict.HOLD, f"{result.verdict} without a finite number: {result.reason}")
        return replace(result, gate=self.name, numbers=self.numbers(evidence), limits=self.limits())

    def say(self, verdict: Verdict, reason: str, **numbers: Any) -> GateResult:
        """A result of this gate; the keywords are those of `GateResult`."""
        return GateResult(self.name, verdict, reason, **numbers)

    def limits(self) -> dict[str, Any]:
        """The gate's limits by name."""
        return {item.name: to_json(getattr(self, item.name)) for item in fields(self)}

    def numbers(self, evidence: Evidence) -> dict[str, Any]:
        """The evidence that the gate reads, as JSON."""
        return {name: to_json(getattr(evidence, name)) for name in self.reads}

    def __and__(self, other: Gate | Gates) -> Gates:
        return Gates((self,)) & other

    def part(self, subject: str, examine: Callable[[], GateResult]) -> GateResult:
        """The result about one of several subjects, named in its reason; HOLD when it misses a number."""
        try:
            result = examine()
        except MissingEvidence as missing:
            return self.say(Verdict.HOLD, f"{subject}: {missing}")
        return replace(result, reason=f"{subject}: {result.reason}")

    def _guarded(self, evidence: Evidence) -> GateResult:
        try:
            return self.examine(evidence)
        except MissingEvidence as missing:
            return self.say(Verdict.HOLD, str(missing))
        except Exception as error:  # noqa: BLE001  (fail closed: a gate that cannot judge holds, whatever the cause)
            return self.say(Verdict.HOLD, f"the gate itself failed: {type(error).__name__}: {error}")


def severest(results: Iterable[GateResult], *, missing: str) -> GateResult:
    """The result with the worst verdict, the first of several; of none at all, the gate holds for `missing`."""
    found = list(results)
    if not found:
        raise MissingEvidence(f"{missing} was not measured")
    verdict = worst(result.verdict for result in found)
    return next(result for result in found if result.verdict is verdict)


def each_model(gate: Gate, evidence: Evidence, examine: Callable[[ModelEvidence], GateResult]) -> GateResult:
    """The severest result over the models of the bundle; HOLD for one that has no evidence, or without any."""
    measured = {model.name: model for model in evidence.models}

    def one(name: str) -> GateResult:
        return gate.part(name, lambda: examine(need(measured.get(name), "its evidence")))

    return severest(map(one, evidence.model_names), missing="the list of models in the bundle")


@dataclass(frozen=True)
class ReadsModels(Gate):
    """A gate that reads fields of each model of the bundle: `model_fields`, besides what it `reads`."""

    reads: ClassVar[tuple[str, ...]] = ()
    model_fields: ClassVar[tuple[str, ...]]

    def numbers(self, evidence: Evidence) -> dict[str, Any]:
        """What the gate reads, and under `models` its fields of each model."""
        models = {
            model.name: {name: to_json(getattr(model, name)) for name in self.model_fields} for model in evidence.models
        }
        return {**super().numbers(evidence), "models": models}


@dataclass(frozen=True)
class ModelGate(ReadsModels):
    """A gate that each model of the bundle must pass by itself."""

    @abstractmethod
    def examine_model(self, model: ModelEvidence) -> GateResult:
        """Judge one model; use `need` for every number."""

    def examine(self, evidence: Evidence) -> GateResult:
        """The severest of the models' results."""
        return each_model(self, evidence, self.examine_model)


@dataclass(frozen=True)
class IntervalGate(ModelGate):
    """A gate that rests on an interval, of at least this many blocks and rows and at least this level."""

    min_blocks: int = 7
    min_rows: int = 300
    level: float = LEVEL

    def usable(self, interval: Interval | None, name: str) -> Interval:
        """The interval, if it was measured, is finite and has the level; else the gate holds."""
        found = need(interval, name)
        if not self.level <= found.level < 1:
            raise MissingEvidence(f"{name} has an interval of level {found.level}; {self.level} is needed")
        return found

    def too_few(self, interval: Interval) -> str:
        """An addition to the reason where the sample is too small; else nothing."""
        if interval.enough(min_blocks=self.min_blocks, min_rows=self.min_rows):
            return ""
        return f"; {interval.rows} rows in {interval.blocks} blocks are too few"


@dataclass(frozen=True)
class Gates:
    """Several gates of which all must pass."""

    gates: tuple[Gate, ...]

    def __and__(self, other: Gate | Gates) -> Gates:
        return Gates(self.gates + (other.gates if isinstance(other, Gates) else (other,)))

    def __iter__(self) -> Iterator[Gate]:
        return iter(self.gates)

    def judge(self, evidence: Evidence) -> tuple[Verdict, list[GateResult]]:
        """Every gate's result, and the worst verdict of them: FAIL before HOLD before PASS; HOLD without gates."""
        results = [gate.judge(evidence) for gate in self.gates]
        return worst(result.verdict for result in results), results


def _sound(result: GateResult) -> bool:
    """Whether a claim rests on a finite number."""
    number, interval = result.number, result.interval
    return number is not None and math.isfinite(number) and (interval is None or interval.finite)


def _round(number: float | None) -> float | str | None:
    """Six significant digits, for people."""
    if number is None:
        return None
    return float(f"{number:.6g}") if math.isfinite(number) else str(float(number))
