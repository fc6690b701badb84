"""The last step of `make sbom`: that every package of the lock for this machine is in the bill of materials, in its version."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

_OURS = {"bidwright", "pip", "setuptools", "uv", "wheel"}
"""What `make install` installs beside the lock."""


def normal(name: str) -> str:
    """A package's name as indexes compare it (PEP 503).

    >>> normal("Apache_Airflow.Core")
    'apache-airflow-core'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> set[tuple[str, str]]:
    """Name and version of each package of a lock; of several versions where it holds for several Pythons."""
    return {
        (normal(name), version)
        for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", text, re.MULTILINE)
    }


def listed(bill: str) -> dict[str, str]:
    """Name and version of each component of a CycloneDX bill."""
    return {normal(one["name"]): one["version"] for one in json.loads(bill)["components"]}


def missing(bill: dict[str, str], lock: set[tuple[str, str]], installed: set[tuple[str, str]]) -> list[str]:
    """Packages of the lock that are installed here in that version and not in the bill."""
    return sorted(f"{name}=={version}" for name, version in lock & installed if bill.get(name) != version)


def main(arguments: list[str]) -> int:
    """Compare the bill (first argument) with the lock (second)."""
    bill, lock = listed(Path(arguments[0]).read_text()), locked(Path(arguments[1]).read_text())
    here = {(normal(one.metadata["Name"]), one.version) for one in distributions()}
    gone = missing(bill, lock, here)
    print(f"{arguments[0]}: {len(bill)} components; {len(gone)} of the lock are missing {', '.join(gone[:5])}".rstrip())  # noqa: T201
    strangers = sorted(name for name, version in here if (name, version) not in lock and name not in _OURS)
    if strangers:
        print(f"installed, and not by the lock: {', '.join(strangers)}")  # noqa: T201
    return int(bool(gone) or not bill)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
