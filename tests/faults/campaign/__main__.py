"""`make faults`: run the campaign, show how it goes, and keep its numbers in docs/faults.md.

Example: python -m tests.faults.campaign --only R4 R5 --json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from ml.core.code_version import commit_of_tree
from tests.faults.campaign import page
from tests.faults.campaign.core import Ask, carry_out
from tests.faults.campaign.rows import ROWS
from tests.faults.campaign.stand import Stand, scratch

_LOGGED_S = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rows asked for; 1 where one was missed or its fault did not happen."""
    given = _parser().parse_args(argv)
    if given.render:
        page.keep(given.render, {})
        return 0
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1) if ended else ended.append(1))
    logging.disable(logging.WARNING)  # what servers and clients complain of here is meant
    for name in [name for name in os.environ if name.startswith("BIDWRIGHT_") and name != "BIDWRIGHT_CODE_VERSION"]:
        del os.environ[name]
    commit_of_tree()  # keeps what git says now: the page that is written after each row changes the tree
    results: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="bidwright-faults-", ignore_cleanup_errors=True) as folder,
        Stand(Path(folder)) as stand,
    ):
        for name in given.only or ROWS:
            if ended:
                break
            row = ROWS[name]
            repeats = given.repeats if given.repeats is not None else row.full if given.full else row.short
            before = page.tried(given.page, name, full=given.full) if given.page and given.add else {}
            ask = Ask(stand, scratch(Path(folder) / name), repeats, given.full, before)
            begin = time.monotonic()
            _show(f"{name} {row.fault}", end="")
            found = carry_out(row, ask, _Progress(name), lambda: bool(ended))
            results[name] = found | {"at": time.strftime("%Y-%m-%d", time.gmtime())}
            told = found.get("why") or f"{found['held']} of {found['tried']}, {time.monotonic() - begin:.0f} s"
            _show(f"\r\033[K{name} {row.fault}: {found['verdict']} ({told})")
            for miss in found.get("misses", ()):
                _show(f"    {miss}")
            if given.page:  # after each row: hours may be interrupted
                page.keep(given.page, {name: results[name]}, add=given.add)
    if given.json:
        sys.stdout.write(json.dumps({"benchmark": "faults", "machine": machine(), "rows": results}) + "\n")
    wrong = [name for name, found in results.items() if found["verdict"] not in {"held", "not run"}]
    _show(f"{len(results)} rows, {len(wrong)} missed{': ' if wrong else ''}{' '.join(wrong)}")
    return 1 if wrong and not given.report else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), help="these rows; else all")
    parser.add_argument("--full", action="store_true", help="hours instead of minutes")
    parser.add_argument("--repeats", type=int, help="of each kind of fault; each row has its own by itself")
    parser.add_argument(
        "--add", action="store_true", help="on top of what the page has of the same rows, for hours in parts"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--page", type=Path, help="the page that keeps the numbers, such as docs/faults.md")
    parser.add_argument(
        "--render", type=Path, metavar="PAGE", help="write the page anew from its numbers, and run nothing"
    )
    parser.add_argument("--report", action="store_true", help="exit with 0 although a row was missed")
    return parser


class _Progress:
    """How a row goes: at once on a screen, in a log once a minute."""

    def __init__(self, name: str) -> None:
        self._name, self._told = name, time.monotonic()

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            _show(f"\r\033[K{self._name} {text}", end="")
        elif time.monotonic() - self._told > _LOGGED_S:
            self._told = time.monotonic()
            _show(f"{self._name} {text}")


def _show(text: str, *, end: str = "\n") -> None:
    if end or sys.stderr.isatty():
        sys.stderr.write((text if sys.stderr.isatty() else text.replace("\r\033[K", "")) + end)
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
