"""The scripts and style sheets of the pages: our own and the vendored chart library. Nothing else is ever loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final[Mapping[str, str]] = {".css": "text/css", ".js": "text/javascript"}


@dataclass(frozen=True)
class Asset:
    """A file of the pages: its bytes, its media type, and the mark by which a browser keeps it for good."""

    body: bytes
    media_type: str
    mark: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file that a page may load, by its path below `static/`."""
    found = {}
    for file in sorted(_FOLDER.rglob("*")):
        if file.suffix in _TYPES:
            body = file.read_bytes()
            found[file.relative_to(_FOLDER).as_posix()] = Asset(
                body, _TYPES[file.suffix], sha256(body).hexdigest()[:10]
            )
    return found


def address(name: str) -> str:
    """Where a file is, relative to the front page; a changed file has another address, so that none is stale."""
    return f"static/{name}?{assets()[name].mark}"
