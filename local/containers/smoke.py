"""`make smoke`: the core profile built, started, used, hurt and mended in real containers, and taken down again."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from local import env_file
from local.containers import checks, images
from local.containers.compose import Compose
from local.containers.engine import engine
from local.ports import choose_port
from ml.core.errors import BidwrightError, StoreUnavailable, UsageError

PROJECT: Final = "bidwright-smoke"
HISTORY: Final = (date(2026, 1, 1), date(2026, 3, 3))
DAY: Final = HISTORY[1] + timedelta(days=1)
"""On the market day after this history the demo's third candidate passes every gate: one day shows the whole lifecycle."""

PORTS: Final = {"AIRFLOW_PORT_HERE": 8080, "BIDS_PORT_HERE": 8090, "MAILBOX_PORT_HERE": 8025, "MLFLOW_PORT_HERE": 5000}
MARKET: Final = """\
source = "simulator"
serve_memory = "/run/bidwright"
schedule = "none"
tend_schedule = "none"
"""

KINDS: Final[Sequence[tuple[str, ...]]] = (
    ("postgres",),
    ("redis",),
    ("s3",),
    ("bid-1",),
    ("bid-2",),
    ("proxy",),
    ("scheduler-1", "dag-processor", "triggerer", "api-server", "worker-default", "worker-heavy", "worker-online"),
    ("mlflow", "mailbox"),
)
"""A container of each kind; those of a group are down together."""

SPARK: Final = """\
feature_engine = "spark"
spark_master = "spark://spark-master:7077"
spark_options = {"spark.driver.memory" = "512m", "spark.cores.max" = "2"}
"""
"""A worker runs two steps at a time: each is a driver of its own, and takes half of the cores."""

SPARK_KINDS: Final[Sequence[tuple[str, ...]]] = (("spark-worker",), ("spark-master",))
"""What comes on top with the profile `spark`."""

BIDS_GO_ON_WITHOUT: Final = frozenset({"postgres", "redis", "s3", "bid-1", "bid-2", "scheduler-1", "mlflow"})
"""First of each group while which is down bids must be answered as before."""

_START_S: Final = 1800.0
_AGAIN_S: Final = 900.0
_POLL_S: Final = 2.0


@dataclass
class Smoke:
    """One run: where it stands, and what was seen.

    Attributes:
        compose: the containers.
        secrets: of its own `.env`, made for this run.
        seconds: how long each step took.
        found: figures and answers worth telling.
    """

    compose: Compose
    secrets: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and say when it begins and when it is over."""
        say(f"{name} ...")
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        say(f"{name}: {self.seconds[name]:.0f} s")

    @property
    def local(self) -> bool:
        """Whether nothing comes from a registry."""
        return "local" in self.compose.profiles

    @property
    def spark(self) -> bool:
        """Whether features are computed by Spark's workers."""
        return "spark" in self.compose.profiles

    def port(self, name: str) -> int:
        """A published port, on loopback."""
        return int(self.compose.variables[name])


def say(text: str) -> None:
    """One line for whoever watches; the result itself goes to standard output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def run(*, schedulers: int = 1, spark: bool = False, registry: bool = False, keep: bool = False) -> dict[str, Any]:
    """Everything; returns what was seen, with the seconds of each step.

    Args:
        schedulers: how many are started; two cores hold one better than two.
        spark: with the profile `spark`, on whose workers the features of the market day are computed.
        registry: the profile `core` with the official images, where a registry answers; else `local`, which needs none.
        keep: leave the containers up for somebody to look at.

    Raises:
        NoEngine: no container can be run here.
        UsageError: something is not committed.
        BidwrightError: something did not do what it should; the containers are gone all the same.
    """
    if images.code_version().endswith("+"):
        raise UsageError(
            "something in this folder is not committed, and a model trained on such code is never promoted",
            left="nothing was started",
            next="commit or put it away (git status), then make smoke",
        )
    with engine() as host, tempfile.TemporaryDirectory(prefix="bidwright-smoke-") as scratch:
        smoke = _prepare(Path(scratch), host, ["core" if registry else "local", *(["spark"] if spark else [])])
        compose = smoke.compose
        try:
            _images(smoke, host)
            _down(compose)
            with smoke.step("containers up and healthy"):
                compose.run(
                    "up",
                    "--detach",
                    "--no-build",
                    *(["--scale", "scheduler-2=0"] if schedulers == 1 else []),
                    quiet=True,
                )
                wait_until_well(compose, within_s=_START_S)
            _use(smoke)
            _hurt(smoke)
        except BidwrightError:
            _tell_trouble(compose)
            raise
        finally:
            if not keep:
                with smoke.step("taken down"):
                    _down(compose)
        return {"seconds": smoke.seconds, **smoke.found}


def _prepare(scratch: Path, host: str, profiles: Sequence[str]) -> Smoke:
    scratch.chmod(0o755)  # containers read the market's settings from it, as somebody else
    (scratch / "market.toml").write_text(MARKET + SPARK * ("spark" in profiles))
    env_file.write(scratch / ".env")
    taken: list[int] = []
    for usual in PORTS.values():
        taken.append(choose_port(usual, taken=taken))
    variables = {name: str(port) for name, port in zip(PORTS, taken, strict=True)}
    variables |= {"MARKET_FILE": str(scratch / "market.toml"), "AIRFLOW_URL": f"http://127.0.0.1:{taken[0]}"}
    if "spark" in profiles:
        variables["PLATFORM_IMAGE"] = "bidwright/spark:local"
    compose = Compose(PROJECT, profiles, host, scratch / ".env", variables)
    return Smoke(compose, env_file.read(scratch / ".env"))


def _images(smoke: Smoke, host: str) -> None:
    if smoke.local:
        with smoke.step("base images"):
            images.make_bases(host, spark=smoke.spark)
    with smoke.step("wheels"):
        images.fetch_wheels(spark=smoke.spark)
    images.publish_dags()
    with smoke.step("images"):
        targets = ["spark" if smoke.spark else "platform", *(["s3-local"] if smoke.local else [])]
        images.build(targets, host, local=smoke.local)


def _use(smoke: Smoke) -> None:
    """Import a history, live through one market day, ask for a bid, look at the pages."""
    first, last = HISTORY
    with smoke.step("history imported"):
        # In bulk and by one process: DuckDB's, also where the days after it are Spark's.
        engine = ("env", "BIDWRIGHT_FEATURE_ENGINE=duckdb")
        smoke.compose.run_in(
            "worker-default", *engine, "bidwright", "history", "--from", str(first), "--to", str(last), "--json"
        )
    with smoke.step("market day through Airflow"):
        smoke.found["day"] = checks.live_through(smoke.port("AIRFLOW_PORT_HERE"), smoke.secrets, DAY)
    if smoke.spark:
        smoke.found["spark"] = checks.spark(smoke.compose)
    with smoke.step("bid through the proxy"):
        body = checks.question(smoke.compose, DAY)
        smoke.found["bid"] = checks.ask(smoke.port("BIDS_PORT_HERE"), smoke.secrets, body)
    with smoke.step("pages"):
        smoke.found["pages"] = checks.pages(smoke)
    with smoke.step("what containers may not"):
        smoke.found["refused"] = checks.refused(smoke.compose)
    with smoke.step("doctor"):
        smoke.found["doctor"] = checks.doctors(smoke.compose)
    smoke.found["memory_mib"] = checks.memory(smoke.compose)
    smoke.found["image_mib"] = checks.image_sizes(smoke.compose)
    smoke.found["body"] = body


def _hurt(smoke: Smoke) -> None:
    """Stop a container of each kind and start it again; then everything must be as it was."""
    before, body = smoke.found["bid"], smoke.found.pop("body")
    port = smoke.port("BIDS_PORT_HERE")
    for group in kinds(smoke.compose.profiles):
        with smoke.step(f"{', '.join(group)} stopped and started"):
            _stop_and_start(smoke, group, lambda: checks.ask(port, smoke.secrets, body, patience_s=5.0))
    with smoke.step("bids as before, and a step of the day again"):
        after = checks.ask(port, smoke.secrets, body)
        for name in ("version", "generation"):
            if after[name] != before[name]:
                raise StoreUnavailable(f"{name} of a bid was {before[name]} and is {after[name]} after the restarts")
        smoke.found["pacing"] = checks.pacing(port, smoke.secrets)
        smoke.found["again"] = checks.once_more(smoke.port("AIRFLOW_PORT_HERE"), smoke.secrets, DAY, "settle_outcomes")


def kinds(profiles: Sequence[str]) -> list[tuple[str, ...]]:
    """The groups of containers that are stopped and started, by what is up."""
    ours = [
        tuple(("s3-local" if "local" in profiles else "s3") if one == "s3" else one for one in group) for group in KINDS
    ]
    return [*ours, *(SPARK_KINDS if "spark" in profiles else ())]


def _stop_and_start(smoke: Smoke, group: Sequence[str], ask: Callable[[], dict[str, Any]]) -> None:
    compose = smoke.compose
    began = {one.service: one.started for one in compose.containers()}
    compose.run("stop", *group, quiet=True)
    stopped = {one.service for one in compose.containers() if one.state == "exited"}
    if missing := set(group) - stopped:
        raise StoreUnavailable(f"{', '.join(sorted(missing))} did not stop")
    if group[0].removesuffix("-local") in BIDS_GO_ON_WITHOUT and ask()["version"] != smoke.found["bid"]["version"]:
        raise StoreUnavailable(f"without {group[0]} the bid service no longer bids with the champion")
    compose.run("start", *group, quiet=True)
    wait_until_well(compose, within_s=_AGAIN_S)
    same = [one.service for one in compose.containers() if one.service in group and one.started == began[one.service]]
    if same:
        raise StoreUnavailable(f"{', '.join(same)} was not started again")


def wait_until_well(compose: Compose, *, within_s: float) -> None:
    """Wait until every container is healthy, or has ended as it should.

    Raises:
        StoreUnavailable: one ended with an error, or it took too long; with their names.
    """
    deadline, told = time.monotonic() + within_s, ""
    while True:
        found = compose.containers()
        ill = [one for one in found if not one.well]
        if found and not ill:
            return
        waiting = ", ".join(sorted(f"{one.service} {one.health or one.state}" for one in ill))
        if failed := [one for one in ill if one.service == "init" and one.state == "exited"]:
            raise StoreUnavailable(f"{failed[0].service} ended with code {failed[0].code}")
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"not healthy after {within_s:.0f} s: {waiting or 'nothing was started'}")
        if os.environ.get("VERBOSE") and waiting != told:
            say(f"  waiting for {waiting}")
            told = waiting
        time.sleep(_POLL_S)


def _tell_trouble(compose: Compose) -> None:
    """The last lines of every container that is not well, before they are gone."""
    for one in compose.containers():
        if not one.well or one.service == "init":
            say(f"--- {one.service} ({one.state} {one.health}, code {one.code})")
            say(compose.run("logs", "--no-color", "--tail", "25", one.service, quiet=True, check=False))


def _down(compose: Compose) -> None:
    compose.run("down", "--volumes", "--remove-orphans", "--timeout", "20", quiet=True)
    label = f"label=com.docker.compose.project={compose.project}"
    left = [*compose.containers()]
    others = compose.docker("volume", "ls", "--quiet", "--filter", label) + compose.docker(
        "network", "ls", "--quiet", "--filter", label
    )
    if left or others.strip():
        raise StoreUnavailable(f"something is left of {compose.project}: {[one.name for one in left]} {others.split()}")


def show(result: Mapping[str, Any], *, as_json: bool) -> None:
    """What was seen: a line of JSON, or a sentence."""
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    bid, memory = result["bid"], result["memory_mib"]
    sys.stdout.write(
        f"smoke: all well in {sum(result['seconds'].values()):.0f} s; the champion {bid['version']} (generation "
        f"{bid['generation']}) answers through the proxy; {sum(memory.values()):.0f} MiB in {len(memory)} containers\n"
    )
