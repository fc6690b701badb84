"""Runbooks: what to do about a cause of incidents, from the pages in docs/runbooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.page import Page, View
from ml.core.errors import NoData

if TYPE_CHECKING:
    from ml.platform import Platform

FOLDER: Final = Path(__file__).parents[2] / "docs" / "runbooks"

_INLINE: Final = re.compile(r"\*\*(?P<strong>[^*]+)\*\*|`(?P<code>[^`]+)`")
_ITEM: Final = re.compile(r"(?:(?P<point>-)|\d+\.) (?P<words>.*)")


def runbook(platform: Platform, name: str) -> View:  # noqa: ARG001  (every view takes the platform)
    """The runbook of a cause, by the name of its file. NoData where there is none."""
    # Its name is one of the folder's, never a path.
    found = {file.stem: file for file in FOLDER.glob("*.md")}.get(name)
    if found is None:
        raise NoData(f"there is no runbook {name[:60]!r}", next="open the incident: it names its runbook")
    lines = found.read_text().splitlines()
    return {"name": name, "title": lines[0].lstrip("# "), "blocks": list(blocks(lines[1:]))}


def blocks(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Paragraphs and lists, as the runbooks are written; each text as runs of plain, strong and code.

    >>> [(block["kind"], len(block["items"])) for block in blocks(["**Do**", "", "1. Take it: `ack`.", "2. Wait."])]
    [('p', 1), ('ol', 2)]
    """
    kind, items = "p", list[str]()
    for line in [*lines, ""]:
        item = _ITEM.match(line)
        if item:
            now = "ul" if item["point"] else "ol"
            if items and kind != now:
                yield _block(kind, items)
                items = []
            kind = now
            items.append(item["words"])
        elif line.strip() and items:
            items[-1] += " " + line.strip()
        elif line.strip():
            kind, items = "p", [line.strip()]
        elif items:
            yield _block(kind, items)
            items = []


def _block(kind: str, items: Sequence[str]) -> dict[str, Any]:
    return {"kind": kind, "items": [list(_runs(text)) for text in items]}


def _runs(text: str) -> Iterator[dict[str, str]]:
    at = 0
    for found in _INLINE.finditer(text):
        if found.start() > at:
            yield {"how": "text", "words": text[at : found.start()]}
        kind = "strong" if found["strong"] else "code"
        yield {"how": kind, "words": found[kind]}
        at = found.end()
    if at < len(text):
        yield {"how": "text", "words": text[at:]}


PAGES: Final = {
    "/runbooks/{name}": Page(
        "runbook",
        runbook,
        "incidents",
        "What to do about a cause of incidents.",
        {"name": "Of its file.", "title": "Its heading.", "blocks": "Paragraphs and lists, each text as runs."},
    )
}
