"""Restore an empty platform from a backup: everything is verified first, then the files are put, then the ledger is written."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ml.backup.manifest import (
    BLOBS_LISTING,
    LAKE_LISTING,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    Manifest,
    refused,
)
from ml.core.code import source_digest
from ml.core.digests import Digest, digest_bytes
from ml.core.errors import BidwrightError, CorruptArtefact, NoData
from ml.ledger import champion, schema, upkeep
from ml.ledger.dump import Part
from ml.ledger.load import contents, load, not_empty
from ml.ledger.upkeep import EVERY_MARKET, Upkeep
from ml.promotion.bundle import read_bundle
from ml.promotion.signature import MAX_SIGNATURE_BYTES

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore
    from ml.platform import Platform

_SHOWN = 5


def restore(platform: Platform, place: BlobStore, *, digest: str = "") -> dict[str, Any]:
    """Restore the ledger, the bundles and the bids that stood into an empty platform.

    Args:
        platform: to be restored; its database must have no rows.
        place: where the backup lies.
        digest: of the backup, as the command that took it said; needed where no key that counts here signed it.

    Returns:
        Counts; `champions` by market; `missing`: how many files of the lake and the blob store lay there when the backup was
        taken and do not now, or have another size, with the first of them.

    Raises:
        UsageError: the platform is not empty, or the backup is newer than this code; nothing was written.
        CorruptArtefact: something of the backup is missing, cut short or changed; nothing was written.
        StoreUnavailable: a store or the database cannot be read or written.
    """
    if held := contents(platform.db):
        raise not_empty(held)
    manifest, signed_by = _verified_manifest(platform, place, digest)
    _verify(platform, place, manifest)
    kept = _put_files(platform, place, manifest)
    columns = {name: table.columns for name, table in manifest.tables.items()}
    rows = load(platform.db, revision=manifest.revision, columns=columns, parts=_parts(place, manifest))
    missing, first_missing = _missing(platform, place, manifest)
    result = {
        "made_at": manifest.made_at,
        "signed_by": signed_by,
        "revision": schema.HEAD,
        "rows": rows,
        "bundles": len(manifest.bundles),
        "champions": _champions(platform, manifest),
        "left_out": [{"what": one.what, "why": one.why} for one in manifest.left_out],
        "kept": kept,
        "missing": missing,
        "first_missing": first_missing,
    }
    at = platform.clock.now()
    upkeep.record(platform.db, Upkeep("restore", EVERY_MARKET, at, result))
    upkeep.record(platform.db, Upkeep("deployed", EVERY_MARKET, at, {"code": source_digest()}))
    return result


def _verified_manifest(platform: Platform, place: BlobStore, digest: str) -> tuple[Manifest, str]:
    """The manifest, once a key that counts, or the digest that a person gave, vouches for it; and the key's id."""
    try:
        data = place.read(MANIFEST, limit=MAX_MANIFEST_BYTES + 1)
    except NoData:
        raise refused(
            f"there is no {MANIFEST}, which is written last: it was never finished, or it lies elsewhere"
        ) from None
    if len(data) > MAX_MANIFEST_BYTES:
        raise refused(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes")
    found = digest_bytes(data)
    if digest and found != digest:
        raise refused(f"its digest is {found}, and not the one that was given")
    try:
        signature = place.read(SIGNATURE, limit=MAX_SIGNATURE_BYTES)
        signed_by = platform.keys.verify(data, signature).id
    except (NoData, CorruptArtefact) as error:
        if not digest:
            why = (
                "nobody signed it" if isinstance(error, NoData) else error.what.removeprefix("the bundle is refused: ")
            )
            raise refused(
                why,
                next="trust the key that signed it (BIDWRIGHT_TRUSTED_KEYS, or the keys/ of its working folder), "
                "or give the digest that bidwright backup said: --digest",
            ) from error
        signed_by = ""
    return Manifest.parse(data), signed_by


def _verify(platform: Platform, place: BlobStore, manifest: Manifest) -> None:
    """Read everything once: the bytes of each file, the rows of each part, and each bundle with its signature."""
    for name in manifest.files:
        _fetch(place, manifest, name)
    for name, table in manifest.tables.items():
        rows = sum(_unpacked(place, manifest, part).count(b"\n") for part in manifest.parts.get(name, ()))
        if rows != table.rows:
            raise refused(f"the table {name} has {rows} rows instead of {table.rows}")
    for digest in manifest.bundles:
        try:
            read_bundle(place, Digest(digest), platform.keys)
        except BidwrightError as error:
            raise refused(f"bundle {digest[:12]}: {error.what}", next=error.next) from error
    if lost := [market for market, one in manifest.champions.items() if one not in manifest.bundles]:
        told = {one.what.rpartition("/")[2]: one.why for one in manifest.left_out}
        why = told.get(manifest.champions[lost[0]], "it is not in it")
        raise refused(f"it is without the bundle of the champion of {lost[0]}: {why}")


def _put_files(platform: Platform, place: BlobStore, manifest: Manifest) -> list[str]:
    """Put bundles and bids into the blob store; what lies there with other bytes stays, and is named."""
    kept = []
    for name in sorted(manifest.files, key=lambda name: (name.endswith("/manifest.json"), name)):
        if not name.startswith(("bundles/", "bids/")):
            continue
        data = _fetch(place, manifest, name)
        if name.startswith("bids/") and platform.blobs.exists(name) and platform.blobs.get(name) != data:
            kept.append(name)  # published after the backup was taken, in a store that outlived its ledger
            continue
        platform.blobs.put(name, data)
    return kept


def _parts(place: BlobStore, manifest: Manifest) -> Iterator[Part]:
    for table in manifest.tables:
        for number, name in enumerate(manifest.parts.get(table, ())):
            data = _unpacked(place, manifest, name)
            yield Part(table, number, data.count(b"\n"), data)


def _fetch(place: BlobStore, manifest: Manifest, name: str) -> bytes:
    """The bytes of a file, each time they are read again against what the manifest says."""
    promised = manifest.files[name]
    try:
        data = place.read(name, limit=promised.bytes + 1)
    except NoData:
        raise refused(f"{name} is missing") from None
    if len(data) != promised.bytes or digest_bytes(data) != promised.sha256:
        raise refused(f"{name} is not what {MANIFEST} says: it was cut short or changed")
    return data


def _unpacked(place: BlobStore, manifest: Manifest, name: str) -> bytes:
    try:
        return gzip.decompress(_fetch(place, manifest, name))
    except (OSError, EOFError, zlib.error) as error:
        raise refused(f"{name} cannot be unpacked") from error


def _champions(platform: Platform, manifest: Manifest) -> dict[str, str]:
    found = {market: champion.current(platform.db, market) for market in manifest.champions}
    digests = {market: one.digest for market, one in found.items() if one is not None}
    if digests != dict(manifest.champions):
        raise AssertionError(f"restored champions {digests}, and not {dict(manifest.champions)}")
    for digest in digests.values():
        read_bundle(platform.blobs, digest, platform.keys)
    return {market: str(digest) for market, digest in digests.items()}


def _missing(platform: Platform, place: BlobStore, manifest: Manifest) -> tuple[int, list[str]]:
    found: list[str] = []
    for room, name, store in (
        ("lake", LAKE_LISTING, platform.lake.blobs),
        ("blobs", BLOBS_LISTING, platform.blobs),
    ):
        there = store.sizes("")
        for line in _unpacked(place, manifest, name).splitlines():
            key, size, _digest = json.loads(line)
            if there.get(key) != size:
                found.append(f"{room}/{key}")
    return len(found), found[:_SHOWN]
