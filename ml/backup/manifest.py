"""What a backup says of itself: which files of which bytes, of which revision, and what could not be taken along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml.core.digests import canonical_json
from ml.core.errors import CorruptArtefact
from ml.lake.blobs import check_key
from ml.promotion.manifest import Entry

MANIFEST = "backup.json"
SIGNATURE = "backup.signature.json"
FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 64 << 20
LAKE_LISTING, BLOBS_LISTING = "listing/lake.jsonl.gz", "listing/blobs.jsonl.gz"

_WHAT = "bidwright backup"


@dataclass(frozen=True)
class Table:
    """A table of the ledger: its columns in order, each with its kind, and how many rows its parts have."""

    columns: Mapping[str, str]
    rows: int


@dataclass(frozen=True)
class Left:
    """Something that the ledger names and that is not in the backup, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Manifest:
    """Everything that a restore must find.

    Attributes:
        made_at: instant of the backup, ISO.
        revision: of the ledger's tables.
        code: digest of the sources that made it (`ml.core.code`).
        champions: digest of the champion by market.
        tables: of the ledger, each after those that it refers to.
        parts: per table the names of the files with its rows, in order.
        bundles: digests of the versions whose bundles are in it.
        files: every file by its name, but this one and its signature.
        left_out: what is not in it.
    """

    made_at: str
    revision: str
    code: str
    champions: Mapping[str, str]
    tables: Mapping[str, Table]
    parts: Mapping[str, tuple[str, ...]]
    bundles: tuple[str, ...]
    files: Mapping[str, Entry]
    left_out: tuple[Left, ...]

    def to_bytes(self) -> bytes:
        """JSON; the order of tables and columns is kept, so it is a list of pairs."""
        told = asdict(self)
        told["tables"] = [[name, list(table.columns.items()), table.rows] for name, table in self.tables.items()]
        return canonical_json({"what": _WHAT, "format_version": FORMAT_VERSION, **told})

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read the manifest of a backup.

        Raises:
            CorruptArtefact: another kind of file, another format, or a name that would lead out of the backup.
        """
        try:
            said: dict[str, Any] = json.loads(data)
            if said.pop("what") != _WHAT:
                raise refused(f"{MANIFEST} is not that of a backup")
            if (version := said.pop("format_version")) != FORMAT_VERSION:
                raise refused(f"it has the format version {version!r}; this code reads {FORMAT_VERSION}")
            files = {check_key(name): Entry(**entry) for name, entry in said.pop("files").items()}
            tables = {name: Table(dict(columns), int(rows)) for name, columns, rows in said.pop("tables")}
            parts = {name: tuple(names) for name, names in said.pop("parts").items()}
            left = tuple(Left(**one) for one in said.pop("left_out"))
            bundles = tuple(said.pop("bundles"))
            found = cls(tables=tables, parts=parts, files=files, left_out=left, bundles=bundles, **said)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise refused(f"{MANIFEST} does not have the expected form ({type(error).__name__})") from error
        named = [name for names in parts.values() for name in names] + [LAKE_LISTING, BLOBS_LISTING]
        if set(parts) - set(tables) or set(named) - set(files):
            raise refused(f"{MANIFEST} names what is not in it")
        return found


def refused(fault: str, *, next: str = "restore from another backup") -> CorruptArtefact:
    """The error for a backup, naming its fault."""
    return CorruptArtefact(f"the backup is refused: {fault}", left="nothing was written", next=next)
