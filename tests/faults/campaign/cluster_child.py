"""Market days through the cluster of `make cluster`, one of Airflow's parts killed on each: cluster_child FOLDER DAYS.

It is the campaign of `local.cluster.campaign` with more parts than the schedulers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.common import ROOT

PARTS = ("scheduler-1", "api-server", "dag-processor", "triggerer")


def main(folder: Path, days: int) -> None:
    """Run it; the last line is what came of it."""
    from local.cluster import campaign  # type: ignore[import-not-found, unused-ignore]

    folder.mkdir(parents=True)
    env = folder.with_name("env")
    subprocess.run([sys.executable, "-m", "local", "env", "--env", str(env)], cwd=ROOT, check=True, stdout=sys.stderr)
    campaign.SCHEDULERS = PARTS
    sys.stdout.write("\n" + json.dumps(campaign.campaign(folder, days=days, seed=7, env=env)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
