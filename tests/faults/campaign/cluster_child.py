"""Market days through the cluster of `make cluster`, one of Airflow's parts killed on each: cluster_child FOLDER DAYS.

It is the campaign of `local.cluster.campaign` with more parts than the schedulers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from local import env_file
from local.cluster import campaign

PARTS = ("scheduler-1", "api-server", "dag-processor", "triggerer")


def main(folder: Path, days: int) -> None:
    """Run it; the last line is what came of it."""
    env = folder / "env"
    env_file.write(env)
    campaign.SCHEDULERS = PARTS  # type: ignore[misc, assignment]
    sys.stdout.write("\n" + json.dumps(campaign.campaign(folder / "cluster", days=days, seed=7, env=env)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
