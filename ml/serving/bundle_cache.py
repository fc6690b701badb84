"""Bundles kept on this machine's disk, so that a worker can start again while the blob store cannot be reached."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ml.core.digests import Digest
from ml.core.errors import CorruptArtefact, NoData, StoreUnavailable, UsageError
from ml.promotion.bundle import Bundle, read_bundle

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore
    from ml.promotion.keyring import Keyring


def cached_bundle(blobs: BlobStore, folder: Path, digest: Digest, keys: Keyring) -> Bundle:
    """A verified bundle, from the folder where it is whole there, else from the blob store, and then kept in the folder.

    What lies in the folder is verified like everything else, so that it need not be trusted.

    Args:
        blobs: where bundles are kept.
        folder: of this machine.
        digest: of the bundle.
        keys: whose signatures count.

    Raises:
        CorruptArtefact: what the blob store has is not the bundle, or is not signed by a key that counts.
        StoreUnavailable: the blob store cannot be read.
    """
    from ml.lake.local import LocalBlobs

    local = LocalBlobs(folder)
    with contextlib.suppress(CorruptArtefact, StoreUnavailable, UsageError):
        return read_bundle(local, digest, keys)
    bundle = read_bundle(blobs, digest, keys)
    # A file that goes away between the list and the copy costs the copy, not the bundle that was read.
    with contextlib.suppress(StoreUnavailable, NoData):
        keep(blobs, local, f"bundles/{digest}/")
    return bundle


def keep(blobs: BlobStore, local: BlobStore, prefix: str) -> None:
    """Copy the files whose keys begin so; whatever is wrong with the copy is found when it is read."""
    for key in blobs.list(prefix):
        local.put(key, blobs.get(key))
