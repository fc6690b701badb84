"""The production topology, brought up for real: a day goes through it although the worker that trained was killed."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from local.client import AirflowClient
from local.cluster import run
from local.cluster.places import BRANCH
from local.cluster.topology import SCHEDULERS
from local.ports import LOOPBACK
from ml.core.clock import SystemClock
from ml.core.settings import load_settings
from ml.platform import Platform
from tests.cluster.conftest import Lived, until

DAY = run.story(1).days[0]


@pytest.fixture
def client(lived: Lived) -> Iterator[AirflowClient]:
    with lived.cluster.client() as made:
        yield made


@pytest.fixture
def platform(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    for name, value in lived.cluster.platform_environment().items():
        if name.startswith(("BIDWRIGHT_", "AWS_")):
            monkeypatch.setenv(name, value)
    made = Platform(load_settings(), SystemClock())
    yield made
    made.db.close()


def instances(client: AirflowClient, dag: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/dags/{dag}/dagRuns/~/taskInstances")["task_instances"]
    return found


def test_the_day_completes_although_the_worker_that_trained_was_killed(lived: Lived, client: AirflowClient) -> None:
    # The fault happened: the process that trained was among those killed, and the task was tried again.
    assert lived.trained_by in lived.killed and not psutil.pid_exists(lived.trained_by)
    [train] = instances(client, "train_bid_model")
    assert train["try_number"] >= 2 and train["state"] == "success"
    assert "did not happen" not in lived.said


def test_nothing_is_doubled(lived: Lived, client: AirflowClient, platform: Platform) -> None:
    from ml.ledger import champion, decisions, publications, versions

    runs = Counter(found.dag_id for found in client.runs(DAY.isoformat()))
    assert runs == dict.fromkeys(run.demo.DAG_OF_STAGE.values(), 1) | {"publish_bids": 2}  # once more for the champion
    [version] = versions.newest(platform.db, platform.market, 9)
    assert [c.digest for c in champion.history(platform.db, platform.market)] == [version.digest]
    assert len(decisions.latest(platform.db, platform.market, 9)) == 1
    published = publications.for_day(platform.db, platform.market, DAY)
    assert {found.version for found in published} == {version.digest}


def test_each_task_ran_on_a_worker_of_its_queue(client: AirflowClient) -> None:
    queues = {
        (dag, found["task_id"]): found["queue"]
        for dag in ("ingest_market", "materialize_features", "train_bid_model", "publish_bids")
        for found in instances(client, dag)
    }
    assert queues == {
        ("ingest_market", "ingest"): "default",
        ("materialize_features", "put_online"): "online",
        ("materialize_features", "materialize"): "default",
        ("train_bid_model", "train"): "heavy",
        ("publish_bids", "publish"): "default",
    }


def test_each_run_keeps_the_commit_that_its_dag_file_came_from(lived: Lived, client: AirflowClient) -> None:
    dags = str(lived.cluster.home / "dags.git")
    commit = subprocess.run(["git", "-C", dags, "rev-parse", BRANCH], capture_output=True, text=True, check=True).stdout
    kept = {found["bundle_version"] for found in client.get("/dags/~/dagRuns", limit=100)["dag_runs"]}
    assert kept == {commit.strip()}


def test_two_schedulers_are_alive_and_every_service_runs(lived: Lived, client: AirflowClient) -> None:
    assert set(lived.cluster.lasting) == set(lived.cluster.services())
    assert set(lived.cluster.lasting) <= set(lived.cluster.supervisor.running())
    alive = client.get("/jobs", job_type="SchedulerJob", is_alive=True)["jobs"]
    assert len(alive) == len(SCHEDULERS)


def test_bids_are_answered_by_the_champion_and_go_on_when_one_of_the_two_services_is_killed(
    lived: Lived, platform: Platform
) -> None:
    before = run.ask(lived.cluster, platform, DAY)
    assert before["step"] in {"model", "defaults"} and before["generation"] == 1
    assert run.bids_in(before)
    assert lived.cluster.kill("bid-1")
    ports = lived.cluster.ports()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{LOOPBACK}:{ports.bid_1}/livez", trust_env=False)
    after = run.ask(lived.cluster, platform, DAY)
    assert after["generation"] == 1 and run.bids_in(after)
    assert lived.cluster.revive() == ["bid-1"]
    until(lambda: lived.cluster.answers("bid-1"))


def test_the_bid_services_and_strangers_cannot_write(lived: Lived) -> None:
    import boto3
    import psycopg
    import redis
    from botocore.exceptions import ClientError

    serve = lived.cluster.platform_environment("serve")
    assert not {name for name in serve if name.startswith("AIRFLOW")} and "BIDWRIGHT_SIGNING_KEY" not in serve
    with (
        psycopg.connect(serve["BIDWRIGHT_DATABASE_URL"], autocommit=True) as reader,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        reader.execute("SET default_transaction_read_only = off")
        reader.execute("DELETE FROM promotions")
    keys = {name: serve[f"AWS_{name.upper()}"] for name in ("access_key_id", "secret_access_key")}
    session = boto3.session.Session(**{f"aws_{name}": value for name, value in keys.items()}, region_name="us-east-1")
    store = session.client("s3", endpoint_url=serve["BIDWRIGHT_S3_ENDPOINT"])
    bundle = store.list_objects_v2(Bucket="bidwright", Prefix="blobs/bundles/")["Contents"][0]["Key"]
    with pytest.raises(ClientError, match="AccessDenied"):
        store.delete_object(Bucket="bidwright", Key=bundle)
    with redis.Redis(LOOPBACK, lived.cluster.ports().redis) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()


def test_the_bid_services_copy_what_the_worker_wrote_into_redis(lived: Lived, platform: Platform) -> None:
    from ml.features.online_copy import last_copy
    from ml.features.redis_check import last_writing

    told = {name: lived.cluster.platform_environment(*name)["BIDWRIGHT_REDIS"] for name in ((), ("serve",))}
    assert ["username=bidwright," in told[()], "username=bidwright_reader," in told["serve",]] == [True, True]
    written = last_writing(told["serve",], platform.market)
    assert written > 0
    home = lived.cluster.home
    copied = until(lambda: (found := last_copy(home, platform.market)) and found.written == written and found)
    assert copied.redis == f"{LOOPBACK}:{lived.cluster.ports().redis}"
    assert sum(copied.entities.values()) > 0


def test_the_cleaning_runs_on_a_worker_and_cleans_the_database_of_this_airflow(
    lived: Lived, client: AirflowClient, platform: Platform
) -> None:
    import psycopg

    from ml.ledger import upkeep

    address = lived.cluster.environment()["BIDWRIGHT_AIRFLOW_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as airflow:
        for days in (1, 400):
            aged = "INSERT INTO log (dttm, event) VALUES (now() - make_interval(days => %s), %s)"
            airflow.execute(aged, (days, f"aged {days}"))
        runs = client.get("/dags/~/dagRuns", limit=100)["total_entries"]
        assert run_by_hand(client, "clean_up") == "success"
        left = airflow.execute("SELECT event FROM log WHERE event LIKE 'aged %'").fetchall()
    assert left == [("aged 1",)]
    assert client.get("/dags/~/dagRuns", limit=100)["total_entries"] == runs + 1
    states = {found["task_id"]: found["state"] for found in instances(client, "clean_up")}
    assert states == {"clean_stores": "success", "clean_airflow": "success"}
    done = upkeep.last(platform.db, "clean_up", platform.market)
    assert done is not None and done.result["space"]["opportunities"]["bytes"] > 0


def run_by_hand(client: AirflowClient, dag: str) -> str:
    """The state in which a run of a DAG that needs no market day ends."""
    run_ = client.post(f"/dags/{dag}/dagRuns", {"logical_date": None})
    path = f"/dags/{dag}/dagRuns/{run_['dag_run_id'].replace('+', '%2B')}"
    state: str = until(lambda: (found := client.get(path)["state"]) in {"success", "failed"} and found)
    return state


def test_a_worker_may_be_added_and_killed_while_nothing_else_notices(lived: Lived, client: AirflowClient) -> None:
    extra = lived.cluster.worker("worker-extra", queue="default", slots=1)
    lived.cluster.supervisor.start(extra)
    until(lambda: "ready" in extra.log.read_text(errors="replace"))
    assert lived.cluster.kill("worker-extra")
    assert run_by_hand(client, "tend_incidents") == "success"


def test_a_promotion_that_waits_deferred_outlives_its_triggerer_and_ends_as_its_rollout_did(
    lived: Lived, client: AirflowClient, platform: Platform
) -> None:
    """The wait needs no worker, and nothing of it is lost with the process that looks after it."""
    from ml import rollout
    from ml.ledger import champion, rollouts

    settings = lived.cluster.home / "bidwright.toml"
    settings.write_text(settings.read_text() + 'rollout = "canary"\n')
    before = champion.current(platform.db, platform.market)
    decision_id = passed_again(lived, platform)
    [promoting] = [found for found in client.runs(DAY.isoformat()) if found.dag_id == "promote_bid_model"]
    carry_out(client, promoting.run_id, decision_id)

    until(lambda: state_of(client, "promote") == "deferred")
    # Only the triggerer looks after it: no bid service has counted anything yet, and no worker holds the task.
    begun = until(lambda: rollouts.active(platform.db, platform.market))
    assert (begun.state, begun.first_decision_id) == ("shadow", decision_id)
    assert lived.cluster.kill("triggerer")
    mine = Platform(load_settings(rollout="canary"), SystemClock())
    rollout.roll_back(mine, why="a person takes it back while nobody looks", by="tester")
    mine.db.close()
    assert state_of(client, "promote") == "deferred"

    assert lived.cluster.revive() == ["triggerer"]
    until(lambda: state_of(client, "promote") == "skipped")
    ended = rollouts.get(platform.db, begun.id)
    assert (ended.state, ended.reason) == ("rolled_back", "a person takes it back while nobody looks")
    assert champion.current(platform.db, platform.market) == before


def passed_again(lived: Lived, platform: Platform) -> int:
    """A decision that lets a second version pass: the champion's files under another manifest, signed as the trainer signs."""
    from dataclasses import replace

    from ml.ledger import champion, decisions, versions
    from ml.promotion.bundle import read_bundle, write_bundle
    from ml.promotion.keyring import signing_keyring

    live = champion.current(platform.db, platform.market)
    assert live is not None
    bundle = read_bundle(platform.blobs, live.digest, platform.keys)
    signing = load_settings(signing_key=lived.cluster.secrets["BIDWRIGHT_SIGNING_KEY"])
    digest = write_bundle(
        platform.blobs,
        artefacts=bundle.artefacts,
        meta={**bundle.meta, "again": True},
        keys=signing_keyring(signing),
    )
    [first] = versions.newest(platform.db, platform.market, 1)
    at = platform.clock.now()
    versions.register(platform.db, replace(first, digest=digest, uri=f"bundles/{digest}"), at)
    [made] = decisions.latest(platform.db, platform.market, 1)
    later = replace(made, id=None, candidate=digest, champion=live.digest, generation=live.generation, approval=None)
    return decisions.record(platform.db, later, at)


def carry_out(client: AirflowClient, run_id: str, decision_id: int) -> None:
    """Have the day's promotion carry this decision out: as if `judge` had left it, and `promote` begins again."""
    path = f"/dags/promote_bid_model/dagRuns/{run_id.replace('+', '%2B')}/taskInstances/judge/xcomEntries/decision"
    client._ask("PATCH", path, json={"value": {"decision_id": decision_id}})
    asked = {"dry_run": False, "only_failed": False, "task_ids": ["promote"], "dag_run_id": run_id}
    client.post("/dags/promote_bid_model/clearTaskInstances", asked)


def state_of(client: AirflowClient, task: str) -> str | None:
    [state] = [found["state"] for found in instances(client, "promote_bid_model") if found["task_id"] == task]
    return str(state) if state else None
