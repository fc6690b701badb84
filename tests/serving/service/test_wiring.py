"""The joints to the rest of the house: the ledger's champion, bundles kept on this machine."""

# ruff: noqa: ARG002  (a stand-in takes what the joint gives it, and needs little of it)

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ml.core.clock import FixedClock
from ml.core.digests import Digest, digest_bytes
from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.lake.local import LocalBlobs
from ml.ledger import champion, decisions, versions
from ml.platform import Platform
from ml.promotion.bundle import write_bundle
from ml.promotion.keyring import Keyring
from ml.promotion.signature import Kind, SecretKey
from ml.serving.bundle_cache import cached_bundle
from ml.serving.joints import WantedArm
from ml.serving.wiring import LedgerSource
from tests.serving.service.stubs import StubEngine

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = date(2026, 3, 1)
SECRET = SecretKey.generate(Kind.RELEASE)
KEYS = Keyring((SECRET.public,), SECRET)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(load_settings(home=tmp_path, market="m"), FixedClock(AT))
    made.db.migrate()
    return made


def promote(platform: Platform, name: str, generation: int) -> Digest:
    digest = digest_bytes(name.encode())
    db = platform.db
    versions.register(db, versions.Version(digest, "m", DAY, "uri", digest, DAY, {}, ""), AT)
    made = decisions.Decision("m", DAY, digest, None, generation, Verdict.PASS, [], digest_bytes(b"policy"), None)
    number = decisions.record(db, made, AT)
    champion.move(db, "m", digest=digest, expected_generation=generation, decision_id=number, day=DAY, at=AT)
    return digest


def source(platform: Platform) -> LedgerSource:
    return LedgerSource(platform, lambda _, bundle, plan: StubEngine(bundle.digest, plan))


def test_before_the_first_promotion_nothing_is_wanted_and_it_says_why(platform: Platform) -> None:
    found = source(platform).wanted()
    assert (found.arms, found.generation) == ((), 0)
    assert "no champion yet" in found.why_not


def test_the_champion_is_wanted_and_the_newest_other_before_it(platform: Platform) -> None:
    one, two = promote(platform, "one", 0), promote(platform, "two", 1)
    known = source(platform)
    found = known.wanted()
    assert (found.generation, found.arms, found.previous) == (2, (WantedArm("stable", two),), one)
    promote(platform, "one", 2)
    found = known.wanted()
    assert (found.generation, found.arms[0].digest, found.previous) == (3, one, two)
    assert known.wanted() == found


def stored(folder: Path) -> tuple[LocalBlobs, Digest]:
    blobs = LocalBlobs(folder)
    return blobs, write_bundle(blobs, artefacts={"value/model.txt": b"1", "golden.json": b"{}"}, meta={}, keys=KEYS)


class Dead(LocalBlobs):
    """A blob store that cannot be reached."""

    def read(self, key: str, *, limit: int) -> bytes:
        raise StoreUnavailable("the blob store cannot be reached")


def test_a_bundle_that_was_loaded_once_is_loaded_again_without_the_blob_store(tmp_path: Path) -> None:
    blobs, digest = stored(tmp_path / "blobs")
    cached_bundle(blobs, tmp_path / "cache", digest, KEYS)
    again: Any = Dead(tmp_path / "nothing")
    assert cached_bundle(again, tmp_path / "cache", digest, KEYS).artefacts["value/model.txt"] == b"1"


def test_a_copy_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    blobs, digest = stored(tmp_path / "blobs")
    cached_bundle(blobs, tmp_path / "cache", digest, KEYS)
    [model] = (tmp_path / "cache").rglob("model.txt")
    model.chmod(0o600)
    model.write_bytes(b"2")
    assert cached_bundle(blobs, tmp_path / "cache", digest, KEYS).artefacts["value/model.txt"] == b"1"
    assert model.read_bytes() == b"1", "and it is mended"


def test_a_bundle_of_a_key_that_does_not_count_is_refused_and_not_kept(tmp_path: Path) -> None:
    blobs, digest = stored(tmp_path / "blobs")
    other = SecretKey.generate(Kind.RELEASE)
    with pytest.raises(CorruptArtefact):
        cached_bundle(blobs, tmp_path / "cache", digest, Keyring((other.public,), other))
    assert not (tmp_path / "cache").exists()
