"""Which keys count on this platform: whose signatures it takes, and with which key it signs.

Production takes the keys of the setting `trusted_keys` and no other. A platform on one machine, of which the settings
say nothing, signs with a development key that it makes in its working folder, and takes that key alone. Where no key
counts, no bundle is taken.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ml.core.errors import StoreUnavailable, UsageError
from ml.core.settings import Settings
from ml.promotion.manifest import corrupt
from ml.promotion.signature import Kind, PublicKey, SecretKey, Signature

_MAX_KEY_FILE_BYTES = 1024


@dataclass(frozen=True)
class Keyring:
    """The keys that count.

    `refuses_development` says why development keys do not, as the end of a sentence; empty where they may.
    """

    trusted: tuple[PublicKey, ...] = ()
    secret: SecretKey | None = None
    refuses_development: str = ""

    def sign(self, manifest: bytes) -> bytes:
        """The bytes of the signature file of a manifest.

        Raises:
            UsageError: there is no key to sign with, or this very platform would refuse its signature.
        """
        if self.secret is None:
            raise _unsigned(self.refuses_development)
        self.check_signer(self.secret)
        return self.secret.sign(manifest)

    def check_signer(self, secret: SecretKey) -> None:
        """UsageError where what `secret` signs would be refused here: better before a training than after it."""
        key = secret.public
        if key.kind is Kind.DEVELOPMENT and self.refuses_development:
            raise UsageError(
                f"the signing key {key.id} is a development key, and none counts here, because {self.refuses_development}",
                left="nothing was signed",
                next="make a pair for release: bidwright keys new",
            )
        if key not in self.trusted:
            raise UsageError(
                f"the signing key {key.id} is not among the trusted keys",
                left="nothing was signed",
                next=f"add {key.text} to BIDWRIGHT_TRUSTED_KEYS wherever bundles are read",
            )

    def verify(self, manifest: bytes, signature: bytes) -> PublicKey:
        """Whose signature of the manifest's bytes the signature file's bytes are.

        Raises:
            CorruptArtefact: it is of another form or format, by a key that does not count here, or not of these bytes.
        """
        said = Signature.parse(signature)
        if said.kind is Kind.DEVELOPMENT and self.refuses_development:
            raise corrupt(
                f"it is signed by the development key {said.key_id}, "
                f"and none counts here, because {self.refuses_development}",
                next="train the version again with a key for release",
            )
        key = next((key for key in self.trusted if key.id == said.key_id), None)
        if key is None:
            raise corrupt(
                f"it is signed by the key {said.key_id}, which is not trusted here",
                next="find out who wrote it; bidwright keys list shows the keys that count",
            )
        if key.kind is not said.kind or not key.verifies(manifest, said.value):
            raise corrupt(f"its signature by the key {said.key_id} does not match")
        return key


def keyring(settings: Settings) -> Keyring:
    """The keys that count by the settings. Reads; makes nothing.

    Raises:
        UsageError: a key in the settings or in the working folder is not of its form, or is a development key where
            none counts.
    """
    reason = settings.refuses_development_keys
    if not reason:
        secret = _read_development_key(settings.home)
        return Keyring((secret.public,) if secret else (), secret)
    trusted = tuple(PublicKey.parse(text) for text in settings.trusted_keys)
    if wrong := [key.id for key in trusted if key.kind is Kind.DEVELOPMENT]:
        raise UsageError(
            f"trusted_keys lists the development key {wrong[0]}",
            left="no key is trusted",
            next="take it out; make a pair for release: bidwright keys new",
        )
    text = settings.signing_key.get_secret_value().strip()
    return Keyring(trusted, SecretKey.parse(text) if text else None, reason)


def signing_keyring(settings: Settings) -> Keyring:
    """The same, and certain to be able to sign; where development keys count, the first call makes one.

    Raises:
        UsageError: as `keyring`; or there is no key to sign with, or one whose signatures would be refused here.
        StoreUnavailable: the working folder cannot be written.
    """
    keys = keyring(settings)
    if keys.secret is None and not keys.refuses_development:
        _make_development_key(settings.home)
        keys = keyring(settings)
    if keys.secret is None:
        raise _unsigned(keys.refuses_development)
    keys.check_signer(keys.secret)
    return keys


def development_key_file(home: Path) -> Path:
    """Where a working folder keeps its development key."""
    return home / "keys" / "development.key"


def keep_secret(file: Path, secret: SecretKey) -> bool:
    """Write a key to a new file that only its owner may read; False, and nothing written, if the file is there.

    Raises:
        StoreUnavailable: the folder cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=".writing-", dir=file.parent)  # mode 0600
        try:
            with os.fdopen(handle, "w") as out:
                out.write(secret.reveal() + "\n")
                out.flush()
                os.fsync(out.fileno())
            # A link, not a rename: of two that make a key at once, the first stays.
            Path(file).hardlink_to(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreUnavailable(
            f"{file} could not be written: {error.strerror or error}", next="check the folder and its permissions"
        ) from error
    return True


def _make_development_key(home: Path) -> None:
    keep_secret(development_key_file(home), SecretKey.generate(Kind.DEVELOPMENT))


def _read_development_key(home: Path) -> SecretKey | None:
    file = development_key_file(home)
    remedy = "restore it; or delete it, and sign again what you trust: bidwright keys sign VERSION"
    try:
        with file.open("rb") as there:
            text = there.read(_MAX_KEY_FILE_BYTES).decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"the development key {file} cannot be read: {error.strerror}", next=remedy) from error
    with contextlib.suppress(UsageError):
        secret = SecretKey.parse(text)
        if secret.public.kind is Kind.DEVELOPMENT:
            return secret
    raise UsageError(f"{file} holds no development key", next=remedy)


def _unsigned(reason: str) -> UsageError:
    none_counts = f"; a development key does not count here, because {reason}" if reason else ""
    return UsageError(
        f"there is no key to sign bundles with{none_counts}",
        left="nothing was signed",
        next="set BIDWRIGHT_SIGNING_KEY; bidwright keys new makes a pair",
    )
