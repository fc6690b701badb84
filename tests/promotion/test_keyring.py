"""Whose signatures count: the keys that production names and no other; without them the folder's own development key."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.core.errors import CorruptArtefact, StoreUnavailable, UsageError
from ml.core.settings import Settings, load_settings
from ml.promotion.keyring import Keyring, development_key_file, keyring, signing_keyring
from ml.promotion.signature import ALGORITHM, Kind, PublicKey, SecretKey, Signature

MANIFEST = b'{"files":{},"format_version":1,"meta":{}}'
OLD, NEW, FOREIGN = (SecretKey.generate(Kind.RELEASE) for _ in range(3))
HIDDEN = NEW.reveal().partition(":")[2]


def settings(home: Path, **given: Any) -> Settings:
    return load_settings(home=home, **given)


def production(home: Path, *trusted: SecretKey, sign: SecretKey | None = None) -> Keyring:
    texts = tuple(key.public.text for key in trusted)
    return keyring(settings(home, production=True, trusted_keys=texts, signing_key=sign.reveal() if sign else ""))


def test_what_a_trusted_key_signed_counts_and_says_whose_it_is(tmp_path: Path) -> None:
    keys = production(tmp_path, NEW, sign=NEW)
    assert keys.verify(MANIFEST, keys.sign(MANIFEST)) == NEW.public
    assert len(NEW.public.id) == 16


def test_keys_are_rotated_by_trusting_both_for_a_while(tmp_path: Path) -> None:
    both = production(tmp_path, OLD, NEW, sign=NEW)
    assert both.verify(MANIFEST, OLD.sign(MANIFEST)).id == OLD.public.id
    assert both.verify(MANIFEST, both.sign(MANIFEST)).id == NEW.public.id
    with pytest.raises(CorruptArtefact, match=f"signed by the key {OLD.public.id}, which is not trusted here"):
        production(tmp_path, NEW).verify(MANIFEST, OLD.sign(MANIFEST))


def test_a_signature_is_of_these_bytes_only(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtefact, match="does not match"):
        production(tmp_path, NEW).verify(MANIFEST + b" ", NEW.sign(MANIFEST))


def test_who_claims_another_keys_id_is_refused(tmp_path: Path) -> None:
    said = Signature.parse(FOREIGN.sign(MANIFEST))
    with pytest.raises(CorruptArtefact, match="does not match"):
        production(tmp_path, NEW).verify(MANIFEST, replace(said, key_id=NEW.public.id).to_bytes())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"format_version": 0}, "format version 0; this code reads 1"),
        ({"format_version": 2}, "format version 2; this code reads 1"),
        ({"format_version": True}, "format version True"),
        ({"algorithm": "none"}, "made with 'none'"),
        ({"signature": ""}, "expected form|canonical"),
        ({"signature": "A" * 128}, "canonical"),
        ({"key": 7}, "expected form"),
        ({"kind": "any"}, "expected form"),
        ({"more": 1}, "canonical"),
    ],
    ids=str,
)
def test_a_signature_of_another_form_is_refused_by_name(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    said = json.loads(NEW.sign(MANIFEST)) | change
    data = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(CorruptArtefact, match=fault):
        production(tmp_path, NEW).verify(MANIFEST, data)
    assert ALGORITHM == "ed25519"


def test_a_working_folder_makes_its_development_key_once_for_its_owner_only(tmp_path: Path) -> None:
    assert keyring(settings(tmp_path)) == Keyring()
    assert list(tmp_path.iterdir()) == [], "reading makes nothing"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: signing_keyring(settings(tmp_path)), range(8)))
    assert len({keys.trusted for keys in made}) == 1
    assert made[0].trusted[0].kind is Kind.DEVELOPMENT
    file = development_key_file(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_development_key_counts_in_its_own_folder_and_in_no_other(tmp_path: Path) -> None:
    mine, yours = (signing_keyring(settings(tmp_path / name)) for name in ("mine", "yours"))
    signature = mine.sign(MANIFEST)
    assert mine.verify(MANIFEST, signature)
    with pytest.raises(CorruptArtefact, match="which is not trusted here"):
        yours.verify(MANIFEST, signature)
    with pytest.raises(CorruptArtefact, match="which is not trusted here"):
        keyring(settings(tmp_path / "empty")).verify(MANIFEST, signature)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"production": True}, "the setting production is on"),
        ({"database_url": "postgresql+psycopg://db/bidwright"}, "the platform database is not SQLite"),
        ({"lake_url": "s3://bucket/lake"}, "the lake is on S3"),
        ({"blobs_url": "s3://bucket/blobs"}, "the blob store is on S3"),
        ({"trusted_keys": (NEW.public.text,)}, "trusted_keys is set"),
        ({"signing_key": NEW.reveal()}, "signing_key is set"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_outside_development_no_development_key_counts_or_is_made(
    tmp_path: Path, given: dict[str, Any], reason: str
) -> None:
    signature = signing_keyring(settings(tmp_path)).sign(MANIFEST)
    with pytest.raises(CorruptArtefact, match=f"by the development key .* none counts here, because {reason}"):
        keyring(settings(tmp_path, **given)).verify(MANIFEST, signature)
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(UsageError, match="nothing was signed"):
        signing_keyring(settings(elsewhere, **given))
    assert not elsewhere.exists()


def test_a_development_key_in_the_settings_is_refused_in_both_places(tmp_path: Path) -> None:
    development = SecretKey.generate(Kind.DEVELOPMENT)
    with pytest.raises(UsageError, match=f"trusted_keys lists the development key {development.public.id}"):
        keyring(settings(tmp_path, trusted_keys=(development.public.text,)))
    given = {"trusted_keys": (NEW.public.text,), "signing_key": development.reveal()}
    with pytest.raises(UsageError, match=f"the signing key {development.public.id} is a development key"):
        signing_keyring(settings(tmp_path, **given))


def test_a_development_key_that_was_relabelled_still_does_not_count(tmp_path: Path) -> None:
    """Its signatures say what kind of key made them, and are no signatures of the other kind."""
    development = SecretKey.generate(Kind.DEVELOPMENT)
    keys = Keyring(
        (PublicKey(development.public.raw, Kind.RELEASE),), refuses_development="the setting production is on"
    )
    signature = development.sign(MANIFEST)
    with pytest.raises(CorruptArtefact, match="by the development key"):
        keys.verify(MANIFEST, signature)
    with pytest.raises(CorruptArtefact, match="does not match"):
        keys.verify(MANIFEST, replace(Signature.parse(signature), kind=Kind.RELEASE).to_bytes())


def test_a_signing_key_that_nobody_trusts_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    given = {"trusted_keys": (OLD.public.text,), "signing_key": NEW.reveal()}
    with pytest.raises(UsageError, match=f"{NEW.public.id} is not among the trusted keys") as error:
        signing_keyring(settings(tmp_path, **given))
    assert NEW.public.text in str(error.value)


def test_the_secret_shows_nowhere(tmp_path: Path) -> None:
    given = settings(tmp_path, trusted_keys=(NEW.public.text,), signing_key=NEW.reveal())
    assert HIDDEN not in repr(given) + repr(keyring(given)) + str(given) + given.model_dump_json()


@pytest.mark.parametrize(
    "text", [HIDDEN, f"bidwright-secret-2:{HIDDEN}", NEW.reveal()[:-1], NEW.reveal() + "0"], ids=len
)
def test_a_secret_that_was_copied_wrongly_is_not_repeated_in_the_complaint(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="not of the form") as error:
        keyring(settings(tmp_path, signing_key=text))
    assert HIDDEN[:32] not in str(error.value)


def test_a_secret_among_the_trusted_keys_is_not_repeated_either(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the public key is not of the form") as error:
        keyring(settings(tmp_path, trusted_keys=(NEW.reveal(),)))
    assert HIDDEN not in str(error.value)


@pytest.mark.parametrize("text", ["", "letter to the editor", NEW.reveal(), "\xff" * 5000], ids=len)
def test_a_spoilt_development_key_is_named_and_not_replaced(tmp_path: Path, text: str) -> None:
    file = development_key_file(tmp_path)
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(UsageError, match=r"development\.key holds no development key"):
        signing_keyring(settings(tmp_path))
    assert file.read_text() == text


def test_a_folder_that_cannot_hold_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises((StoreUnavailable, UsageError), match="keys"):
        signing_keyring(settings(tmp_path))
