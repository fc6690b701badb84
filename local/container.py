"""What every container of ours starts with: fill the settings' places from the environment, then become the command.

    with-settings airflow scheduler

`SETTINGS` names the files of docker/settings/ that count, the later ones in front (`bidwright serve`). Places that are
left empty are refused by name, so that a container without its secrets ends at once and says which it lacks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from local.settings_files import FOLDER, lines
from ml.core.errors import BidwrightError, UsageError


def settings(names: Sequence[str], places: Mapping[str, str], *, folder: Path = FOLDER) -> dict[str, str]:
    """The settings of several files, a later file's in front of an earlier one's, every place filled.

    Args:
        names: of files in `folder`, without their ending.
        places: what stands in the places.
        folder: where the files are.

    Raises:
        UsageError: a place has no value. Only what counts is asked for: a place of a line that a later file replaces
            need not be filled, so that a reader does not need the writer's password.
    """
    found: dict[str, str] = {}
    for name in names:
        found |= lines(name, folder=folder)
    filled = {}
    for key, text in found.items():
        template = Template(text)
        missing = [place for place in template.get_identifiers() if not places.get(place)]
        if missing:
            raise UsageError(
                f"{key} needs {missing[0]}, and this container was not given it",
                left="nothing was started",
                next="make env writes secrets; docker-compose.yml says who is given which",
            )
        filled[key] = template.substitute(places)
    return filled


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace this process by the command; returns only if it cannot be started."""
    command = list(sys.argv[1:] if arguments is None else arguments)
    if not command:
        sys.stderr.write("with-settings: give a command, such as: bidwright status\n")
        return 2
    try:
        environment = {**os.environ, **settings(os.environ.get("SETTINGS", "").split(), os.environ)}
        os.execvpe(command[0], command, environment)  # noqa: S606  (our own argument vector)
    except BidwrightError as error:
        sys.stderr.write(f"with-settings: {error}\n")
    except OSError as error:
        sys.stderr.write(f"with-settings: {command[0]} cannot be started: {error.strerror}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
