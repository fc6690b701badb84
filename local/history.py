"""Import a story's history in a process of its own, so that Airflow can start beside it and its memory is given back."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from ml.core.errors import BidwrightError, NoData
from ml.core.units import days_between, parse_day
from ml.platform import Platform


def import_history(platform: Platform, first: date | None, last: date, *, progress: Path) -> None:
    """Import every market day up to `last`; `progress` holds how far it is: `{"done": 12, "of": 60}`.

    Days that were imported before cost little; the second time this ends at once.
    """
    from ml import pipeline

    platform.db.migrate()
    start = first or platform.source.first_day()
    if start > last:
        raise NoData(f"the source has no day before {last}", next="check that the data folder is the right one")
    total, done = len(days_between(start, last)), 0

    def step(_: date) -> None:
        nonlocal done
        done += 1
        _tell(progress, done=done, of=total)

    _tell(progress, done=0, of=total)
    pipeline.import_history(platform, start, last, progress=step)


def _tell(file: Path, **numbers: int) -> None:
    temporary = file.with_name(file.name + ".new")
    temporary.write_text(json.dumps(numbers))
    temporary.replace(file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process; the last line of the output is the reason of a failure."""
    parser = argparse.ArgumentParser(prog="python -m local.history", description=__doc__)
    parser.add_argument("--first", type=parse_day)
    parser.add_argument("--last", type=parse_day, required=True)
    parser.add_argument("--progress", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        import_history(Platform.from_environment(), options.first, options.last, progress=options.progress)
    except BidwrightError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
