"""What Airflow imports into each of its processes here (its documented place for local settings).

Tasks are forks of the LocalExecutor's workers, which are forks of the scheduler, or of a Celery worker's: what the first of
them has imported, each task has already. A scheduler that hands its tasks to Celery runs none, and the workers of the special
queues have one slot and a task a day: they are not worth 400 MiB each.
"""

import os
import sys

__all__: list[str] = []

_RUNS_TASKS = (
    {"celery", "default"} <= set(sys.argv)
    if os.environ.get("AIRFLOW__CORE__EXECUTOR") == "CeleryExecutor"
    else "scheduler" in sys.argv
)

if _RUNS_TASKS:
    from local.warm import warm_up

    warm_up()
