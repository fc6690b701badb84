"""Which bytes of which files make up a view at one generation, and which generation is current.

`CURRENT` names a manifest and is replaced by rename; a manifest is never changed. A reader that finds a generation
damaged serves the one before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ml.core.digests import canonical_json, digest_json
from ml.core.errors import CorruptArtefact
from ml.features.online.schema import Schema

FORMAT: Final = 1
CURRENT: Final = "CURRENT"

Piece = tuple[int, int, int]
"""Where bytes begin in a file, how many they are, and their CRC-32."""


@dataclass(frozen=True)
class Manifest:
    """A view at one generation.

    Attributes:
        generation: counts the writes, from 1.
        base: the first generation that wrote into these files; later ones appended.
        schema: keys and columns.
        width: words per key.
        rows: rows in the files, those that were replaced since included.
        live: entities.
        nulls: columns in which there are nulls.
        pieces: per file, the pieces in the order in which they were appended.
    """

    generation: int
    base: int
    schema: Schema
    width: int
    rows: int
    live: int
    nulls: frozenset[str] = frozenset()
    pieces: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.generation:010d}.json"

    @property
    def index(self) -> tuple[str, str]:
        """The files of the index: the hashes, sorted, and the row of each."""
        return f"{self.generation}.hashes", f"{self.generation}.rows"

    def size(self, file: str) -> int:
        """How many bytes of a file belong to it."""
        return sum(length for _, length, _ in self.pieces.get(file, ()))

    def to_bytes(self) -> bytes:
        """JSON with its own digest, which `from_bytes` reads."""
        value = {
            "generation": self.generation,
            "base": self.base,
            "schema": self.schema.as_json(),
            "width": self.width,
            "rows": self.rows,
            "live": self.live,
            "nulls": sorted(self.nulls),
            "pieces": {name: [list(piece) for piece in pieces] for name, pieces in self.pieces.items()},
        }
        return canonical_json({"format": FORMAT, "digest": digest_json(value), "view": value})

    @classmethod
    def from_bytes(cls, data: bytes, *, path: Path) -> Manifest:
        """CorruptArtefact where the bytes are damaged, or those of another format."""
        try:
            whole = json.loads(data)
            found = whole["format"]
        except (ValueError, TypeError, KeyError):
            raise CorruptArtefact(f"{path} is not readable") from None
        if found != FORMAT:
            raise OtherFormat(path.parent, found)
        value = whole["view"]
        if digest_json(value) != whole["digest"]:
            raise CorruptArtefact(f"{path} does not match its digest")
        pieces = {name: tuple((a, b, c) for a, b, c in pieces) for name, pieces in value["pieces"].items()}
        return cls(
            generation=value["generation"],
            base=value["base"],
            schema=Schema.from_json(value["schema"]),
            width=value["width"],
            rows=value["rows"],
            live=value["live"],
            nulls=frozenset(value["nulls"]),
            pieces=pieces,
        )


class OtherFormat(CorruptArtefact):
    """The files were written by another version of Bidwright."""

    def __init__(self, folder: Path, found: Any) -> None:
        super().__init__(
            f"{folder} holds features in format {found!r}, and this version reads format {FORMAT}",
            left="nothing of it was changed, and nothing of it is served",
            next="move the folder away and materialise the view again",
        )

    def __reduce__(self) -> Any:
        """As the error that it is to every other process."""
        return CorruptArtefact, (str(self),)


def candidates(folder: Path) -> Iterator[Path]:
    """The manifest that is current, then those that came before it, newest first; none where nothing was written.

    What a writer that died left behind, newer than the current one, is never among them. Where CURRENT itself cannot
    be read, all are.
    """
    files = sorted((path for path in folder.glob("[0-9]*.json")), reverse=True)
    try:
        name = (folder / CURRENT).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return
    except (UnicodeDecodeError, OSError):
        name = ""
    if not name.removesuffix(".json").isdigit():
        yield from files
        return
    yield folder / name
    yield from (path for path in files if path.name < name)
