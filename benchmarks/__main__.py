"""Run every benchmark, each in a process of its own, so that none warms up or slows down another."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import benchmarks

_NO_BENCHMARKS = {
    "canary_world",
    "bid_service_canary",
    "bid_service_faults",
    "bid_service_peers",
    "bid_service_promoter",
    "bid_service_world",
    "common",
    "compare",
    "detection_page",
    "detection_peer",
    "detection_rows",
    "detection_summary",
    "detection_truth",
    "detection_world",
    "feature_store_online",
    "load",
    "load_bodies",
    "load_hostile",
    "load_wire",
    "off_policy_log",
    "off_policy_models",
    "pages_world",
    "policy_scenarios",
    "promotion_world",
    "soak",  # two hours by itself: python -m benchmarks.soak
    "soak_hand",
    "__main__",
}


def names() -> list[str]:
    """Every benchmark of this package, sorted."""
    return sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in _NO_BENCHMARKS
    )


def main(arguments: list[str]) -> int:
    """Run them in turn with these arguments; returns how many failed."""
    failed = [
        name
        for name in names()
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False).returncode
    ]
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
