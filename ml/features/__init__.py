"""Features: what was known of agents, companies, segments and hotels, defined once and joined point in time."""
