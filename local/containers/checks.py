"""What the smoke test asks of the containers, from outside, as their users do."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import httpx

from local.client import AirflowClient, DagRun
from local.cluster.run import bids_in
from local.containers.compose import Compose
from local.days import DAG_OF_STAGE
from local.ports import LOOPBACK
from ml.core.errors import BidwrightError, StoreUnavailable

if TYPE_CHECKING:
    from local.containers.smoke import Smoke

ADMIN: Final = "admin"
_DAY_S: Final = 2700.0
_QUIET_S: Final = 8.0
_POLL_S: Final = 2.0

BY_MODEL: Final = frozenset({"model", "defaults"})
"""Steps of the ladder on which the champion itself answered; with defaults, since features of a simulated day are long out of date."""

_QUESTION: Final = """\
import json, sys
from datetime import date
from local.cluster.run import question
from ml.platform import Platform
print(json.dumps(question(Platform.from_environment(), date.fromisoformat(sys.argv[1]))))
"""

_SPARK_SAYS: Final = """\
from urllib.request import urlopen
print(urlopen("http://spark-master:8080/json/", timeout=10).read().decode())
"""

FORBIDDEN: Final = (
    ("worker-default", "write below /opt", "Path('/opt/bidwright/x').write_text('x')"),
    ("worker-default", "write below /etc", "Path('/etc/x').write_text('x')"),
    ("worker-default", "become root", "os.setuid(0)"),
    ("bid-1", "write online features", "redis_of_readers().set('probe.bidwright_000000000000', b'1')"),
    ("bid-1", "write a bundle", "blobs().put('bundles/x', b'x')"),
    ("bid-1", "read the key that signs", "os.environ.get('BIDWRIGHT_SIGNING_KEY') or refuse()"),
)
"""What containers of ours try and must not be able to: service, what, and how in Python."""

_TRY: Final = """\
import os
from pathlib import Path
from redis import Redis
from redis.exceptions import NoPermissionError
from ml.core.errors import StoreUnavailable
def refuse():
    raise PermissionError
def redis_of_readers():
    where = {{"host": os.environ["REDIS_HOST"], "port": int(os.environ["REDIS_PORT"])}}
    found = Redis(**where, username="bidwright_reader", password=os.environ["REDIS_READER_PASSWORD"])
    found.get("mark.bidwright_000000000000")
    return found
def blobs():
    from ml.platform import Platform
    found = Platform.from_environment().blobs
    if not found.list("bundles/"):
        raise LookupError("no bundle to read")
    return found
try:
    {code}
except (OSError, NoPermissionError):
    print("refused")
except StoreUnavailable as error:
    print("refused" if "AccessDenied" in error.what else error)
"""


def client(port: int, secrets: Mapping[str, str]) -> AirflowClient:
    """Airflow as the administrator."""
    return AirflowClient(f"http://{LOOPBACK}:{port}", user=ADMIN, password=secrets["AIRFLOW_ADMIN_PASSWORD"])


def live_through(port: int, secrets: Mapping[str, str], day: date) -> dict[str, Any]:
    """Trigger a market day and wait until every DAG of the lifecycle has done its part.

    Returns:
        The seconds from the trigger to the last run's end, and the runs by DAG.

    Raises:
        StoreUnavailable: a run failed, or the day stood still.
    """
    with client(port, secrets) as airflow:
        _wait_for_dags(airflow)
        began = moved = time.monotonic()
        airflow.trigger(DAG_OF_STAGE["ingest"], day.isoformat())
        while True:
            runs = _runs(airflow, day)
            if failed := [run for run in runs if run.state == "failed"]:
                tasks = ", ".join(airflow.failed_tasks(failed[0]))
                raise StoreUnavailable(f"{failed[0].dag_id} failed on {day}, in {tasks or 'no task'}")
            missing = sorted(set(DAG_OF_STAGE.values()) - {run.dag_id for run in runs if run.state == "success"})
            now = time.monotonic()
            if any(not run.ended for run in runs):
                moved = now
            elif not missing and now - moved > _QUIET_S:
                return {"seconds": round(moved - began, 1), "runs": _by_dag(runs)}
            if now - began > _DAY_S or now - moved > 180:
                raise StoreUnavailable(f"{day} stands still; not done: {', '.join(missing)}")
            time.sleep(_POLL_S)


def once_more(port: int, secrets: Mapping[str, str], day: date, dag: str) -> str:
    """Run one DAG for a day again, to the end; returns its state, which is success."""
    with client(port, secrets) as airflow:
        _wait_for_dags(airflow)
        asked = airflow.trigger(dag, day.isoformat())
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline:
            found = next((run for run in airflow.runs(day.isoformat()) if run.run_id == asked.run_id), asked)
            if found.state == "success":
                return found.state
            if found.ended:
                break
            time.sleep(_POLL_S)
        raise StoreUnavailable(f"{dag} did not succeed again on {day}")


def _wait_for_dags(airflow: AirflowClient) -> None:
    deadline, missing = time.monotonic() + 900, set(DAG_OF_STAGE.values())
    while missing:
        if errors := airflow.import_errors():
            raise StoreUnavailable(f"Airflow could not import a DAG file: {errors[0].strip().splitlines()[-1]}")
        missing = set(DAG_OF_STAGE.values()) - set(airflow.dags())
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"Airflow did not find the DAGs {', '.join(sorted(missing))}")
        time.sleep(_POLL_S)


def _runs(airflow: AirflowClient, day: date) -> list[DagRun]:
    try:
        return airflow.runs(day.isoformat())
    except BidwrightError:
        return []


def _by_dag(runs: list[DagRun]) -> dict[str, int]:
    names = sorted(run.dag_id for run in runs)
    return {name: names.count(name) for name in dict.fromkeys(names)}


def spark(compose: Compose) -> dict[str, int]:
    """What Spark's master says: workers that are alive, and applications that came to an end.

    Raises:
        StoreUnavailable: nothing was computed there.
    """
    said = json.loads(compose.run_in("worker-default", "python", "-c", _SPARK_SAYS))
    found = {"workers": int(said["aliveworkers"]), "applications": len(said["completedapps"])}
    if not all(found.values()) or any(one["state"] != "FINISHED" for one in said["completedapps"]):
        raise StoreUnavailable(
            f"Spark did not compute the day: {found}, {[one['state'] for one in said['completedapps']]}"
        )
    return found


def question(compose: Compose, day: date) -> dict[str, Any]:
    """A search such as was made on a market day, from the lake."""
    answer: dict[str, Any] = json.loads(
        compose.run_in("worker-default", "python", "-c", _QUESTION, day.isoformat()).strip().splitlines()[-1]
    )
    return answer


def ask(port: int, secrets: Mapping[str, str], body: Mapping[str, Any], *, patience_s: float = 300.0) -> dict[str, Any]:
    """Ask for a bid through the proxy; waits until the services follow the champion.

    Raises:
        StoreUnavailable: nobody bids with the model, or somebody without a token is answered.
    """
    url = f"http://{LOOPBACK}:{port}/v1/bids"
    deadline, said = time.monotonic() + patience_s, ""
    with httpx.Client(trust_env=False, timeout=10.0) as http:
        while True:
            try:
                answer = http.post(
                    url, json=body, headers={"Authorization": f"Bearer {secrets['BIDWRIGHT_SERVE_TOKEN']}"}
                )
                said = answer.text[:200]
                if answer.is_success and answer.json()["step"] in BY_MODEL and bids_in(answer.json()):
                    stranger = http.post(url, json=body)
                    if stranger.status_code != httpx.codes.UNAUTHORIZED:
                        raise StoreUnavailable(f"whoever has no token is answered with {stranger.status_code}")
                    found: dict[str, Any] = answer.json()
                    return found
            except httpx.HTTPError as error:
                said = str(error)
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the bid services do not bid with their model: {said}")
            time.sleep(0.2)


def pacing(port: int, secrets: Mapping[str, str]) -> dict[str, Any]:
    """How partners are paced, as the proxy's next service says.

    Raises:
        StoreUnavailable: no partner is, or what is spent cannot be counted.
    """
    token = {"Authorization": f"Bearer {secrets['BIDWRIGHT_SERVE_TOKEN']}"}
    answer = httpx.get(f"http://{LOOPBACK}:{port}/v1/models", headers=token, trust_env=False, timeout=10.0)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()["pacing"]
    if wrong := found["why_not"] or found["trouble"]:
        raise StoreUnavailable(f"the bid services do not pace: {wrong}")
    return found


def pages(smoke: Smoke) -> dict[str, int]:
    """Statuses of pages that people look at; each must be as it is here.

    Raises:
        StoreUnavailable: one answers otherwise.
    """
    airflow, mail, mlflow = (
        smoke.port(name) for name in ("AIRFLOW_PORT_HERE", "MAILBOX_PORT_HERE", "MLFLOW_PORT_HERE")
    )
    with httpx.Client(trust_env=False, timeout=60.0) as http:
        login = {"username": ADMIN, "password": smoke.secrets["AIRFLOW_ADMIN_PASSWORD"]}
        granted = http.post(f"http://{LOOPBACK}:{airflow}/auth/token", json=login)
        granted.raise_for_status()
        token = {"Authorization": f"Bearer {granted.json()['access_token']}"}
        asked = {
            "Airflow": (f"http://{LOOPBACK}:{airflow}/", {}, 200),
            "Bid models": (f"http://{LOOPBACK}:{airflow}/bid-models/", token, 200),
            "Bid models, a stranger": (f"http://{LOOPBACK}:{airflow}/bid-models/", {}, 401),
            "mailbox": (f"http://{LOOPBACK}:{mail}/", {}, 200),
            "MLflow": (f"http://{LOOPBACK}:{mlflow}/", {}, 200),
        }
        seen = {name: http.get(url, headers=head).status_code for name, (url, head, _) in asked.items()}
    wrong = {name: status for name, status in seen.items() if status != asked[name][2]}
    if wrong:
        raise StoreUnavailable(f"pages that do not answer as they should: {wrong}")
    return seen


def refused(compose: Compose) -> list[str]:
    """What a container of ours tried and could not do.

    Raises:
        StoreUnavailable: it could.
    """
    for service, what, code in FORBIDDEN:
        if compose.run_in(service, "python", "-c", _TRY.format(code=code)).strip() != "refused":
            raise StoreUnavailable(f"the container {service} can {what}")
    return [f"{service}: {what}" for service, what, _ in FORBIDDEN]


def doctors(compose: Compose) -> dict[str, int]:
    """How many things `bidwright doctor` finds well in a worker, and in a bid service as one that only reads.

    Raises:
        StoreUnavailable: it finds something wrong.
    """
    found = {}
    for service, asked in (("worker-default", ()), ("bid-1", ("--reader",))):
        said = json.loads(compose.run_in(service, "bidwright", "doctor", *asked, "--json", check=False))
        if wrong := [f"{one['name']}: {one['finding']}" for one in said["checks"] if not one["ok"]]:
            raise StoreUnavailable(f"in {service} the doctor says: {'; '.join(wrong)}")
        found[service] = len(said["checks"])
    return found


def memory(compose: Compose) -> dict[str, float]:
    """MiB that each container holds, by service."""
    found = {}
    for one in compose.containers():
        if one.state == "running":
            used = compose.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", one.name).split("/")[0].strip()
            found[one.service] = round(_mib(used), 1)
    return found


def image_sizes(compose: Compose) -> dict[str, int]:
    """MiB of each image that runs."""
    names = {
        compose.docker("inspect", "--format", "{{.Config.Image}}", one.name).strip() for one in compose.containers()
    }
    sizes = {name: int(compose.docker("image", "inspect", "--format", "{{.Size}}", name)) for name in sorted(names)}
    return {name: size >> 20 for name, size in sizes.items()}


def _mib(text: str) -> float:
    units = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024, "B": 1 / (1 << 20)}
    unit = next(name for name in units if text.endswith(name))
    return float(text.removesuffix(unit)) * units[unit]
