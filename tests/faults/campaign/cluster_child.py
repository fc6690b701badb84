"""Market days through the cluster of `make cluster`, Airflow's parts killed on each: cluster_child FOLDER DAYS KILLS_A_DAY.

It is the campaign of `local.cluster.campaign` with more parts than the schedulers.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

from local import env_file
from local.cluster import campaign

PARTS = ("scheduler-1", "api-server", "dag-processor", "triggerer")


def main(folder: Path, days: int, a_day: int) -> None:
    """Run it; the last line is what came of it."""
    env = folder / "env"
    env_file.write(env)
    # Another part of the campaign has other moments: it is no repetition if each day is like one before.
    found = campaign.campaign(
        folder / "cluster", days=days, seed=secrets.randbelow(2**31), env=env, parts=PARTS, a_day=a_day
    )
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
