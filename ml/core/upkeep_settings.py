"""The settings that keep the platform itself in order: how long things are kept, how long a task may work,
and how far a clock may be off."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class UpkeepSettings(BaseSettings):
    """Part of `ml.core.settings.Settings`, which reads them."""

    clock_tolerance_seconds: float = Field(
        default=120.0,
        ge=1,
        le=3600,
        description="a machine whose clock is further from that of the database or the S3 server is refused",
    )
    task_hours: float = Field(
        3.0, ge=0, le=168, description="a task that works longer than this is stopped and tried again; 0: none is"
    )
    keep_traffic_days: int = Field(
        0, ge=0, description="market days of opportunities and clicks in the lake; 0: for ever, as for all of these"
    )
    keep_bookings_days: int = Field(
        0, ge=0, description="market days of bookings, their events, settlements and hotels in the lake"
    )
    keep_features_days: int = Field(0, ge=0, description="market days of feature tables in the lake")
    keep_decisions_days: int = Field(
        90, ge=0, description="market days of the bid service's decisions in the lake, which can be explained so long"
    )
    keep_quarantine_days: int = Field(90, ge=0, description="market days of rows that broke the contract")
    keep_reports_days: int = Field(
        400, ge=0, description="market days of drift reports; their verdicts and numbers stay in the ledger"
    )
    keep_replaced_days: int = Field(90, ge=0, description="market days of bids that a kill switch replaced")
    keep_mlflow_days: int = Field(400, ge=0, description="days of MLflow runs; those of champions stay")
    keep_airflow_days: int = Field(90, ge=0, description="days of runs, tasks and logs in Airflow's database")
    clean_up_schedule: str = Field(
        "30 5 * * *", description="cron (UTC) at which old files are removed and space is measured; none: only by hand"
    )
