"""Traces: none unless asked for; where they are, a use case is part of what called it, and goes to the collector that is named."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ml import pipeline
from ml.core import tracing
from ml.core.clock import SystemClock
from ml.core.errors import NoData
from ml.core.settings import load_settings
from ml.ledger import stages
from ml.platform import Platform

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2026, 3, 2)
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Told:
    """A tracer, and what was told."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer = provider.get_tracer("test")

    def spans(self) -> dict[str, ReadableSpan]:
        return {one.name: one for one in self._spans.get_finished_spans()}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    monkeypatch.setattr(tracing, "_tracer", lambda: found.tracer)
    return found


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(load_settings(home=tmp_path, market="m"), SystemClock())
    made.db.migrate()
    return made


def run(code: str, **environment: str) -> str:
    """Python of its own, with no variable of OpenTelemetry but these."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT,
        env={**plain, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return done.stdout


OFF = """
import sys
from ml.core import tracing
import ml.pipeline, ml.serving.batcher
with tracing.span("x", a=1):
    print(tracing.on(), repr(tracing.carrier()))
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


@pytest.mark.parametrize(
    "environment", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_without_an_endpoint_nothing_of_opentelemetry_is_even_imported(environment: dict[str, str]) -> None:
    assert run(OFF, **environment).split("\n")[:2] == ["False ''", "[]"]


class Collector(BaseHTTPRequestHandler):
    """Takes what is exported."""

    taken: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    handler = type("Own", (Collector,), {"taken": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.taken
    server.shutdown()
    thread.join()
    server.server_close()


SENDS = f"""
from ml.core import tracing
with tracing.span("outer", parent={CALLER!r}, market="m"):
    with tracing.span("inner", day="2026-03-02"):
        print(tracing.carrier())
"""


def test_spans_go_to_the_collector_that_is_named_below_the_callers_span_with_the_names_of_the_docs(
    collector: tuple[str, list[tuple[str, bytes]]],
) -> None:
    url, taken = collector
    carrier = run(SENDS, OTEL_EXPORTER_OTLP_ENDPOINT=url).strip()
    [(path, data)] = taken
    assert path == "/v1/traces"
    [resource] = ExportTraceServiceRequest.FromString(data).resource_spans
    names = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert names["service.name"] == "bidwright"
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    _, trace, parent, _ = CALLER.split("-")
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    assert spans["outer"].parent_span_id.hex() == parent
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert carrier == f"00-{trace}-{spans['inner'].span_id.hex()}-01"
    assert [(one.key, one.value.string_value) for one in spans["outer"].attributes] == [("bidwright.market", "m")]


def test_a_collector_that_is_gone_costs_no_result() -> None:
    assert run(SENDS, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1").startswith(
        "00-"
    )


def test_a_stage_is_a_span_of_the_task_that_runs_it_and_leaves_its_trace_for_those_who_act_on_it(
    told: Told, platform: Platform
) -> None:
    with told.tracer.start_as_current_span("worker.judge") as task:
        pipeline._stage(platform, "promote", DAY, lambda: {"verdict": "PASS"}, run_id="manual__1")
    stage = told.spans()["promote"]
    assert stage.parent is not None
    assert stage.parent.span_id == task.get_span_context().span_id
    assert dict(stage.attributes or {}) == {
        "bidwright.market": "m", "bidwright.day": "2026-03-02", "bidwright.run_id": "manual__1",
    }  # fmt: skip
    record = stages.get(platform.db, stages.StageKey("m", "promote", DAY))
    assert record is not None
    assert stage.context is not None
    assert record.result["trace"].split("-")[1:3] == [f"{stage.context.trace_id:032x}", f"{stage.context.span_id:016x}"]


def test_a_stage_that_stops_is_a_span_with_its_error(told: Told, platform: Platform) -> None:
    def work() -> dict[str, Any]:
        raise NoData("there is no day")

    with pytest.raises(NoData):
        pipeline._stage(platform, "ingest", DAY, work, run_id="")
    assert told.spans()["ingest"].status.description == "NoData: there is no day"


def test_without_traces_a_stage_keeps_its_result_and_the_code_that_made_it(platform: Platform) -> None:
    pipeline._stage(platform, "promote", DAY, lambda: {"verdict": "PASS"}, run_id="")
    record = stages.get(platform.db, stages.StageKey("m", "promote", DAY))
    assert record is not None
    assert record.result == {"verdict": "PASS", "code": {"commit": "0123456789abcdef" * 2 + "01234567", "clean": True}}


@pytest.mark.parametrize(
    "parent",
    ["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "x" * 8_000, "00-zz-zz-01", "-" * 9, "é-é-é-é"],
)
def test_a_parent_that_is_none_or_wants_no_samples_leaves_no_span(told: Told, parent: str) -> None:
    tracing.finished("x", parent=parent, start_us=1, end_us=2, attributes={})
    assert told.spans() == {}


def test_a_parent_of_the_right_form_that_is_not_hex_begins_a_trace_of_its_own(told: Told) -> None:
    tracing.finished("x", parent=f"00-{'z' * 32}-{'z' * 16}-01", start_us=1, end_us=2, attributes={})
    assert told.spans()["x"].parent is None
