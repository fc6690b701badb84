"""`.env`: made strong and private, never overwritten, and refused with one sentence where it is not what it should be."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local import env_file
from local.settings_files import filled, places
from ml.core.errors import UsageError
from ml.promotion.signature import SecretKey

HOSTS = {
    "CODE": "/srv/bidwright", "AIRFLOW_BIND": "127.0.0.1", "AIRFLOW_HOME": "/srv/airflow", "AIRFLOW_HOST": "airflow", "AIRFLOW_PORT": "8080", "AIRFLOW_URL": "http://airflow:8080",
    "POSTGRES_HOST": "postgres", "POSTGRES_PORT": "5432", "REDIS_HOST": "redis", "REDIS_PORT": "6379",
    "S3_HOST": "s3", "S3_PORT": "8333", "MLFLOW_HOST": "mlflow", "MLFLOW_PORT": "5000", "SMTP_HOST": "mailbox",
    "SMTP_PORT": "1025", "BIDWRIGHT_HOME": "/srv/home", "DAGS_REPOSITORY": "/srv/dags.git", "DAGS_REF": "main",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / ".env"
    env_file.write(made)
    return made


def change(file: Path, name: str, value: str) -> None:
    kept = [line for line in file.read_text().splitlines() if not line.startswith(f"{name}=")]
    file.write_text("\n".join([*kept, f"{name}={value}"]))


def test_what_is_written_is_private_complete_strong_and_new_each_time(file: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = env_file.read(file)
    assert set(values) == set(env_file.NAMES)
    assert [name for name in env_file.NAMES if env_file.weakness(name, values[name])] == []
    env_file.write(tmp_path / "other")
    other = env_file.read(tmp_path / "other")
    assert [name for name in env_file.NAMES if values[name] == other[name]] == []
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.endswith(".new")] == []


def test_a_file_that_is_there_is_never_overwritten(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(UsageError, match="is there already; it was not touched"):
        env_file.write(file)
    assert file.read_bytes() == before
    assert [entry.name for entry in file.parent.iterdir()] == [".env"]


def test_a_shell_reads_the_same_values(file: Path) -> None:
    script = f'set -a; . "{file}"; env -0'
    said = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    shell = dict(entry.split("=", 1) for entry in said.stdout.split("\0") if entry)
    values = env_file.read(file)
    assert {name: shell[name] for name in values} == values


def test_what_a_new_version_asks_for_is_added_and_all_else_stays(file: Path) -> None:
    before = env_file.read(file)
    lacking = [line for line in file.read_text().splitlines() if not line.startswith(("S3_READER_", "REDIS_READER_"))]
    file.write_text("\n".join([*lacking, "REDIS_READER_PASSWORD=", "OURS=kept"]))
    names = ["REDIS_READER_PASSWORD", "S3_READER_ACCESS_KEY", "S3_READER_SECRET_KEY"]
    assert env_file.add(file) == names
    after = env_file.read(file)
    assert {name: after[name] for name in before if name not in names} == {
        name: value for name, value in before.items() if name not in names
    }
    assert after["OURS"] == "kept" and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert env_file.add(file) == []
    assert [entry.name for entry in file.parent.iterdir()] == [".env"]


def test_a_key_that_signs_is_not_added_to_keys_that_trust_another(file: Path) -> None:
    change(file, "BIDWRIGHT_SIGNING_KEY", "")
    before = file.read_bytes()
    with pytest.raises(UsageError, match="does not list the key that BIDWRIGHT_SIGNING_KEY signs with"):
        env_file.add(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.unlink(), r"is not there; nothing was started; run: make env"),
        (lambda file: file.chmod(0o640), r"others than its owner can read .*mode 0640"),
        (lambda file: file.write_text("POSTGRES_PASSWORD"), r"line 1 of .* is not NAME=VALUE"),
        (lambda file: file.write_text(""), r"is half-written: it has no value for POSTGRES_PASSWORD, AIRFLOW_DB_"),
        (lambda file: change(file, "REDIS_PASSWORD", ""), r"is half-written: it has no value for REDIS_PASSWORD;"),
        (lambda file: change(file, "REDIS_PASSWORD", "changeme"), r"REDIS_PASSWORD in .* is too short"),
        (lambda file: change(file, "REDIS_PASSWORD", "a" * 40), r"REDIS_PASSWORD in .* is too simple"),
        (lambda file: change(file, "REDIS_PASSWORD", "p@ss/word" * 5), r"cannot stand in an address"),
        (lambda file: change(file, "AIRFLOW_JWT_SECRET", "abcdefgh" * 6), r"too short: 48 characters of at least 64"),
        (lambda file: change(file, "AIRFLOW_FERNET_KEY", "abcdefgh" * 6), r"is no Fernet key"),
        (lambda file: change(file, "BIDWRIGHT_SIGNING_KEY", "abcdefgh" * 6), r"SIGNING_KEY in .* is not of its form"),
        (lambda file: change(file, "BIDWRIGHT_TRUSTED_KEYS", "[]"), r"TRUSTED_KEYS in .* is no key for release"),
        (
            lambda file: change(file, "REDIS_READER_PASSWORD", env_file.read(file)["REDIS_PASSWORD"]),
            r"REDIS_PASSWORD and REDIS_READER_PASSWORD in .* are the same",
        ),
        (
            lambda file: change(file, "BIDWRIGHT_SIGNING_KEY", env_file.make()["BIDWRIGHT_SIGNING_KEY"]),
            r"does not list the key that BIDWRIGHT_SIGNING_KEY signs with",
        ),
        (lambda file: file.write_text(file.read_text() + "REDIS_PASSWORD=twice\n"), r"has REDIS_PASSWORD twice"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_one_sentence(file: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(file)
    with pytest.raises(UsageError, match=said) as refused:
        env_file.read(file)
    assert "\n" not in str(refused.value)


def test_no_refusal_repeats_a_secret(file: Path) -> None:
    secret = "hunter2-" + "z" * 4
    change(file, "REDIS_PASSWORD", secret)
    with pytest.raises(UsageError) as refused:
        env_file.read(file)
    assert secret not in str(refused.value)


def test_the_file_cut_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_text().rstrip("\n")
    for end in range(0, len(whole), 7):
        file.write_text(whole[:end])
        with pytest.raises(UsageError):
            env_file.read(file)


def test_hosts_and_secrets_fill_every_place_of_the_settings(file: Path) -> None:
    values = env_file.read(file) | HOSTS
    for name in ("airflow", "bidwright", "serve"):
        assert places(name) <= set(values)
        assert [key for key, value in filled(name, values).items() if "$" in value or not value] == []
    assert {place for name in ("airflow", "bidwright", "serve") for place in places(name)} >= set(HOSTS)


def test_a_place_that_nobody_fills_is_an_error_and_no_empty_password(file: Path) -> None:
    values = env_file.read(file) | HOSTS | {"REDIS_PASSWORD": ""}
    with pytest.raises(UsageError, match="has a place for REDIS_PASSWORD, and nothing was given"):
        filled("airflow", values)


def test_the_settings_hold_no_secret_and_the_signing_key_reaches_no_file() -> None:
    for name in ("airflow", "bidwright", "serve"):
        assert "BIDWRIGHT_SIGNING_KEY" not in places(name)
    secret = SecretKey.parse(env_file.make()["BIDWRIGHT_SIGNING_KEY"])
    assert secret.reveal() not in repr(secret)
