"""What images are made of, fetched on this machine, and the images themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from local import image_lock
from local.containers.compose import LOCAL_IMAGES, REPOSITORY
from ml.core.errors import StoreUnavailable, UsageError

WHEELS: Final = REPOSITORY / "build" / "wheels"
LOCKS: Final = REPOSITORY / "build" / "image"
DAGS: Final = REPOSITORY / "build" / "dags.git"
BRANCH: Final = "deployed"
"""The branch of that repository whose newest commit Airflow reads its DAG files from."""

LOCAL_JAVA: Final = "bidwright-local/java:17"
"""The base of the image for Spark in the profile `local`: that of the others, with Java."""

PYTHON: Final = (3, 11)
"""The images' own: wheels are fetched for it."""


def fetch_wheels(*, spark: bool = False) -> None:
    """Fetch every wheel that the images' locks name, hashes checked; what is there already is not fetched again.

    Args:
        spark: whether what the image with Java needs is among them.

    Raises:
        UsageError: this Python would fetch wheels for another one.
        StoreUnavailable: a wheel could not be had.
    """
    if sys.version_info[:2] != PYTHON:
        raise UsageError(
            "wheels are fetched for Python 3.11, and this is another", next="make PYTHON=python3.11 images"
        )
    LOCKS.mkdir(parents=True, exist_ok=True)
    texts = image_lock.locks(
        (REPOSITORY / "requirements.txt").read_text(), (REPOSITORY / "requirements.in").read_text()
    )
    for name, text in texts.items():
        file = LOCKS / f"{name}.txt"
        # An unchanged file keeps its time, and the build its cache.
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
    bootstrap = (REPOSITORY / "requirements-bootstrap.txt").read_text()
    _download(
        "--only-binary=:all:", *(image_lock.to_fetch(text) for text in (texts["platform"], texts["s3"], bootstrap))
    )
    if spark:
        _download("--prefer-binary", texts["spark"])  # pyspark is published as source


def _download(option: str, *locks: str) -> None:
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-qq",
        "--no-deps",
        "--require-hashes",
        "--dest",
        str(WHEELS),
        option,
    ]
    with tempfile.TemporaryDirectory(prefix="bidwright-wheels-") as folder:
        for number, text in enumerate(locks):
            (Path(folder) / f"{number}.txt").write_text(text)
            argv += ["-r", str(Path(folder) / f"{number}.txt")]
        _must(argv, {}, "the wheels could not be fetched")


def publish_dags() -> str:
    """Bring the commit that is checked out into the repository that containers read DAG files from; returns it.

    Raises:
        UsageError: this is no git repository.
    """
    if not (DAGS / "HEAD").exists():
        DAGS.parent.mkdir(exist_ok=True)
        _must(
            ["git", "init", "--quiet", "--bare", "--initial-branch", BRANCH, str(DAGS)],
            {},
            "no repository could be made",
        )
    try:
        _must(["git", "push", "--quiet", "--force", str(DAGS), f"HEAD:refs/heads/{BRANCH}"], {}, "")
    except StoreUnavailable as error:
        raise UsageError(
            "DAG files are read from a git commit, and this folder is no git repository",
            next="clone the repository, or set DAGS_REPOSITORY to the address of one",
        ) from error
    _must(["chmod", "-R", "a+rX", str(DAGS)], {}, "the repository could not be opened to the containers")
    return code_version().removesuffix("+")


def code_version() -> str:
    """The commit that is checked out, with `+` behind it where something is not committed; empty where there is no git."""
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return f"{commit}+" if commit and changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603, S607
    return done.stdout.strip()


def make_bases(host: str, *, spark: bool = False) -> None:
    """Make the base images that stand in for the official ones, and the one with Java for Spark, where they are not there yet."""
    names = ["python", "postgres", "redis", "haproxy", *(["java"] if spark else [])]
    make = str(REPOSITORY / "docker" / "local-base" / "make.sh")
    _must([make, *names], _engine(host), "a base image could not be made")


def build(targets: Sequence[str], host: str, *, local: bool) -> None:
    """Build images of ours from docker/Dockerfile.

    Args:
        targets: platform, s3-local, spark.
        host: of the engine.
        local: on the bases of `make_bases`, without a network.
    """
    for target in targets:
        base = os.environ.get("PYTHON_IMAGE", "")
        if local and not base:
            # Without a network nothing is added to a base: the one for Spark has Java.
            base = LOCAL_JAVA if target == "spark" else LOCAL_IMAGES["PYTHON_IMAGE"]
        argv = ["docker", "build", "--quiet", "--file", "docker/Dockerfile", "--target", target]
        argv += ["--tag", f"bidwright/{target}:local", *(["--network", "none"] if local else [])]
        argv += ["--build-arg", f"CODE_VERSION={code_version()}", *(["--build-arg", f"BASE={base}"] if base else [])]
        _must([*argv, "."], _engine(host), f"the image {target} could not be built")


def _engine(host: str) -> Mapping[str, str]:
    return {"DOCKER_HOST": host} if host else {}


def _must(argv: Sequence[str], more: Mapping[str, str], trouble: str) -> None:
    done = subprocess.run(argv, cwd=REPOSITORY, env={**os.environ, **more}, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-8:]
        raise StoreUnavailable(f"{trouble}: {' / '.join(said)}")
