"""SHA-256 digests: the identity of data, bundles and policies."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType

if TYPE_CHECKING:
    from typing_extensions import Buffer

Digest = NewType("Digest", str)
"""A SHA-256 in lower-case hex, 64 characters."""

_CHUNK_BYTES = 1 << 20


def digest_bytes(data: bytes) -> Digest:
    """The digest of bytes."""
    return Digest(hashlib.sha256(data).hexdigest())


def digest_file(path: Path) -> Digest:
    """The digest of a file's bytes, read in chunks."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return Digest(hasher.hexdigest())


class Hashed(io.RawIOBase):
    """A file to write to that keeps the digest of its bytes and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._hasher = hashlib.sha256()

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Take the bytes; returns how many."""
        self._hasher.update(data)
        return memoryview(data).nbytes

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return Digest(self._hasher.hexdigest())


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal values have equal bytes; NaN is refused.

    >>> canonical_json({"b": 1, "a": [2.5]})
    b'{"a":[2.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def digest_json(value: Any) -> Digest:
    """The digest of a JSON value in its canonical form."""
    return digest_bytes(canonical_json(value))


def digest_parts(parts: Mapping[str, str]) -> Digest:
    """One digest for several named digests, whatever their order."""
    return digest_json(dict(parts))
