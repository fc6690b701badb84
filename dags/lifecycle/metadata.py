"""Cleaning Airflow's own database from a task, by Airflow's own command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from ml.core.errors import StoreUnavailable
from ml.core.settings import load_settings

ADDRESS: Final = "BIDWRIGHT_AIRFLOW_DATABASE_URL"
"""Where the address of Airflow's database is given to the task; Airflow hides its own from tasks on purpose."""

_TIMEOUT_S = 1800.0


def clean_metadata(now: datetime | None = None) -> dict[str, Any]:
    """Remove runs, tasks, logs and events that are older than the setting `keep_airflow_days`; idempotent.

    Args:
        now: the present instant; None: that of the machine.

    Raises:
        AirflowSkipException: the setting is 0, or no address is given.
        StoreUnavailable: the command failed, with its last line.
    """
    keep, address = load_settings().keep_airflow_days, os.environ.get(ADDRESS, "")
    if not keep:
        raise AirflowSkipException("the setting keep_airflow_days is 0: everything is kept")
    if not address:
        raise AirflowSkipException(
            f"{ADDRESS} is not set for this worker, so that Airflow's own database is not cleaned"
        )
    before = ((now or datetime.now(UTC)) - timedelta(days=keep)).replace(microsecond=0)
    command = [sys.executable, "-m", "airflow", "db", "clean", "--clean-before-timestamp", before.isoformat(), "--skip-archive", "--yes"]  # fmt: skip
    hidden = {name for name in os.environ if name.endswith("__SQL_ALCHEMY_CONN") or name == ADDRESS}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(  # noqa: S603  (our own interpreter, and no text from outside)
        command,
        env=environment | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise StoreUnavailable(
            f"airflow db clean ended with {done.returncode}: {last.replace(address, '...')}",
            next=f"check {ADDRESS} and the database; the next run tries again",
        )
    return {"before": before.isoformat()}
