"""Ed25519 signatures of manifests: keys and their text, and the signature file that lies beside a manifest.

What is signed is the manifest behind a line that says which format and which kind of key it is: so neither can be
changed without the key. The signature is a file of its own, outside the digest, so that a version stays what its
content is whoever signed it, and can be signed again by a newer key.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml.core.digests import canonical_json, digest_bytes
from ml.core.errors import UsageError
from ml.promotion.manifest import corrupt

SIGNATURE = "signature.json"
FORMAT_VERSION = 1
MAX_SIGNATURE_BYTES = 1024
ALGORITHM = "ed25519"

ID_DIGITS = 16
"""A key's id: so many first hex digits of the SHA-256 of its public half."""

_TEXT = re.compile(r"bidwright-(development-)?(public|secret)-1:([0-9a-f]{64})")
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_VALUE = re.compile(r"[0-9a-f]{128}")


class Kind(StrEnum):
    """What a key is good for: `release` wherever it is trusted, `development` in the folder that made it."""

    RELEASE = "release"
    DEVELOPMENT = "development"


@dataclass(frozen=True)
class PublicKey:
    """The half that verifies: 32 bytes and their kind."""

    raw: bytes
    kind: Kind

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """A key from its text, `bidwright-public-1:` and 64 hex digits; UsageError if it is not of that form."""
        return cls(*_parse(text, "public"))

    @property
    def text(self) -> str:
        """The key as `parse` reads it."""
        return _text(self.kind, "public", self.raw)

    @cached_property
    def id(self) -> str:
        """Its id, 16 hex digits."""
        return digest_bytes(self.raw)[:ID_DIGITS]

    def verifies(self, manifest: bytes, value: bytes) -> bool:
        """Whether `value` (64 bytes) is this key's signature of the manifest."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(value, _message(self.kind, manifest))
        except (InvalidSignature, ValueError):
            return False
        return True


class SecretKey:
    """The half that signs; no representation of it shows its bytes."""

    def __init__(self, raw: bytes, kind: Kind) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes_raw(), kind)

    def __repr__(self) -> str:
        return f"SecretKey({self.public.id})"

    @classmethod
    def generate(cls, kind: Kind) -> SecretKey:
        """A new key from the system's random numbers."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw(), kind)

    @classmethod
    def parse(cls, text: str) -> SecretKey:
        """A key from its text, `bidwright-secret-1:` and 64 hex digits; UsageError, which does not repeat it."""
        return cls(*_parse(text, "secret"))

    def reveal(self) -> str:
        """The key as `parse` reads it: only for the file or the store that keeps it."""
        return _text(self.public.kind, "secret", self._key.private_bytes_raw())

    def sign(self, manifest: bytes) -> bytes:
        """The bytes of the signature file of a manifest."""
        value = self._key.sign(_message(self.public.kind, manifest))
        return Signature(self.public.id, self.public.kind, value).to_bytes()


@dataclass(frozen=True)
class Signature:
    """What a signature file says: whose, of which kind, and the 64 bytes. Nothing of it is verified yet."""

    key_id: str
    kind: Kind
    value: bytes

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "format_version": FORMAT_VERSION,
                "algorithm": ALGORITHM,
                "key": self.key_id,
                "kind": self.kind.value,
                "signature": self.value.hex(),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Signature:
        """Read a signature file of at most `MAX_SIGNATURE_BYTES`.

        Raises:
            CorruptArtefact: another format version or algorithm, or not the canonical form.
        """
        try:
            said = json.loads(data)
            version, algorithm = said["format_version"], said["algorithm"]
            if type(version) is not int or version != FORMAT_VERSION:
                raise corrupt(f"its signature has the format version {version!r}; this code reads {FORMAT_VERSION}")
            if algorithm != ALGORITHM:
                raise corrupt(f"its signature is made with {algorithm!r}; this code reads {ALGORITHM}")
            formed = _ID.fullmatch(said["key"]) and _VALUE.fullmatch(said["signature"])
            found = cls(said["key"], Kind(said["kind"]), bytes.fromhex(said["signature"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise corrupt(f"{SIGNATURE} does not have the expected form ({type(error).__name__})") from error
        if not formed or found.to_bytes() != data:
            raise corrupt(f"{SIGNATURE} is not in canonical form")
        return found


def _message(kind: Kind, manifest: bytes) -> bytes:
    return f"bidwright bundle, signature format {FORMAT_VERSION}, {kind.value} key\n".encode() + manifest


def _text(kind: Kind, half: str, raw: bytes) -> str:
    return f"bidwright-{'development-' if kind is Kind.DEVELOPMENT else ''}{half}-1:{raw.hex()}"


def _parse(text: str, half: str) -> tuple[bytes, Kind]:
    match = _TEXT.fullmatch(text)
    if match is None or match[2] != half:
        raise UsageError(
            f"the {half} key is not of the form bidwright-{half}-1: and 64 hex digits",
            next="copy it whole, or make a new pair: bidwright keys new",
        )
    return bytes.fromhex(match[3]), Kind.DEVELOPMENT if match[1] else Kind.RELEASE
