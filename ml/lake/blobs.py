"""Named bytes behind one interface: a local folder or `s3://bucket/prefix`.

A key is a relative path with forward slashes, such as `simulator/clicks/day=2025-01-06/part-0.parquet`.
A reader never sees half a blob: a write appears whole under its key or not at all.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ml.core.errors import UsageError


class BlobStore(Protocol):
    """Bytes by key; what the lake, the bundles and the reports are kept in."""

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whole or not at all, replacing what was there; StoreUnavailable if it cannot."""
        ...

    def get(self, key: str) -> bytes:
        """The bytes under `key`; NoData if there are none, StoreUnavailable if the store cannot be read."""
        ...

    def read(self, key: str, *, limit: int) -> bytes:
        """The first `limit` bytes under `key`, so that a huge blob never gets into memory.

        NoData if there are none, StoreUnavailable as for `get`; UsageError where a symbolic link stands in a folder
        store, which would lead elsewhere.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether there is a blob under `key`."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Every key that starts with `prefix`, sorted; empty when there is none."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """The bytes of every blob whose key starts with `prefix`, by key, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove the blob under `key`; nothing happens if there is none."""
        ...

    def server_time(self) -> datetime | None:
        """What the store's server takes for now, to the second; None for a folder. StoreUnavailable as for `get`."""
        ...

    def local_path(self, key: str) -> Path:
        """A file with the bytes under `key`, to be read and not written; NoData if there are none."""
        ...


def check_key(key: str) -> str:
    """The key itself, if it cannot leave the store's folder; UsageError otherwise.

    >>> check_key("bundles/ab12/manifest.json")
    'bundles/ab12/manifest.json'
    """
    parts = key.split("/")
    if not key or "\\" in key or "\0" in key or any(part in {"", ".", ".."} for part in parts):
        raise UsageError(f"{key!r} is not a key of a blob store", next="use names parted by single forward slashes")
    return key


def open_blobs(url: str, *, cache: Path, endpoint: str = "") -> BlobStore:
    """The store at `url`: a folder (created at the first write) or `s3://bucket/prefix`.

    `cache` is a folder for local copies of S3 objects; `endpoint` is the URL of an S3 server other than AWS.
    Opening reads and writes nothing. UsageError if the URL has a form we do not know.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        from ml.lake.s3 import S3Blobs

        if not parts.netloc:
            raise UsageError(f"{url!r} names no bucket", next="write it as s3://bucket/prefix")
        return S3Blobs(bucket=parts.netloc, prefix=parts.path.strip("/"), cache=cache, endpoint=endpoint)
    if "://" in url:
        raise UsageError(f"{url!r} is neither a folder nor s3://bucket/prefix", next="give one of the two")
    if not url:
        raise UsageError("no folder was given for the blob store", next="give a folder or s3://bucket/prefix")
    from ml.lake.local import LocalBlobs

    return LocalBlobs(Path(url))
