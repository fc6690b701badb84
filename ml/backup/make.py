"""Take a backup: the ledger from one snapshot, the bundles it names, the bids that stand, and where everything else lies."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ml.backup.manifest import BLOBS_LISTING, LAKE_LISTING, MANIFEST, SIGNATURE, Left, Manifest, Table
from ml.core.code import source_digest
from ml.core.digests import canonical_json, digest_bytes
from ml.core.errors import CorruptArtefact, NoData, UsageError
from ml.ledger import upkeep
from ml.ledger.dump import Snapshot, snapshot
from ml.ledger.inventory import Inventory, inventory
from ml.ledger.publications import SERVING, Publication
from ml.ledger.upkeep import EVERY_MARKET, Upkeep
from ml.promotion.bundle import read_bundle
from ml.promotion.manifest import Entry

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore
    from ml.platform import Platform

_ATTEMPTS = 3
"""Bids that are published again while a backup is taken no longer are what its snapshot says; it then begins anew."""


@dataclass
class _Draft:
    """What has been copied so far."""

    files: dict[str, Entry] = field(default_factory=dict)
    left_out: list[Left] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    moved: bool = False


def make(platform: Platform, place: BlobStore) -> dict[str, Any]:
    """Write a backup of every market into `place`; its manifest, the last file, makes it one.

    A bundle is verified in the backup itself, by digest and signature, after it was copied; one that is not sound there is left
    out and named.

    Args:
        platform: what is backed up. No writer is stopped or made to wait.
        place: a folder or a prefix that holds no backup yet.

    Returns:
        `digest` of the manifest, `signed_by` (empty where this platform has no key to sign with), counts, and `left_out`.

    Raises:
        UsageError: a backup lies there already; it is not touched.
        StoreUnavailable: a store or the database cannot be read or written; what was written so far is no backup.
    """
    if place.exists(MANIFEST):
        raise UsageError(
            f"there is a backup in {place!r} already",
            left="it was not touched",
            next="name a new folder or prefix, such as one with the date in it",
        )
    for attempt in range(_ATTEMPTS):
        manifest, moved = _copy(platform, place, last=attempt == _ATTEMPTS - 1)
        if not moved:
            break
    data = manifest.to_bytes()
    keys, signed_by = platform.keys, ""
    if keys.secret is not None:
        place.put(SIGNATURE, keys.sign(data))
        signed_by = keys.secret.public.id
    place.put(MANIFEST, data)
    result = {
        "digest": digest_bytes(data),
        "signed_by": signed_by,
        "revision": manifest.revision,
        "champions": dict(manifest.champions),
        "rows": sum(table.rows for table in manifest.tables.values()),
        "bundles": len(manifest.bundles),
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "left_out": [{"what": one.what, "why": one.why} for one in manifest.left_out],
    }
    kept = result | {"left_out": len(manifest.left_out)}
    upkeep.record(platform.db, Upkeep("backup", EVERY_MARKET, platform.clock.now(), kept))
    return result


def _copy(platform: Platform, place: BlobStore, *, last: bool) -> tuple[Manifest, bool]:
    """Everything but the manifest; and whether bids moved meanwhile, so that it is better begun anew."""
    draft = _Draft()
    made_at = platform.clock.now()
    with snapshot(platform.db) as taken:
        tables, parts = _tables(taken, place, draft)
        named = inventory(taken.session)
        revision = taken.revision
    for digest in named.bundles:
        _bundle(platform, place, digest, draft)
    for publication in named.standing:
        _bids(platform.blobs, place, publication, draft, last=last)
    _listings(platform, place, named, draft)
    manifest = Manifest(
        made_at=made_at.isoformat(),
        revision=revision,
        code=source_digest(),
        champions={market: one.digest for market, one in named.champions.items()},
        tables=tables,
        parts=parts,
        bundles=tuple(draft.bundles),
        files=draft.files,
        left_out=tuple(draft.left_out),
    )
    return manifest, draft.moved


def _tables(taken: Snapshot, place: BlobStore, draft: _Draft) -> tuple[dict[str, Table], dict[str, tuple[str, ...]]]:
    rows, parts = dict.fromkeys(taken.columns, 0), {name: list[str]() for name in taken.columns}
    for part in taken.parts():
        name = f"ledger/{part.table}.{part.number:05d}.jsonl.gz"
        _put(place, name, _packed(part.data), draft)
        rows[part.table] += part.rows
        parts[part.table].append(name)
    tables = {name: Table(dict(columns), rows[name]) for name, columns in taken.columns.items()}
    return tables, {name: tuple(names) for name, names in parts.items()}


def _bundle(platform: Platform, place: BlobStore, digest: str, draft: _Draft) -> None:
    from ml.core.digests import Digest

    prefix = f"bundles/{digest}/"
    copied: dict[str, bytes] = {key: platform.blobs.get(key) for key in platform.blobs.list(prefix)}
    for key in set(place.list(prefix)) - set(copied):
        place.delete(key)  # what an unfinished backup had left
    for key, data in copied.items():
        place.put(key, data)
    try:
        read_bundle(place, Digest(digest), platform.keys)
    except CorruptArtefact as error:
        draft.left_out.append(Left(prefix.rstrip("/"), error.what))
        for key in copied:
            place.delete(key)
        return
    draft.files |= {key: Entry(digest_bytes(data), len(data)) for key, data in copied.items()}
    draft.bundles.append(digest)


def _bids(blobs: BlobStore, place: BlobStore, publication: Publication, draft: _Draft, *, last: bool) -> None:
    try:
        found = _published(blobs, publication)
    except (CorruptArtefact, NoData) as error:
        if not last:
            draft.moved = True
        else:
            draft.left_out.append(Left(publication.uri, error.what))
        return
    for key, data in found.items():
        _put(place, key, data, draft)


def _published(blobs: BlobStore, publication: Publication) -> dict[str, bytes]:
    """The files of a publication by key, each with the digest that the ledger, or the publication's manifest, promised."""
    if publication.partner == SERVING:
        return {publication.uri: _expect(blobs, publication.uri, publication.digest)}
    manifest = f"{publication.uri}/manifest.json"
    data = _expect(blobs, manifest, publication.digest)
    files = json.loads(data)["files"]
    return {f"{publication.uri}/{name}": _expect(blobs, f"{publication.uri}/{name}", files[name]) for name in files} | {
        manifest: data
    }


def _expect(blobs: BlobStore, key: str, digest: str) -> bytes:
    data = blobs.get(key)
    if (found := digest_bytes(data)) != digest:
        raise CorruptArtefact(f"{key} has the digest {found[:12]} instead of {digest[:12]}")
    return data


def _listings(platform: Platform, place: BlobStore, named: Inventory, draft: _Draft) -> None:
    """What lies in the lake and the blob store, so that a restored platform can say what it misses."""
    landed = {
        f"{market}/{table}/day={day.isoformat()}/part-0.parquet": digest
        for (market, table, day), digest in named.landed.items()
    }
    for name, sizes in (
        (LAKE_LISTING, platform.lake.blobs.sizes("")),
        (BLOBS_LISTING, platform.blobs.sizes("")),
    ):
        _put(place, name, _listing(sizes, landed), draft)


def _listing(sizes: Mapping[str, int], landed: Mapping[str, str]) -> bytes:
    lines: Iterable[bytes] = (canonical_json([key, size, landed.get(key)]) for key, size in sizes.items())
    return _packed(b"".join(line + b"\n" for line in lines))


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=6, mtime=0)


def _put(place: BlobStore, name: str, data: bytes, draft: _Draft) -> None:
    place.put(name, data)
    draft.files[name] = Entry(digest_bytes(data), len(data))
