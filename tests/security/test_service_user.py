"""S5, the user that the bid service runs as in the containers: no privilege, nothing to write but two folders, no secret to read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.bid_service_world import PATH, SERVE, Service, World, make_world
from local import env_file
from ml.promotion.keyring import development_key_file, keep_secret
from ml.promotion.signature import Kind, SecretKey
from tests.faults.campaign.stand import environment
from tests.security.conftest import ROOT, Roles

USER = 10001
"""The user of the image, see docker-compose.yml; here it is nobody's number."""

CHILD = Path(__file__).with_name("service_user_child.py")


_STARTS_ITSELF = "import subprocess, sys, ml; sys.exit(subprocess.run([sys.executable, '-c', '']).returncode)"
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def unprivileged() -> list[str]:
    """What starts Python as the containers' user without any privilege, and without a way to get one."""
    program = shutil.which("setpriv")
    if program is None or os.getuid() != 0:
        pytest.skip("only root can start a process as another user (setpriv)")
    drop = ["--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
    # Where our own interpreter lies in somebody's home, another user may run the system's with the same packages.
    for python in (sys.executable, f"/usr/bin/python{_VERSION}"):
        command = [program, *drop, "--bounding-set=-all", python]
        probe = [*command, "-c", _STARTS_ITSELF]
        if (
            Path(python).exists()
            and not subprocess.run(probe, env=packages(), capture_output=True, check=False).returncode
        ):
            return command
    pytest.skip("another user cannot read this installation")


def packages() -> dict[str, str]:
    """The environment in which any interpreter of this version finds what is installed here."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class Stack:
    """A bid service of the containers' user, on a home that is root's.

    Attributes:
        service: it, up.
        own: the folders that its user may write: what it counts and keeps, and the event log.
        secrets: files that are none of its business.
    """

    service: Service
    own: Sequence[Path]
    secrets: list[Path]


def _opened(folder: Path) -> None:
    """Let everybody read what lies there, as an image and a volume do; secrets are kept by their own modes."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _world(folder: Path, roles: Roles) -> tuple[World, dict[str, str]]:
    key = SecretKey.generate(Kind.RELEASE)
    writer = roles.url("bidwright", "bidwright")
    trusted = {"BIDWRIGHT_TRUSTED_KEYS": json.dumps([key.public.text])}
    with environment(BIDWRIGHT_DATABASE_URL=writer, BIDWRIGHT_SIGNING_KEY=key.reveal(), **trusted):
        return make_world(folder, entities=500, trees=10), trusted


@pytest.fixture(scope="module")
def stack(roles: Roles) -> Iterator[Stack]:
    command = unprivileged()
    # Not below pytest's own folder, which nobody but its user may enter.
    with tempfile.TemporaryDirectory(prefix="bidwright-service-user-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        world, trusted = _world(folder / "world", roles)
        _opened(folder / "world")
        secrets = [folder / "env", development_key_file(world.home)]
        env_file.write(secrets[0])
        assert keep_secret(secrets[1], SecretKey.generate(Kind.DEVELOPMENT))
        own = [folder / "own", world.home / "events"]
        for one in own:
            one.mkdir(0o700)
            os.chown(one, USER, USER)
        reader = roles.url("bidwright_reader", "bidwright")
        told = {
            **trusted,
            "BIDWRIGHT_DATABASE_URL": reader,
            "BIDWRIGHT_SERVE_HOME": str(own[0]),
            "BIDWRIGHT_SERVE_MEMORY": "off",
        }
        with (
            environment(**packages()),
            closing(world.platform.db),
            world.service(command=[*command, *SERVE[1:]], environment=told) as service,
        ):
            yield Stack(service, own, secrets)


def processes(parent: int) -> list[int]:
    """A process and everything that it started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [parent, *(pid for child in children for pid in processes(int(child)))]


def status(pid: int) -> dict[str, str]:
    """What the kernel says of a process, by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def ask(service: Service) -> dict[str, object]:
    """The answer to a request for bids."""
    request = urllib.request.Request(
        f"http://{service.address[0]}:{service.address[1]}{PATH}",
        service.world.bodies[0],
        headers={**service.headers, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_without_any_privilege_it_bids_and_logs(stack: Stack) -> None:
    """The guarantee is worth nothing where the service does not work under it."""
    answer = ask(stack.service)
    bids = answer["bids"]
    assert isinstance(bids, list)
    assert len(bids) == stack.service.world.ids.shape[1]
    for folder in stack.own:
        written = [path for path in folder.rglob("*") if path.is_file()]
        assert written
        assert {path.stat().st_uid for path in written} == {USER}


def test_none_of_its_processes_has_a_privilege_or_can_get_one(stack: Stack) -> None:
    found = [status(pid) for pid in processes(stack.service.process.pid)]
    assert len(found) >= 2
    for one in found:
        assert one["Uid"].split() == one["Gid"].split() == [str(USER)] * 4
        assert one["Groups"] == ""
        assert one["NoNewPrivs"] == "1"
        assert {name: int(one[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {
            "CapEff": 0, "CapPrm": 0, "CapInh": 0, "CapBnd": 0, "CapAmb": 0,
        }  # fmt: skip


@pytest.mark.ml_test_score("data5")
def test_its_user_changes_nothing_that_it_reads_and_reads_no_secret(stack: Stack) -> None:
    home = stack.service.world.home
    there = [path for path in (home, *home.rglob("*")) if not any(path.is_relative_to(own) for own in stack.own)]
    files = [path for path in there if path.is_file() and path not in stack.secrets and path.name != "serve.log"]
    folders = [path for path in there if path.is_dir()]
    before = {path: (path.read_bytes(), path.stat().st_mode, path.stat().st_uid) for path in files}
    told = {
        "secrets": [str(path) for path in stack.secrets],
        "files": [str(path) for path in files],
        "folders": [str(path) for path in folders],
        "own": str(stack.own[0]),
        "other": os.getpid(),
    }
    child = [*unprivileged(), str(CHILD)]
    done = subprocess.run(child, env=packages(), input=json.dumps(told), capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    assert len(answers) == 6 + len(stack.secrets) + 5 * len(files) + 3 * len(folders)
    assert len(files) > 20
    assert {name: said for name, said in answers.items() if said not in {"EACCES", "EPERM"}} == {}
    assert {path: (path.read_bytes(), path.stat().st_mode, path.stat().st_uid) for path in files} == before


def test_the_containers_run_as_that_user() -> None:
    """What is tried here is what docker-compose.yml asks for."""
    compose = (ROOT / "docker-compose.yml").read_text()
    assert f'user: "{USER}:{USER}"' in compose
    assert "cap_drop: [ALL]" in compose
    assert "no-new-privileges:true" in compose
