"""The command `bidwright challenge`: its options read, its answers shown."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ml.challenge import page
from ml.challenge.ground import Field, Size
from ml.challenge.run import Answer, chosen, run_challenge
from ml.cli import output
from ml.core.errors import UsageError

PAGE = Path("docs/challenge.md")


def challenge(
    *,
    only: Sequence[str],
    seed: int,
    home: Path | None,
    workers: int,
    markdown: bool,
    as_json: bool,
    size: Size | None = None,
) -> bool:
    """Try the planted candidates and show what became of them; whether every answer was right."""
    names = chosen(only)
    if markdown and not PAGE.parent.is_dir():
        raise UsageError(f"there is no folder {PAGE.parent}", next="run it in the project's folder")
    with tempfile.TemporaryDirectory(prefix="bidwright-challenge-") as scratch:
        folder = home or Path(scratch)
        if home is not None and home.exists() and any(home.iterdir()):
            raise UsageError(f"{home} is not empty", left="nothing was written", next="give a new folder")
        field = Field(folder, seed) if size is None else Field(folder, seed, size)
        answers = run_challenge(field, names, say=_say, tell=_tell, workers=workers)
    if markdown:
        PAGE.write_text(page.markdown(answers, seed=seed, size=field.size))
        output.show_line(f"written to {PAGE}")
    elif as_json:
        output.show_json(
            {"seed": seed, "right": all(a.right for a in answers), "candidates": [a.as_json() for a in answers]}
        )
    else:
        output.show_table("planted candidates", page.COLUMNS, page.lines(answers))
        output.show_line(page.summary(answers))
    return all(answer.right for answer in answers)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _tell(answer: Answer) -> None:
    what = "promoted" if answer.promoted else f"stopped by {', '.join(one.by for one in answer.stopped)}"
    _say(f"{answer.name}: {what}{'' if answer.right else ', which is WRONG'} ({answer.seconds:.0f} s)")
