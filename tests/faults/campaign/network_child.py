"""Run in a network namespace: promote over a link that is taken down. Usage: network_child URL MARKET."""

from __future__ import annotations

import sys

from tests.faults.campaign.rows_network import promote_in_namespace

if __name__ == "__main__":
    sys.stdout.write(promote_in_namespace(sys.argv[1], sys.argv[2]) + "\n")
