"""What Airflow imports into each of its processes here (its documented place for local settings).

Tasks are forks of the scheduler's workers, which are forks of the scheduler: what it has imported, each task has already.
"""

import sys

__all__: list[str] = []

if "scheduler" in sys.argv:
    from local.warm import warm_up

    warm_up()
