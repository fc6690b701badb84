"""A bundle: the text files of a candidate under one digest, signed, and verified before a byte of it is parsed.

The order is size of the manifest, its digest, its signature, allowed names, size and digest of each file; only then
are models parsed, from the very bytes that were verified, and they count as loaded only when they repeat their golden
predictions. LightGBM's reader kills the process on a damaged file instead of raising, and of two lines that contradict
each other it believes the last: so neither `try` nor a look at the text protects, only digests, signatures and
predictions do. `ml.promotion.sandbox` parses a new bundle in a child process once, before it is signed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ml.core.digests import Digest, digest_bytes
from ml.core.errors import CorruptArtefact, NoData, UsageError
from ml.promotion.manifest import GOLDEN, MANIFEST, MAX_MANIFEST_BYTES, Manifest, corrupt
from ml.promotion.signature import MAX_SIGNATURE_BYTES, SIGNATURE

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore
    from ml.models.protocol import BidModel
    from ml.promotion.keyring import Keyring

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Bundle:
    """Verified bytes: the files by name, and what their maker wrote about them.

    `signed_by` is the id of the key whose signature was verified; empty before a bundle is signed.
    """

    digest: Digest
    artefacts: Mapping[str, bytes]
    meta: Mapping[str, Any]
    signed_by: str = ""


class ModelType(Protocol):
    """What loading needs of a class in `ml.models.MODELS`."""

    def load(self, artefacts: Mapping[str, bytes]) -> BidModel:
        """A model from its text files."""
        ...


def pack(artefacts: Mapping[str, bytes], meta: Mapping[str, Any]) -> Bundle:
    """The bundle that `write_bundle` would store of these, not stored and not signed.

    Args:
        artefacts: text files, named `<model>/<file>.txt` or `.json`, with `golden.json` beside them.
        meta: any JSON object without NaN and without wall-clock time.

    Raises:
        UsageError: a name is not allowed or a size is beyond the limits.
    """
    return Bundle(digest_bytes(_manifest_bytes(artefacts, meta)), dict(artefacts), dict(meta))


def write_bundle(blobs: BlobStore, *, artefacts: Mapping[str, bytes], meta: Mapping[str, Any], keys: Keyring) -> Digest:
    """Store the files, the signature and, last, the manifest that makes them a bundle.

    Idempotent: the same files and meta have the same digest, and a bundle that is there, whole and signed by a key
    that counts is left alone.

    Args:
        blobs: where bundles are kept, under `bundles/<digest>/`.
        artefacts: as for `pack`.
        meta: as for `pack`.
        keys: sign it; `ml.promotion.keyring.signing_keyring`.

    Returns:
        The SHA-256 of the manifest's bytes: the version's identity, whoever signed it.

    Raises:
        UsageError: a name is not allowed, a size is beyond the limits, or there is no key to sign with; nothing was
            written.
    """
    manifest = _manifest_bytes(artefacts, meta)
    digest = digest_bytes(manifest)
    if _is_whole(blobs, digest, keys):
        return digest
    signature = keys.sign(manifest)
    for name, data in artefacts.items():
        blobs.put(_key(digest, name), data)
    blobs.put(_key(digest, SIGNATURE), signature)
    blobs.put(_key(digest, MANIFEST), manifest)
    return digest


def sign_bundle(blobs: BlobStore, digest: Digest, keys: Keyring, *, check: Callable[[Bundle], None]) -> None:
    """Put a new signature over the one a stored bundle has, if any: for a person who vouches for it.

    Args:
        blobs: where it is stored.
        digest: of the bundle; its bytes have to have it.
        keys: sign it.
        check: raises if the bundle of these bytes is not sound; called before anything is signed.

    Raises:
        CorruptArtefact: what is stored is not the bundle.
    """
    data = _manifest_of(blobs, digest)
    check(_files(blobs, digest, Manifest.parse(data)))
    blobs.put(_key(digest, SIGNATURE), keys.sign(data))


def read_manifest(blobs: BlobStore, digest: Digest, keys: Keyring) -> tuple[Manifest, str]:
    """The manifest, verified (size, digest, signature, form, names, limits), and the id of the key that signed it.

    Raises:
        UsageError: `digest` is no SHA-256.
        CorruptArtefact: it is absent, too large, not what its digest says, or not signed by a key that counts.
    """
    data = _manifest_of(blobs, digest)
    signer = keys.verify(data, _read(blobs, digest, SIGNATURE, limit=MAX_SIGNATURE_BYTES))
    return Manifest.parse(data), signer.id


def read_bundle(blobs: BlobStore, digest: Digest, keys: Keyring) -> Bundle:
    """A bundle whose every byte is verified; nothing of it was parsed but the manifest and its signature.

    Args:
        blobs: where it is stored.
        digest: of the bundle, from the ledger.
        keys: whose signatures count; `Platform.keys`.

    Raises:
        UsageError: `digest` is no SHA-256.
        CorruptArtefact: what is stored is not the bundle, or not signed by a key that counts; the message names what.
    """
    manifest, signer = read_manifest(blobs, digest, keys)
    return _files(blobs, digest, manifest, signed_by=signer)


def load_models(bundle: Bundle, *, types: Mapping[str, ModelType] | None = None) -> dict[str, BidModel]:
    """The models of a verified bundle by name, after they repeated their golden predictions.

    Where the version's meta data say that a model showed no gain (`serves`), its baseline stands under its name.

    Args:
        bundle: from `read_bundle`, so that its bytes are those that were registered.
        types: the classes that load each folder of the bundle; `ml.models.MODELS` if not given.

    Raises:
        CorruptArtefact: a model is not known, a file is missing or not of its form, or a prediction differs
            from the golden one by more than 1e-9 (relative, where it is above 1).
    """
    from ml.models.golden import differences

    known = _model_types() if types is None else types
    names = sorted({name.partition("/")[0] for name in bundle.artefacts if "/" in name})
    if not names:
        raise corrupt("it holds no model")
    if unknown := [name for name in names if name not in known]:
        raise corrupt(f"no model is called {unknown[0]!r}")
    if GOLDEN not in bundle.artefacts:
        raise corrupt(f"{GOLDEN} is missing")
    models = {name: known[name].load(bundle.artefacts) for name in names}
    if found := differences(models, bundle.artefacts[GOLDEN]):
        raise corrupt(f"a golden prediction is not repeated: {found[0]}")
    return models | _served(bundle, models)


def _served(bundle: Bundle, models: Mapping[str, BidModel]) -> dict[str, BidModel]:
    """For each model whose baseline predicts in its place, as the version's meta data say, that baseline."""
    serves = bundle.meta.get("serves", {})
    if not isinstance(serves, Mapping) or not {*serves, *serves.values()} <= {*models}:
        raise corrupt("its meta data name a model that it does not hold")
    return {name: models[by] for name, by in serves.items()}


def _model_types() -> Mapping[str, ModelType]:
    from ml.models import MODELS

    return MODELS


def _manifest_bytes(artefacts: Mapping[str, bytes], meta: Mapping[str, Any]) -> bytes:
    manifest = Manifest.of(artefacts, meta).to_bytes()
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise UsageError(f"the manifest has {len(manifest)} bytes", left="nothing was written", next="keep meta small")
    return manifest


def _manifest_of(blobs: BlobStore, digest: Digest) -> bytes:
    """The manifest's bytes, which have their digest."""
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"{digest!r} is no digest of a bundle", next="give all 64 hex digits")
    data = _read(blobs, digest, MANIFEST, limit=MAX_MANIFEST_BYTES)
    if digest_bytes(data) != digest:
        raise corrupt(f"{MANIFEST} does not have the digest {digest[:12]}")
    return data


def _files(blobs: BlobStore, digest: Digest, manifest: Manifest, *, signed_by: str = "") -> Bundle:
    """The bundle, each of whose files is what the manifest says; none is there besides."""
    there = {key.removeprefix(_key(digest, "")) for key in blobs.list(_key(digest, ""))}
    if extra := sorted(there - {MANIFEST, SIGNATURE, *manifest.files}):
        raise corrupt(f"the file {extra[0]!r} is not in its manifest")
    artefacts = {}
    for name, entry in manifest.files.items():
        data = _read(blobs, digest, name, limit=entry.bytes)
        if len(data) != entry.bytes:
            raise corrupt(f"{name} has {len(data)} bytes instead of {entry.bytes}")
        if digest_bytes(data) != entry.sha256:
            raise corrupt(f"{name} does not have its digest")
        artefacts[name] = data
    return Bundle(digest, artefacts, manifest.meta, signed_by)


def _is_whole(blobs: BlobStore, digest: Digest, keys: Keyring) -> bool:
    try:
        read_bundle(blobs, digest, keys)
    except CorruptArtefact:
        return False
    return True


def _key(digest: Digest, name: str) -> str:
    return f"bundles/{digest}/{name}"


def _read(blobs: BlobStore, digest: Digest, name: str, *, limit: int) -> bytes:
    """At most `limit` bytes of a file, so that a huge one never gets into memory."""
    try:
        data = blobs.read(_key(digest, name), limit=limit + 1)
    except NoData:
        raise corrupt(f"{name} is missing{_UNSIGNED if name == SIGNATURE else ''}") from None
    except UsageError as error:
        raise corrupt(error.what) from error
    if len(data) > limit:
        raise corrupt(f"{name} is larger than {limit} bytes")
    return data


_UNSIGNED = ", so nobody vouches for it"
