"""The command `bidwright ml-test-score`: what the marked tests hold, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml.cli import output
from ml.cli.options import Json


def ml_test_score(
    results: Annotated[
        Path | None, typer.Option(help="what pytest wrote of the marked tests; else ml-test-score.json here")
    ] = None,
    at_least: Annotated[int, typer.Option(min=0, max=7, help="exit 1 where a section has fewer points than this")] = 0,
    json: Json = False,
) -> None:
    """The ML Test Score (28 items in four sections), from the tests that hold each item; the misses are named."""
    from ml.score.items import SECTIONS
    from ml.score.result import RESULTS, read_score

    score = read_score(results or RESULTS)
    if json:
        output.show_json(score.as_json())
        _refuse_below(at_least, score.total)
        return
    lines = [
        (item.name, item.missed or item.meaning, item.state, str(item.passed), str(item.point)) for item in score.items
    ]
    output.show_table("ML Test Score", ("item", "what", "state", "tests passed", "point"), lines)
    by_section = ", ".join(f"{name} {score.sections[name]}/7" for name in SECTIONS)
    output.show_line(f"{by_section}; the score is that of the weakest section: {score.total}")
    _refuse_below(at_least, score.total)


def _refuse_below(least: int, points: int) -> None:
    if points < least:
        raise typer.Exit(1)
