"""Every metric that dashboards and alerts may name: those of the bid service, and those of Airflow that say how the lifecycle runs.

The one list. The service takes names, kinds and help texts from `SERVICE`; a dashboard may only use what is listed here, and a test
holds the list against a scrape of a real service and against Airflow's own registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

PREFIX: Final = "bidwright_"


@dataclass(frozen=True)
class Metric:
    """A metric by its kind, its labels beside `worker`, and what it counts."""

    kind: Kind
    labels: tuple[str, ...]
    meaning: str


SERVICE: Final[Mapping[str, Metric]] = {
    "http_responses_total": Metric("counter", ("status",), "Answers by status of HTTP."),
    "decisions_total": Metric("counter", ("step",), "Requests decided, by step of the ladder."),
    "bids_total": Metric("counter", ("reason",), "Candidates decided, by reason."),
    "arm_requests_total": Metric("counter", ("arm",), "Requests decided, by arm."),
    "late_total": Metric("counter", (), "Requests that missed their deadline and got no bid."),
    "shed_total": Metric("counter", (), "Requests refused with 429."),
    "missing_features_total": Metric("counter", (), "Features that were missing and took their default."),
    "shadow_decisions_total": Metric("counter", (), "Decisions of a shadow, never told."),
    "model_failures_total": Metric("counter", ("arm",), "Failures of the model, by arm."),
    "swaps_total": Metric("counter", (), "Times that what serves was exchanged."),
    "connections_total": Metric("counter", (), "Connections accepted."),
    "events_total": Metric("counter", ("state",), "Decisions by what became of their event."),
    "decision_seconds": Metric("histogram", (), "From the head of a request to its answer."),
    "batch_requests": Metric("histogram", (), "Requests decided together."),
    "now": Metric("gauge", ("what",), "Of this moment: connections, queue, seconds a request takes, ready."),
    "pacing": Metric("gauge", ("partner",), "Multiplier of the bids to a partner, 0 to 1."),
    "spend_expected_micros": Metric(
        "gauge", ("partner",), "What today's bids to a partner are expected to cost, by all workers, in micros."
    ),
    "model_info": Metric("gauge", ("arm", "digest", "generation"), "What serves: 1 for each arm and warm bundle."),
    "refused_info": Metric("gauge", ("digest",), "Bundles and plans that were refused."),
}
"""Of the bid service, at `GET /metrics`, each with the prefix `bidwright_` and the label `worker`."""

GAUGES: Final = ("ready", "connections", "queue", "request_seconds", "generation", "pacing", "paced")
"""Values of the label `what` of `bidwright_now`; `pacing` is the smallest multiplier, `paced` the number of partners that have one."""

AIRFLOW: Final[Mapping[str, str]] = {
    "airflow_dagrun_duration_success_milliseconds": "dagrun.duration.success",
    "airflow_dagrun_duration_failed_milliseconds": "dagrun.duration.failed",
    "airflow_task_duration_milliseconds": "task.duration",
    "airflow_ti_finish_total": "ti.finish",
    "airflow_scheduler_heartbeat_total": "scheduler_heartbeat",
    "airflow_triggerer_heartbeat_total": "triggerer_heartbeat",
    "airflow_triggers_running": "triggers.running",
    "airflow_dag_processing_import_errors": "dag_processing.import_errors",
    "airflow_asset_triggered_dagruns_total": "asset.triggered_dagruns",
    "airflow_deadline_alerts_deadline_missed_total": "deadline_alerts.deadline_missed",
    "airflow_pool_queued_slots": "pool.queued_slots",
    "airflow_executor_queued_tasks": "executor.queued_tasks",
}
"""Of Airflow, sent over OTLP: by the name that Prometheus has for it (`airflow.` in front, dots become underscores, `_total` behind a
counter and `_milliseconds` behind a timer, which is a native histogram), Airflow's own name."""

PARTS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "counter": ("",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}
"""What a metric of each kind is called in a query, behind its name."""


def service_names() -> frozenset[str]:
    """Every name that a query on the service may use."""
    return frozenset(f"{PREFIX}{name}{part}" for name, metric in SERVICE.items() for part in PARTS[metric.kind])


def airflow_names() -> frozenset[str]:
    """Every name that a query on Airflow may use."""
    return frozenset(AIRFLOW)
