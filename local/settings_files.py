"""`docker/settings/*.env`: what a stack's programs are told, with places for hosts, ports and secrets.

The same files serve containers and plain processes, so that neither is set up otherwise than the other. A line is
NAME=VALUE; a place is `${NAME}`, without a default: what nobody fills in is an error and never an empty password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from local.env_file import REPOSITORY
from ml.core.errors import UsageError

FOLDER: Final = REPOSITORY / "docker" / "settings"

_PLACE: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


def filled(name: str, values: Mapping[str, str], *, folder: Path = FOLDER) -> dict[str, str]:
    """The settings of a file, every place filled.

    Args:
        name: the file's name without its ending: airflow, bidwright or serve.
        values: what stands in the places.
        folder: where the files are.

    Raises:
        UsageError: a place has no value, or a line is not NAME=VALUE.
    """
    found: dict[str, str] = {}
    for key, text in lines(name, folder=folder).items():
        missing = [place for place in _PLACE.findall(text) if not values.get(place)]
        if missing:
            raise UsageError(
                f"{key} in {name}.env has a place for {missing[0]}, and nothing was given for it",
                left="nothing was started",
                next="see docs/cluster.md for what is filled in by whom",
            )
        found[key] = Template(text).substitute(values)
    return found


def lines(name: str, *, folder: Path = FOLDER) -> dict[str, str]:
    """The settings of a file as they stand in it."""
    found: dict[str, str] = {}
    for number, line in enumerate((folder / f"{name}.env").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"line {number} of {name}.env is not NAME=VALUE", next="correct it")
        found[key] = value
    return found


def places(name: str, *, folder: Path = FOLDER) -> set[str]:
    """The names of a file's places."""
    return {place for text in lines(name, folder=folder).values() for place in _PLACE.findall(text)}
