"""The compose file is one that Compose reads, and keeps the house's rules: nobody is root, nothing is open, nothing unbounded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from local import env_file
from local.container import settings
from local.containers.compose import LOCAL_IMAGES
from local.containers.smoke import MARKET, SPARK, kinds
from local.settings_files import places as settings_places
from tests.stack.stackfile import COMPOSE, FILE, OURS, ROOT, SERVICES, TEXT, default, environment, places

VENDOR = Path(__file__).parent / "vendor"
EVERY = pytest.mark.parametrize("name", SERVICES)
PROFILES = {"core", "observability", "spark", "local"}
CORE = {name for name, service in SERVICES.items() if "core" in service["profiles"]}
LOCAL = {name for name, service in SERVICES.items() if "local" in service["profiles"]}


def test_the_file_keeps_to_the_compose_specification() -> None:
    schema = json.loads((VENDOR / "compose-spec.json").read_text())
    # Compose reads the file with every place filled.
    filled = json.loads(default(json.dumps(COMPOSE)))
    errors = [
        f"{'/'.join(map(str, error.path))}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(filled)
    ]
    assert errors == []


def test_the_schema_would_refuse_a_word_that_is_none() -> None:
    schema = json.loads((VENDOR / "compose-spec.json").read_text())
    broken = {"services": {"a": {"image": "b", "mem_limt": "1g"}}}
    assert [*Draft202012Validator(schema).iter_errors(broken)] != []


def test_the_vendored_schema_is_the_one_that_its_note_names() -> None:
    digest = hashlib.sha256((VENDOR / "compose-spec.json").read_bytes()).hexdigest()
    assert digest in (VENDOR / "README.md").read_text()


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed here")
@pytest.mark.parametrize("profiles", [["local"], ["core"], ["core", "observability", "spark"]], ids=" ".join)
def test_docker_compose_reads_every_profile(profiles: list[str]) -> None:
    wanted = {name: "x" for name, rest in places(TEXT).items() if rest.startswith(":?")}
    argv = ["docker-compose", "--file", str(FILE), *(part for one in profiles for part in ("--profile", one))]
    run = subprocess.run(
        [*argv, "config", "--services"],
        env={"PATH": os.environ["PATH"], **wanted},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert {*run.stdout.split()} >= {name for name, one in SERVICES.items() if {*one["profiles"]} & {*profiles}}


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed here")
def test_without_secrets_nothing_starts_and_make_env_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    argv = ["docker-compose", "--file", str(FILE), "--env-file", str(tmp_path / ".env"), "--profile", "core", "config"]
    run = subprocess.run(argv, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "write it with make env" in run.stderr


@EVERY
def test_every_service_is_in_a_profile(name: str) -> None:
    assert {*SERVICES[name]["profiles"]} and {*SERVICES[name]["profiles"]} <= PROFILES


@EVERY
def test_nobody_is_root_and_nobody_can_become_it(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert group.isdigit()
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert not service.get("privileged")
    assert "no-new-privileges:true" in service["security_opt"]
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


OF_OTHERS = {
    "postgres": "999:999",
    "redis": "999:999",
    "s3": "1000:1000",
    "proxy": "99:99",
    "prometheus": "65534:65534",
    "grafana": "472:0",
}
"""Whom the folders belong to in the images of others; SeaweedFS has its own user since 4.0."""


def test_whoever_keeps_something_may_write_where_he_keeps_it() -> None:
    """A volume is first filled from its image, owners and all, and nobody here may change an owner."""
    for name, owner in OF_OTHERS.items():
        assert SERVICES[name]["user"] == owner
        assert not default(SERVICES[name]["image"]).startswith("bidwright/")
    for name, service in SERVICES.items():
        kept = [v for v in service.get("volumes", []) if v[0] not in "./$" and not v.endswith(":ro")]
        if kept and name not in OF_OTHERS:
            assert default(service["image"]).startswith("bidwright/"), name
            assert service["user"] == "10001:10001"


def test_spark_s_workers_have_the_tables_of_the_steps_and_room_of_their_own() -> None:
    worker = SERVICES["spark-worker"]
    assert "home:/var/lib/bidwright:ro" in worker["volumes"]
    assert "home:/var/lib/bidwright" in SERVICES["worker-default"]["volumes"]
    assert f"scratch:{worker['environment']['SPARK_LOCAL_DIRS']}" in worker["volumes"]
    assert worker["image"] == SERVICES["spark-master"]["image"]


@EVERY
def test_the_root_file_system_is_read_only(name: str) -> None:
    assert SERVICES[name]["read_only"] is True


@EVERY
def test_memory_processors_processes_and_logs_are_limited(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9][0-9]*[mg]", default(service["mem_limit"]))
    # An engine refuses more than the machine has, and the smallest that this runs on has two.
    assert 0 < service["cpus"] <= 2
    assert 0 < service["pids_limit"] <= 512
    assert service["logging"]["options"]["max-size"]
    assert all("size=" in mount for mount in service.get("tmpfs", []))


@EVERY
def test_every_service_says_whether_it_is_well_unless_it_runs_once(name: str) -> None:
    service = SERVICES[name]
    if service["restart"] == "no":
        assert service["healthcheck"] == {"disable": True}
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= {*service["healthcheck"]}


@EVERY
def test_ports_are_published_on_loopback_alone(name: str) -> None:
    service = SERVICES[name]
    assert service.get("network_mode") is None
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9_]+:-[0-9]+\}:[0-9]+", port)


def test_stores_are_on_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"]["data"] == {"internal": True}
    for name in ("postgres", "redis", "s3", "s3-local"):
        assert [*SERVICES[name]["networks"]] == ["data"]
        assert "ports" not in SERVICES[name]


@EVERY
def test_images_of_others_are_pinned_by_version_and_named_by_a_variable(name: str) -> None:
    image = SERVICES[name]["image"]
    assert places(image), "an image that no variable can replace"
    repository, _, tag = default(image).rpartition(":")
    assert repository and tag not in {"", "latest"}
    if not repository.startswith(OURS):
        assert re.search(r"\d+\.\d+", tag), "a version, not a moving tag"


def test_the_local_profile_differs_from_the_core_by_its_s3_server_alone() -> None:
    assert {"s3"} == CORE - LOCAL
    assert {"s3-local"} == LOCAL - CORE
    assert SERVICES["s3-local"]["networks"]["data"]["aliases"] == ["s3"]
    replaced = {"PYTHON_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE", "HAPROXY_IMAGE"}
    assert {*LOCAL_IMAGES} == replaced
    assert replaced <= {*places(TEXT)}


@EVERY
def test_nobody_waits_for_a_service_that_its_profiles_lack(name: str) -> None:
    for other in SERVICES[name].get("depends_on", {}):
        assert {*SERVICES[name]["profiles"]} <= {*SERVICES[other]["profiles"]}


def test_no_secret_stands_in_the_file_and_none_has_a_default() -> None:
    found = places(TEXT)
    secret = {name for name in found if re.search(r"PASSWORD|SECRET|TOKEN|FERNET|ACCESS_KEY|SIGNING|TRUSTED", name)}
    assert secret == {*env_file.NAMES}
    assert {name for name in secret if not found[name].startswith(":?")} == set()
    for name, service in SERVICES.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN", key):
                assert str(value).startswith("${"), f"{name} has a value for {key}"


@EVERY
def test_each_service_is_given_only_the_secrets_that_it_needs(name: str) -> None:
    given = {key for key in environment(name) if key in env_file.NAMES}
    read = environment(name).get("SETTINGS", "").split()
    if not read:
        assert given <= _GIVEN.get(name, set())
        return
    needed = set().union(*(settings_places(one) for one in read)) & {*env_file.NAMES}
    assert given <= needed | _GIVEN.get(name, set())


_GIVEN = {
    "init": {"AIRFLOW_ADMIN_PASSWORD"},
    "worker-heavy": {"BIDWRIGHT_SIGNING_KEY"},
    "postgres": {"POSTGRES_PASSWORD", "AIRFLOW_DB_PASSWORD", "BIDWRIGHT_DB_PASSWORD", "BIDWRIGHT_READER_PASSWORD", "FEAST_DB_PASSWORD"},
    "redis": {"REDIS_PASSWORD", "REDIS_READER_PASSWORD"},
    "s3": {"S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_READER_ACCESS_KEY", "S3_READER_SECRET_KEY"},
    "s3-local": {"S3_ACCESS_KEY", "S3_READER_ACCESS_KEY"},
    "prometheus": {"BIDWRIGHT_SERVE_TOKEN"},
    "grafana": {"GRAFANA_ADMIN_PASSWORD"},
}  # fmt: skip


def test_only_the_worker_that_trains_has_the_key_that_signs() -> None:
    assert [name for name in SERVICES if "BIDWRIGHT_SIGNING_KEY" in environment(name)] == ["worker-heavy"]


def test_the_bid_service_reads_with_roles_that_only_read() -> None:
    writers = {
        "BIDWRIGHT_DB_PASSWORD",
        "AIRFLOW_DB_PASSWORD",
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    }
    for name in ("bid-1", "bid-2"):
        assert not writers & {*environment(name)}
        given = {key: key if key in env_file.NAMES else value for key, value in environment(name).items()}
        told = settings(given["SETTINGS"].split(), given)
        assert told["BIDWRIGHT_REDIS"] == "redis:6379,db=0,username=bidwright_reader,password=REDIS_READER_PASSWORD"
        assert (told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"]) == (
            "S3_READER_ACCESS_KEY",
            "S3_READER_SECRET_KEY",
        )


@pytest.mark.parametrize("name", [name for name in SERVICES if "SETTINGS" in environment(name)])
def test_every_place_of_a_service_s_settings_is_filled(name: str) -> None:
    given = {key: default(value) or "x" for key, value in environment(name).items()}
    filled = settings(given["SETTINGS"].split(), given)
    assert not any("${" in value for value in filled.values())


def test_two_schedulers_two_bid_services_and_a_worker_per_queue() -> None:
    assert SERVICES["scheduler-1"] == SERVICES["scheduler-2"]
    assert SERVICES["bid-1"] == SERVICES["bid-2"]
    queues = {SERVICES[name]["command"][4] for name in SERVICES if name.startswith("worker-")}
    assert queues == {"default", "heavy", "online"}
    assert SERVICES["worker-online"]["command"][6] == "1"
    assert SERVICES["worker-heavy"]["command"][6] == "1"


def test_the_smoke_test_stops_a_container_of_each_kind() -> None:
    for profiles in (["local"], ["core"], ["local", "spark"], ["core", "spark"]):
        stopped = {name for group in kinds(profiles) for name in group}
        up = {name for name, service in SERVICES.items() if {*service["profiles"]} & {*profiles}}
        assert up - stopped == {"init", "scheduler-2"}
        assert stopped <= up
    assert "spark://spark-master:7077" in tomllib.loads(MARKET + SPARK)["spark_master"]
    assert 'serve_memory = "/run/bidwright"' in MARKET
    assert 'serve_memory = "/run/bidwright"' in (ROOT / "docker" / "market.toml").read_text()


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }
    assert mounted
    assert [path for path in mounted if not (ROOT / path).exists()] == []


def test_every_volume_is_named_and_used() -> None:
    used = {default(v).split(":")[0] for s in SERVICES.values() for v in s.get("volumes", []) if v[0] not in "./$"}
    assert used == {*COMPOSE["volumes"]}
