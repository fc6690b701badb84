"""What of the lock goes into an image: the same versions and hashes as `requirements.txt`, less what only tests and the house need.

    python -m local.image_lock --to build/image

writes a lock file per image. Nothing is resolved anew: which package needs which stands in the lock itself (`# via`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.markers import Marker

from ml.core.errors import BidwrightError, UsageError

REPOSITORY: Final = Path(__file__).resolve().parent.parent

TOOLS: Final = "tests and house tools"
"""The heading in requirements.in below which nothing is needed where the platform runs."""

SPARK: Final = frozenset({"pyspark"})
"""Half a gigabyte that only the image with Java needs."""

_ASKED: Final = "-r requirements.in"


@dataclass(frozen=True)
class Package:
    """A package of the lock.

    Attributes:
        name: as the lock writes it.
        text: its lines, hashes and all.
        wanted_by: the packages that need it; `-r requirements.in` where we asked for it ourselves.
    """

    name: str
    text: str
    wanted_by: frozenset[str]


def packages(lock: str) -> list[Package]:
    """Every package of a lock file, in its order; one that has several versions by marker is there several times."""
    return [
        Package(
            name=block.split("==", 1)[0],
            text="\n".join(line for line in block.splitlines() if not line.lstrip().startswith("#")),
            wanted_by=frozenset(_vias(block)),
        )
        for block in re.split(r"\n(?=[a-zA-Z0-9])", lock)
        if not block.startswith("#")
    ]


def _vias(block: str) -> Iterator[str]:
    notes = (line.strip().removeprefix("#").strip() for line in block.splitlines() if line.lstrip().startswith("#"))
    yield from filter(None, (note.removeprefix("via").strip() for note in notes))


def asked(requirements: str) -> dict[str, str]:
    """The heading below which each package of a requirements.in stands, by its name.

    >>> asked("# Airflow\\nApache_Airflow==3\\n# tests and house tools\\nmoto[server]\\n")
    {'apache-airflow': 'Airflow', 'moto': 'tests and house tools'}
    """
    found, heading = {}, ""
    for line in requirements.splitlines():
        if line.startswith("#"):
            heading = line.removeprefix("#").strip()
        elif name := re.match(r"[A-Za-z0-9._-]+", line):
            found[re.sub(r"[-_.]+", "-", name[0]).lower()] = heading
    return found


def closure(lock: Collection[Package], roots: Collection[str]) -> list[Package]:
    """The packages that the roots need, themselves included, in the order of the lock.

    Raises:
        UsageError: the lock does not have a root.
    """
    known = {package.name for package in lock}
    if missing := sorted(set(roots) - known):
        raise UsageError(f"the lock has no {missing[0]}", next="run: make lock")
    kept = set(roots)
    while more := {package.name for package in lock if package.name not in kept and package.wanted_by & kept}:
        kept |= more
    return [package for package in lock if package.name in kept]


def locks(lock: str, requirements: str) -> Mapping[str, str]:
    """The text of each image's lock: `platform`, `spark` (what it has beyond the platform) and `s3` (the stand-in for S3)."""
    every = packages(lock)
    headings = asked(requirements)
    if TOOLS not in headings.values():
        raise UsageError(f"requirements.in has no heading {TOOLS!r}", next="the tools stand below it")
    wanted = {name for name, heading in headings.items() if heading != TOOLS}
    platform = closure(every, wanted - SPARK)
    here = {package.name for package in platform}
    spark = [package for package in closure(every, SPARK) if package.name not in here]
    chosen = {"platform": platform, "spark": spark, "s3": closure(every, {"moto"})}
    return {name: "\n".join(package.text for package in kept) + "\n" for name, kept in chosen.items()}


def to_fetch(lock: str, *, python: str = "3.11") -> str:
    """The same lock without conditions, less what no Linux with this Python needs: what a folder of wheels must hold.

    Bases differ in the last number of their Python, and a package may be wanted below one of them alone.
    """
    versions = (f"{python}.0", f"{python}.99")
    places = [
        {"python_version": python, "python_full_version": version, "sys_platform": "linux", "platform_system": "Linux",
         "os_name": "posix", "platform_machine": "x86_64", "implementation_name": "cpython",
         "platform_python_implementation": "CPython"}
        for version in versions
    ]  # fmt: skip
    kept = []
    for package in packages(lock):
        head, _, hashes = package.text.partition("\n")
        wanted, semicolon, marker = head.removesuffix("\\").partition(";")
        if not semicolon or any(Marker(marker.strip()).evaluate(place) for place in places):
            kept.append(f"{wanted.strip()} \\\n{hashes}")
    return "\n".join(kept) + "\n"


def main() -> int:
    """Write the lock of each image into a folder."""
    parser = argparse.ArgumentParser(prog="python -m local.image_lock", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="folder; made if it is missing")
    folder: Path = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    made = locks((REPOSITORY / "requirements.txt").read_text(), (REPOSITORY / "requirements.in").read_text())
    for name, text in made.items():
        (folder / f"{name}.txt").write_text(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BidwrightError as error:
        sys.exit(str(error))
