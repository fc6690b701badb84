"""Keys on the command line: the secret half goes into its file and nowhere else; what is not signed is found and said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ml.cli.app import app
from ml.cli.doctor import examine
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.errors import BidwrightError, CorruptArtefact, UsageError
from ml.core.settings import load_settings
from ml.ledger import versions
from ml.platform import Platform
from ml.promotion.bundle import read_bundle, write_bundle
from ml.promotion.keyring import Keyring, development_key_file
from ml.promotion.signature import Kind, SecretKey

AT = datetime(2026, 3, 2, tzinfo=UTC)
FOREIGN = SecretKey.generate(Kind.RELEASE)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def answer(*arguments: str) -> dict[str, Any]:
    found = run(*arguments, "--json")
    assert found.exit_code == 0, found.output
    value: dict[str, Any] = json.loads(found.stdout)
    return value


@pytest.fixture
def stranger(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Platform, Digest]:
    """A platform whose ledger knows a version that a foreign key signed."""
    monkeypatch.setattr("ml.promotion.sandbox.verify_in_child", lambda _: None)
    home.mkdir()
    platform = Platform(load_settings(), FixedClock(AT))
    platform.db.migrate()
    foreign = Keyring((FOREIGN.public,), FOREIGN)
    digest = write_bundle(platform.blobs, artefacts={"value/model.txt": b"1"}, meta={}, keys=foreign)
    version = versions.Version(
        digest=digest,
        market=platform.market,
        day=date(2026, 3, 1),
        uri=f"bundles/{digest}",
        data_digest=Digest("d" * 64),
        trained_through=date(2026, 2, 1),
        metrics={},
        mlflow_run_id="",
    )
    versions.register(platform.db, version, AT)
    return platform, digest


def test_a_new_pair_is_kept_by_its_owner_and_shown_without_the_secret(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    shown = run("new", "--out", str(file))
    assert shown.exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    secret = SecretKey.parse(file.read_text().strip())
    assert secret.reveal() not in shown.output
    assert secret.reveal().partition(":")[2] not in shown.output
    assert f"BIDWRIGHT_TRUSTED_KEYS='[\"{secret.public.text}\"]'" in shown.output
    assert secret.public.kind is Kind.RELEASE


def test_the_settings_that_are_shown_work_and_hold_the_keys_that_are_trusted_already(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        made = answer("new", "--out", str(tmp_path / f"{number}.key"))
        name, _, value = made["where bundles are read"].partition("=")
        monkeypatch.setenv(name, value.strip("'"))
        monkeypatch.setenv("BIDWRIGHT_SIGNING_KEY", (tmp_path / f"{number}.key").read_text())
    listed = answer("list")
    assert len(listed["trusted"]) == 2
    assert listed["signs"] == made["key"]
    assert listed["development_keys_refused_because"] == "trusted_keys is set"


def test_a_key_file_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    assert run("new", "--out", str(file)).exit_code == 0
    before = file.read_text()
    with pytest.raises(UsageError, match="is there already"):
        CliRunner().invoke(app, ["keys", "new", "--out", str(file)], catch_exceptions=False)
    assert file.read_text() == before


def test_listing_keys_makes_none(home: Path) -> None:
    assert answer("list") == {"trusted": [], "signs": None, "development_keys_refused_because": None}
    assert "no key counts here yet" in run("list").output
    assert not home.exists()


def test_a_version_is_signed_by_whoever_vouches_for_it(stranger: tuple[Platform, Digest]) -> None:
    platform, digest = stranger
    with pytest.raises(CorruptArtefact, match="which is not trusted here"):
        read_bundle(platform.blobs, digest, platform.keys)
    signed = answer("sign", digest[:8])
    assert signed == {"version": digest, "signed_by": platform.keys.trusted[0].id}
    assert read_bundle(platform.blobs, digest, platform.keys).digest == digest
    assert development_key_file(platform.settings.home).exists()


def test_a_version_that_the_ledger_does_not_know_or_that_does_not_parse_is_not_signed(
    stranger: tuple[Platform, Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, digest = stranger

    def refuse(_: Any) -> None:
        raise CorruptArtefact("it does not parse")

    monkeypatch.setattr("ml.promotion.sandbox.verify_in_child", refuse)
    before = platform.blobs.get(f"bundles/{digest}/signature.json")
    for version, error in (("0123", UsageError), (digest, CorruptArtefact)):
        with pytest.raises(error):
            CliRunner().invoke(app, ["keys", "sign", version], catch_exceptions=False)
    assert platform.blobs.get(f"bundles/{digest}/signature.json") == before


def of_keys() -> tuple[bool, str, str]:
    check = next(check for check in examine() if check.name == "signing keys")
    return check.ok, check.finding, check.remedy


def test_the_doctor_says_which_keys_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_keys()[:2] == (
        True,
        "the first training makes a development key; its signatures count in this working folder only, "
        "set BIDWRIGHT_TRUSTED_KEYS for production",
    )
    monkeypatch.setenv("BIDWRIGHT_PRODUCTION", "true")
    ok, finding, remedy = of_keys()
    assert not ok
    assert "no key is trusted, so every bundle is refused (the setting production is on)" in finding
    assert "bidwright keys new" in remedy
    monkeypatch.setenv("BIDWRIGHT_TRUSTED_KEYS", json.dumps([FOREIGN.public.text]))
    assert of_keys()[:2] == (True, f"trusts {FOREIGN.public.id}; signs nothing")
    monkeypatch.setenv("BIDWRIGHT_SIGNING_KEY", SecretKey.generate(Kind.RELEASE).reveal())
    ok, finding, _ = of_keys()
    assert not ok
    assert "is not among the trusted keys" in finding


def test_every_failure_is_one_of_ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDWRIGHT_TRUSTED_KEYS", '["letters"]')
    with pytest.raises(BidwrightError, match="the public key is not of the form"):
        CliRunner().invoke(app, ["keys", "list"], catch_exceptions=False)
