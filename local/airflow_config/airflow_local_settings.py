"""What Airflow imports into each of its processes here (its documented place for local settings).

Tasks are forks of the LocalExecutor's workers, which are forks of the scheduler, or of a Celery worker's: what the first of
them has imported, each task has already. A scheduler that hands its tasks to Celery runs none.
"""

import os
import sys

__all__: list[str] = []

_celery = os.environ.get("AIRFLOW__CORE__EXECUTOR") == "CeleryExecutor"

if ("celery" if _celery else "scheduler") in sys.argv[:2]:
    from local.warm import warm_up

    warm_up()
