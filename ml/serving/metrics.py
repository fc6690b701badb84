"""What a worker counts: plain numbers in the hot path, turned into Prometheus text only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

from ml.serving.answers import REASON_NAMES
from ml.serving.joints import STEP_NAMES
from monitoring.metric_names import PREFIX, SERVICE

LATENCY_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.05, 0.1, 0.25, 1.0)
BATCH = (1, 2, 4, 8, 16, 32)

State = Mapping[str, Any]
"""A worker's numbers as JSON has them; workers show each other theirs, so that any of them can answer for all."""


class Counters:
    """The numbers of one worker; used from its loop alone."""

    def __init__(self) -> None:
        self.status: dict[int, int] = {}
        self.steps = [0] * len(STEP_NAMES)
        self.reasons = [0] * len(REASON_NAMES)
        self.arms: dict[str, int] = {}
        self.latency = [0] * (len(LATENCY_S) + 1)
        self.latency_sum = 0.0
        self.batches = [0] * (len(BATCH) + 1)
        self.batched = 0
        self.late = 0
        self.shed = 0
        self.missing = 0
        self.shadowed = 0
        self.swaps = 0
        self.accepted = 0

    def answered(self, status: int) -> None:
        """An answer of HTTP was given."""
        self.status[status] = self.status.get(status, 0) + 1

    def decided(self, seconds: float, step: int, reasons: list[int], arm: str, missing: int) -> None:
        """A request was decided."""
        self.latency[bisect_left(LATENCY_S, seconds)] += 1
        self.latency_sum += seconds
        self.steps[step] += 1
        self.arms[arm] = self.arms.get(arm, 0) + 1
        self.missing += missing
        first = reasons[0]
        if reasons.count(first) == len(reasons):
            self.reasons[first] += len(reasons)
        else:
            for reason in reasons:
                self.reasons[reason] += 1

    def batch(self, size: int) -> None:
        """So many requests were decided together."""
        self.batches[bisect_left(BATCH, size)] += 1
        self.batched += size

    def state(self) -> dict[str, Any]:
        """All numbers, as JSON has them."""
        return {
            **vars(self),
            "status": {str(code): count for code, count in self.status.items()},
            "arms": dict(self.arms),
        }


def prometheus(workers: Mapping[str, State]) -> bytes:
    """The text that Prometheus reads: every number of every worker, by the worker's name.

    Args:
        workers: per worker its `Counters.state`, and beside these what the server adds (`gauges`, `events`, `failures`,
            `models`, `refused`, `pacing` and `spend_expected`).
    """
    lines: list[str] = []
    for name, rows in _families(workers):
        metric, full = SERVICE[name], PREFIX + name
        lines += [f"# HELP {full} {metric.meaning}", f"# TYPE {full} {metric.kind}"]
        lines += [f"{full}{suffix}{_labels(labels)} {value}" for suffix, labels, value in rows]
    return ("\n".join(lines) + "\n").encode()


Row = tuple[str, dict[str, str], float]
Family = tuple[str, Iterable[Row]]


def _families(workers: Mapping[str, State]) -> Iterable[Family]:
    def each(key: str, label: str, names: tuple[str, ...] | None = None) -> Iterable[Row]:
        for worker, state in workers.items():
            # During a rolling restart a worker of another version may show other numbers.
            pairs = state.get(key, {}).items() if names is None else zip(names, state.get(key, ()), strict=False)
            for name, value in pairs:
                yield "", {"worker": worker, label: str(name)}, value

    def one(key: str) -> Iterable[Row]:
        for worker, state in workers.items():
            yield "", {"worker": worker}, state.get(key, 0)

    yield "http_responses_total", each("status", "status")
    yield "decisions_total", each("steps", "step", STEP_NAMES)
    yield "bids_total", each("reasons", "reason", REASON_NAMES)
    yield "arm_requests_total", each("arms", "arm")
    yield "late_total", one("late")
    yield "shed_total", one("shed")
    yield "missing_features_total", one("missing")
    yield "shadow_decisions_total", one("shadowed")
    yield "model_failures_total", each("failures", "arm")
    yield "swaps_total", one("swaps")
    yield "connections_total", one("accepted")
    yield "events_total", each("events", "state")
    yield "decision_seconds", _histograms(workers, "latency", LATENCY_S, "latency_sum")
    yield "batch_requests", _histograms(workers, "batches", BATCH, "batched")
    yield "now", each("gauges", "what")
    yield "pacing", each("pacing", "partner")
    yield "spend_expected_micros", each("spend_expected", "partner")
    yield "model_info", _infos(workers, "models")
    yield "refused_info", _infos(workers, "refused")


def _histograms(workers: Mapping[str, State], key: str, tops: tuple[float, ...], total: str) -> Iterable[Row]:
    for worker, state in workers.items():
        so_far = 0
        if len(state.get(key, ())) != len(tops) + 1:
            continue
        for top, count in zip((*tops, "+Inf"), state[key], strict=True):
            so_far += count
            yield "_bucket", {"worker": worker, "le": str(top)}, so_far
        yield "_sum", {"worker": worker}, state.get(total, 0)
        yield "_count", {"worker": worker}, so_far


def _infos(workers: Mapping[str, State], key: str) -> Iterable[Row]:
    for worker, state in workers.items():
        for labels in state.get(key, ()):
            yield "", {"worker": worker, **{name: str(value) for name, value in labels.items()}}, 1


def _labels(labels: Mapping[str, str]) -> str:
    """As Prometheus writes them: backslash, quote and line end escaped."""
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
