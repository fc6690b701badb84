"""Market days through the cluster of `make cluster` while something befalls it: cluster_child FOLDER kills|champions|network DAYS [KILLS_A_DAY].

`kills` is the campaign of `local.cluster.campaign` with more parts than the schedulers; `champions` is the
same in the demo's market, whose first champion is made on the first day and whose second on the third; `network` has the workers ask Airflow's API through the
toxic proxy.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from local import env_file
from local.cluster import campaign
from tests.faults.campaign import poisoned_cluster

PARTS = ("scheduler-1", "api-server", "dag-processor", "triggerer")
MARKETS: Mapping[str, Mapping[str, str | int]] = {
    "kills": campaign.MARKETS["small"],
    "champions": campaign.MARKETS["demo"],
}


def main(folder: Path, what: str, days: int, a_day: int) -> None:
    """Run it; the last line is what came of it."""
    env = folder / "env"
    env_file.write(env)
    # Another part of the campaign has other moments: it is no repetition if each day is like one before.
    seed = secrets.randbelow(2**31)
    if what in MARKETS:
        found = campaign.campaign(
            folder / "cluster", days=days, seed=seed, env=env, parts=PARTS, a_day=a_day, market=MARKETS[what]
        )
    else:
        found = poisoned_cluster.campaign(folder / "cluster", days=days, seed=seed, env=env, a_day=a_day)
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
