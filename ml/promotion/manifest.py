"""The manifest of a bundle: which files, of which bytes; and what a bundle may hold at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.core.digests import canonical_json, digest_bytes
from ml.core.errors import CorruptArtefact, UsageError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.json"

MAX_MANIFEST_BYTES = 256 << 10
MAX_FILES = 64
MAX_FILE_BYTES = 64 << 20
MAX_BUNDLE_BYTES = 128 << 20

_WORD = r"[a-z][a-z0-9_]{0,40}"
ALLOWED_NAME = re.compile(rf"(?:{_WORD}/{_WORD}\.(?:txt|json)|golden\.json|reference\.json)")
"""`<model>/<file>.txt` or `.json`, and two files beside them: nothing else, so no path leads out of a bundle."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A file: the SHA-256 of its bytes in lower-case hex, and how many bytes they are."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The files of a bundle by name, and what its maker wrote about it (`meta`, any JSON object)."""

    files: Mapping[str, Entry]
    meta: Mapping[str, Any]
    format_version: int = FORMAT_VERSION

    @classmethod
    def of(cls, artefacts: Mapping[str, bytes], meta: Mapping[str, Any]) -> Manifest:
        """The manifest of files that are to be written.

        Raises:
            UsageError: a name is not allowed, or a size is beyond the limits.
        """
        for name in artefacts:
            if not ALLOWED_NAME.fullmatch(name):
                raise UsageError(f"{name!r} may not be in a bundle", next="name it <model>/<file>.txt or .json")
        sizes = {name: len(data) for name, data in artefacts.items()}
        if (fault := oversize(sizes)) is not None:
            raise UsageError(
                f"the bundle is too large: {fault}", left="nothing was written", next="train a smaller model"
            )
        return cls({name: Entry(digest_bytes(data), len(data)) for name, data in artefacts.items()}, dict(meta))

    def to_bytes(self) -> bytes:
        """Canonical JSON; equal manifests have equal bytes, and no clock is in them."""
        files = {name: {"sha256": entry.sha256, "bytes": entry.bytes} for name, entry in self.files.items()}
        return canonical_json({"format_version": self.format_version, "files": files, "meta": dict(self.meta)})

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest whose digest was verified already.

        Raises:
            CorruptArtefact: another format, not the canonical form, a name that is not allowed, a size beyond
                the limits.
        """
        try:
            value = json.loads(data)
            version = value["format_version"]
            if version != FORMAT_VERSION:
                raise corrupt(f"its format version is {version!r}; this code reads {FORMAT_VERSION}")
            files = {name: _entry(name, entry) for name, entry in value["files"].items()}
            manifest = cls(files, value["meta"])
            canonical = isinstance(value["meta"], dict) and manifest.to_bytes() == data
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise corrupt(f"{MANIFEST} does not have the expected form ({type(error).__name__})") from error
        if not canonical:
            raise corrupt(f"{MANIFEST} is not in canonical form")
        if (fault := oversize({name: entry.bytes for name, entry in files.items()})) is not None:
            raise corrupt(fault)
        return manifest


def oversize(sizes: Mapping[str, int]) -> str | None:
    """Which limit the sizes (in bytes, by name) break; None when they keep all."""
    if len(sizes) > MAX_FILES:
        return f"{len(sizes)} files; at most {MAX_FILES} are allowed"
    for name, size in sizes.items():
        if size > MAX_FILE_BYTES:
            return f"{name} has {size} bytes; at most {MAX_FILE_BYTES} are allowed"
    total = sum(sizes.values())
    return f"{total} bytes in all; at most {MAX_BUNDLE_BYTES} are allowed" if total > MAX_BUNDLE_BYTES else None


def corrupt(fault: str, *, next: str = "restore it or train the version again") -> CorruptArtefact:
    """The error for a bundle, naming its fault."""
    return CorruptArtefact(f"the bundle is refused: {fault}", left="nothing of it was loaded", next=next)


def _entry(name: str, entry: Mapping[str, Any]) -> Entry:
    if not ALLOWED_NAME.fullmatch(name):
        raise corrupt(f"the name {name!r} is not allowed")
    sha256, size = entry["sha256"], entry["bytes"]
    if not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)) or type(size) is not int or size < 0:
        raise corrupt(f"the entry of {name!r} is not a digest and a size")
    return Entry(sha256, size)
