"""Addresses in the Airflow web UI, for mails."""

from __future__ import annotations

from datetime import date
from urllib.parse import quote

from ml.core.settings import Settings

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


def _base(settings: Settings) -> str:
    return settings.airflow_url.rstrip("/")
