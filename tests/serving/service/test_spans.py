"""Spans of requests: for callers who send a sampled trace, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.core import tracing
from tests.core.test_tracing import CALLER, Told
from tests.serving.service.conftest import Served, body, until


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    monkeypatch.setattr(tracing, "_tracer", lambda: found.tracer)
    return found


@pytest.fixture
def traced(tmp_path: Path, told: Told) -> Iterator[Served]:
    """A worker with traces on."""
    served = Served(tmp_path).ready()
    yield served
    served.close()


def test_a_request_with_a_sampled_trace_is_a_span_of_it_that_names_its_decision(traced: Served, told: Told) -> None:
    answer = traced.client.post("/v1/bids", json=body("x", "y"), headers={"traceparent": CALLER}).json()
    span = until(lambda: told.spans().get("POST /v1/bids"))
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == CALLER[3:-3]
    assert dict(span.attributes or {}) == {
        "bidwright.decision": answer["trace_id"], "bidwright.arm": "stable", "bidwright.step": "model",
        "bidwright.generation": 1, "bidwright.version": answer["version"], "bidwright.candidates": 2,
    }  # fmt: skip
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time >= span.start_time


@pytest.mark.parametrize("trace", [None, CALLER[:-2] + "00", "nonsense", "\x80" * 60, "1" * 4_000])
def test_a_request_without_one_is_answered_and_leaves_no_span(traced: Served, told: Told, trace: str | None) -> None:
    headers = {} if trace is None else {"traceparent": trace.encode("latin-1")}
    assert traced.client.post("/v1/bids", json=body(), headers=headers).status_code == 200
    assert "POST /v1/bids" not in told.spans()


def test_the_trace_of_one_request_of_a_connection_is_not_that_of_the_next(traced: Served, told: Told) -> None:
    for headers in ({"traceparent": CALLER}, {}):
        assert traced.client.post("/v1/bids", json=body(), headers=headers).status_code == 200
    assert list(told.spans()).count("POST /v1/bids") == 1


def test_taking_a_champion_over_is_a_span(traced: Served, told: Told) -> None:
    span = until(lambda: told.spans().get("serve.take_over"))
    assert (span.attributes or {})["bidwright.generation"] == 1


def test_with_traces_off_a_trace_that_is_sent_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("traces are off")

    monkeypatch.setattr("ml.serving.batcher.tell", never)
    served = Served(tmp_path).ready()
    try:
        assert served.client.post("/v1/bids", json=body(), headers={"traceparent": CALLER}).status_code == 200
    finally:
        served.close()
