"""The image is built from what the lock names, without a network or a secret, and what runs in it may change nothing."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from local.image_lock import asked, closure, locks, packages, to_fetch
from local.native_libraries import LIBRARIES, main, take_out

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker" / "Dockerfile").read_text()
LOCK = (ROOT / "requirements.txt").read_text()
ASKED = (ROOT / "requirements.in").read_text()


def stages() -> dict[str, str]:
    found = re.split(r"^FROM (\S+) AS (\S+)\n", TEXT, flags=re.MULTILINE)
    return {found[at + 1]: found[at + 2] for at in range(1, len(found), 3)}


def test_it_has_stages_and_the_one_that_runs_lacks_what_builds() -> None:
    assert len(stages()) > 2
    for name in ("platform", "s3-local"):
        assert "/wheels" not in stages()[name]
        assert "pip install" not in stages()[name]


def test_the_base_is_an_argument_whose_default_is_pinned() -> None:
    assert re.search(r"^ARG BASE=python:3\.11\.\d+-slim-bookworm$", TEXT, re.MULTILINE)
    assert {*re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)} <= {"${BASE}", *stages()}


def test_every_install_is_from_wheels_at_hand_and_by_hash() -> None:
    installs = re.findall(r"(?:pip install|pip sync)(?:[^&]|\\\n)*", TEXT)
    assert len(installs) >= 3
    for one in installs:
        assert "--no-index" in one
        assert "--require-hashes" in one


def test_what_runs_is_not_root_has_bytecode_and_a_health_check() -> None:
    for name in ("platform", "s3-local", "spark"):
        assert re.findall(r"^USER (\d+):\d+$", stages()[name], re.MULTILINE)[-1] == "10001"
    assert "compileall" in stages()["builder"]
    assert "compileall" in stages()["code"]
    for name in ("platform", "s3-local"):
        assert "HEALTHCHECK" in stages()[name]


def test_no_secret_and_nothing_that_was_not_named_gets_into_a_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {"**/.env", "**/*.key"} <= {*rules}
    assert not any(re.search(r"^!.*(\.env|\.git|secret|tests|benchmarks)", rule) for rule in rules)
    assert not re.search(r"^(ARG|ENV) .*(PASSWORD|TOKEN|SECRET|KEY)", TEXT, re.MULTILINE)


def test_the_image_s_lock_is_the_lock_less_the_tools() -> None:
    made = {name: packages(text) for name, text in locks(LOCK, ASKED).items()}
    whole = {package.text for package in packages(LOCK)}
    for kept in made.values():
        assert {package.text for package in kept} <= whole
    names = {package.name for package in made["platform"]}
    wanted = {name for name, heading in asked(ASKED).items() if heading != "tests and house tools"}
    assert wanted - {"pyspark"} <= names
    assert not {"pytest", "playwright", "hypothesis", "moto", "ruff", "pyspark"} & names
    assert {package.name for package in made["spark"]} == {"pyspark", "py4j"}


def test_whatever_a_kept_package_needs_is_kept() -> None:
    every = packages(LOCK)
    kept = {package.name for package in packages(locks(LOCK, ASKED)["platform"])}
    needed = {package.name for package in every if package.wanted_by & kept}
    assert needed <= kept


def test_a_package_that_two_need_stays_when_one_of_them_goes() -> None:
    lock = packages(
        "a==1 \\\n    --hash=x\n    # via -r requirements.in\nb==1 \\\n    --hash=y\n    # via\n    #   a\n    #   c\n"
    )
    assert [package.name for package in closure(lock, {"a"})] == ["a", "b"]
    assert [package.name for package in closure(lock, {"b"})] == ["b"]


def test_wheels_are_fetched_for_every_python_of_the_minor_version() -> None:
    lock = "a==1 ; python_full_version < '3.11.3' \\\n    --hash=x\nb==1 ; python_full_version >= '3.12' \\\n    --hash=y\nc==1 \\\n    --hash=z\n"
    assert to_fetch(lock) == "a==1 \\\n    --hash=x\nc==1 \\\n    --hash=z\n"


def test_what_java_would_unpack_where_nothing_may_be_executed_lies_in_the_image_of_spark() -> None:
    stage = stages()["spark"]
    ((jars, folder),) = re.findall(r"local\.native_libraries (\S+) (\S+)", stage)
    assert jars.endswith("/pyspark/jars")
    (options,) = re.findall(r'JAVA_TOOL_OPTIONS="(.*)"', stage)
    assert f"-Dorg.xerial.snappy.lib.path={folder} " in options  # the name is the one that System.mapLibraryName gives
    assert f"-DZstdNativePath={folder}/libzstd-jni.so" in options
    assert {"libsnappyjava.so", "libzstd-jni.so"} == {*LIBRARIES}
    assert "install -d -o 10001 -g 10001 -m 750 /scratch" in stage


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_spark_s_jars_have_these_libraries(tmp_path: Path, machine: str) -> None:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        pytest.skip("pyspark is not installed here")
    found = take_out(Path(spec.origin).parent / "jars", tmp_path, machine=machine)
    assert [file.name for file in found] == [*LIBRARIES]
    assert all(file.read_bytes().startswith(b"\x7fELF") for file in found)


def test_a_library_that_is_missing_ends_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "to")]) == 1
    assert "snappy-java" in capsys.readouterr().err
