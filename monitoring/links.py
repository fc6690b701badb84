"""Addresses in the Airflow web UI, for mails."""

from __future__ import annotations

from datetime import date
from urllib.parse import quote

from ml.core.settings import Settings
from monitoring.causes import CAUSES

Link = tuple[str, str]
"""What the button says, and where it leads."""


def run_link(settings: Settings, dag: str, run_id: str = "") -> Link | None:
    """The run of a DAG, or the DAG where the run is not known; None without a DAG."""
    if not dag:
        return None
    address = f"{_base(settings)}/dags/{quote(dag, safe='')}"
    if run_id:
        return "Open the run in Airflow", f"{address}/runs/{quote(run_id, safe='')}"
    return f"Open {dag} in Airflow", address


def page_link(settings: Settings) -> Link:
    """The page with the champion, its versions and the open incidents."""
    return "Bid models", f"{_base(settings)}/plugin/bid-models"


def report_link(settings: Settings, day: date) -> Link:
    """The drift report of a market day."""
    return "Drift report", f"{_base(settings)}/bid-models/reports/{day.isoformat()}"


def decision_link(settings: Settings, decision_id: int) -> Link:
    """A gate decision with all its evidence."""
    return "The decision", f"{_base(settings)}/bid-models/decisions/{decision_id}"


def incident_link(settings: Settings, number: int) -> Link:
    """An incident with its story, and what can be done with it."""
    return f"Incident {number}", f"{_base(settings)}/bid-models/incidents/{number}"


def incidents_link(settings: Settings) -> Link:
    """Every incident."""
    return "Incidents", f"{_base(settings)}/bid-models/incidents"


def approval_link(settings: Settings, run_id: str) -> Link:
    """The page with the evidence of a question, where it can be answered too."""
    return "The evidence", f"{_base(settings)}/bid-models/approvals/{quote(run_id, safe='')}"


def answer_link(settings: Settings, run_id: str) -> Link:
    """Airflow's own form of the question."""
    address = f"{_base(settings)}/dags/promote_bid_model/runs/{quote(run_id, safe='')}/tasks/approve/required_actions"
    return "Answer in Airflow", address


def runbook_link(settings: Settings, cause: str) -> Link:
    """What to do about a cause, step by step."""
    place = settings.runbooks.rstrip("/") or f"{_base(settings)}/bid-models/runbooks"
    ending = ".md" if settings.runbooks else ""
    return "Runbook", f"{place}/{quote(runbook_of(cause), safe='')}{ending}"


def runbook_of(cause: str) -> str:
    """The page of a cause in docs/runbooks, without its ending; that of its prefix where the cause has none of its own.

    >>> runbook_of("ingest:schema"), runbook_of("task:train"), runbook_of("meteor")
    ('ingest-schema', 'task', 'unknown')
    """
    prefix = cause.partition(":")[0]
    known = cause if cause in CAUSES else prefix if prefix in CAUSES else "unknown"
    return known.replace(":", "-")


def _base(settings: Settings) -> str:
    return settings.airflow_url.rstrip("/")
