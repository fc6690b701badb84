"""With Airflow's own traces on, a step of the lifecycle is a span of the task that runs it, and both reach one collector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.core.test_tracing import CALLER, collector

__all__ = ["collector"]

ROOT = Path(__file__).resolve().parents[2]

TASK = f"""
import sys
from types import SimpleNamespace
from opentelemetry import trace
import airflow.settings
airflow.settings.initialize()
from airflow.sdk.execution_time.task_runner import _make_task_span
from lifecycle.stages import run_stage
from ml import pipeline
from ml.platform import Platform

Platform.from_environment().db.migrate()
ti = SimpleNamespace(context_carrier={{"traceparent": {CALLER!r}}}, task_id="judge", dag_id="promote_bid_model",
                     run_id="r1", try_number=1, map_index=-1)
run = SimpleNamespace(dag_id="promote_bid_model", run_id="r1", partition_key="2026-03-02")

def use_case(platform, day, *, run_id):
    return pipeline._stage(platform, "promote", day, lambda: {{"verdict": "HOLD"}}, run_id=run_id)

with _make_task_span(SimpleNamespace(ti=ti)):
    run_stage(use_case, run)
trace.get_tracer_provider().force_flush()
"""


def test_a_dag_run_its_task_and_its_step_are_one_trace_at_one_collector(
    collector: tuple[str, list[tuple[str, bytes]]], tmp_path: Path
) -> None:
    url, taken = collector
    subprocess.run(
        [sys.executable, "-c", TASK], check=True, capture_output=True, cwd=ROOT,
        env={
            **os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'dags'}", "AIRFLOW__TRACES__OTEL_ON": "True",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp_proto_http", "BIDWRIGHT_HOME": str(tmp_path),
        },
    )  # fmt: skip
    spans = {
        span.name: span
        for path, data in taken
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    _, run, dag_run, _ = CALLER.split("-")
    assert {span.trace_id.hex() for span in spans.values()} == {run}
    assert spans["worker.judge"].parent_span_id.hex() == dag_run
    assert spans["promote"].parent_span_id == spans["worker.judge"].span_id
