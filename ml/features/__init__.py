"""Features: what was known of agents, companies, segments and hotels, defined once and joined point in time."""

import os

# Feast 0.67 has no telemetry; the versions that had it read this name when they are imported.
os.environ.setdefault("FEAST_USAGE", "False")
