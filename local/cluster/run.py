"""`make cluster`: the whole topology on loopback, market days through it, and its pages left to be looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import httpx

from local import demo, env_file, screen
from local.bring_up import bring_up
from local.cluster.places import BRANCH, airflow_url
from local.cluster.topology import BIDS, STORES, WORKERS, Cluster
from local.days import DayRunner, missing_stages
from local.guard import alone, ending_on_interrupt
from local.ports import LOOPBACK
from local.prepare import ADMIN
from local.scenario import Scenario, choose
from ml.core.code_version import code_version
from ml.core.errors import BidwrightError, NoData, StoreUnavailable
from ml.core.settings import load_settings
from ml.platform import Platform

HISTORY_LAST: Final = date(2026, 3, 3)
"""On the market day after this the demo's third candidate passes every gate: one day shows the whole lifecycle."""

QUIET_S: Final = 180.0
"""A scheduler that died is noticed by the other after half a minute; what is asked for meanwhile would run twice."""

_ASKED: Final = 3
"""Candidates of a question."""
_ANSWER_S: Final = 300.0
_POLL_S: Final = 0.2


def story(days: int) -> Scenario:
    """The demo's market, from the day on which its first champion is made."""
    return replace(choose("simulator", "", days=days), history_last=HISTORY_LAST)


def run(home: Path, scenario: Scenario, *, once: bool, env: Path = env_file.ENV_FILE) -> int:
    """Bring a cluster up and live through the story's days.

    Args:
        home: the cluster's working folder.
        scenario: the story.
        once: end everything afterwards; the exit code then says whether every step happened.
        env: the file with the secrets.

    Returns:
        The exit code: 0, or 1 where something did not happen.
    """
    cluster = Cluster(home, env)
    # What is missing is said before anything is started.
    _ = cluster.secrets, cluster.programs
    with alone(home, cluster.command), ending_on_interrupt(cluster):
        try:
            missing = tell(cluster, scenario)
        finally:
            if once:
                cluster.stop()
                screen.say("everything was stopped again")
    return 1 if missing and once else 0


def tell(cluster: Cluster, scenario: Scenario) -> list[str]:
    """Bring it up, live through the days, ask for a bid; returns what did not happen."""
    began = time.monotonic()
    raise_up(cluster, scenario)
    platform = Platform.from_environment()
    live_through(cluster, platform, scenario.days)
    missing = demo.missing_steps({day: demo.stage_results(platform, day) for day in scenario.days}, mails=1)
    answer = ask(cluster, platform, scenario.days[-1])
    if answer["step"] not in {"model", "defaults"}:
        missing.append(f"a bid of the champion through the proxy (step {answer['step']})")
    screen.table([demo.day_row(platform, day) for day in scenario.days], currency=platform.settings.currency)
    _closing(cluster, answer, missing, seconds=time.monotonic() - began)
    return missing


def raise_up(cluster: Cluster, scenario: Scenario) -> None:
    """Start every service and import the history beside it; this process then sees the cluster's platform."""
    cluster.claim(scenario.toml())
    environment = cluster.platform_environment()
    for name in [name for name in os.environ if name.startswith(("BIDWRIGHT_", "AWS_"))]:
        del os.environ[name]
    os.environ |= environment
    screen.opening(cluster.home, scenario)
    if changed := cluster.changed_dags():
        screen.say(f"not committed, so not seen by the cluster: {', '.join(changed)}")
    if not code_version(load_settings()).clean:
        screen.say("this tree has changes that are in no commit: what it trains is not promoted (gate code_version)")
    try:
        bring_up(cluster, scenario)
        cluster.wait([*STORES, *WORKERS, *BIDS, "proxy"])
    except BidwrightError:
        cluster.stop()
        raise


def live_through(cluster: Cluster, platform: Platform, days: Sequence[date]) -> None:
    """Carry the days, one after another, through the schedulers; what died meanwhile is started again."""
    with cluster.client() as client, screen.DayProgress(days) as progress:
        runner = DayRunner(
            client,
            results=lambda day: demo.stage_results(platform, day),
            revive=cluster.revive,
            logs=cluster.home / "airflow" / "logs",
            notice=progress.at_work,
            quiet_s=QUIET_S,
        )
        for day in days:
            if missing_stages(demo.stage_results(platform, day)):
                progress.begin(day)
                runner.run(day)
            progress.finish(day, demo.day_row(platform, day))


def ask(cluster: Cluster, platform: Platform, day: date) -> dict[str, Any]:
    """Ask for a bid through the proxy, for a hotel of a market day; waits until the services follow the champion.

    Raises:
        StoreUnavailable: nobody answers.
    """
    url = f"http://{LOOPBACK}:{cluster.ports().proxy}/v1/bids"
    token = {"Authorization": f"Bearer {cluster.secrets['BIDWRIGHT_SERVE_TOKEN']}"}
    deadline, said = time.monotonic() + _ANSWER_S, ""
    body = question(platform, day)
    while time.monotonic() < deadline:
        try:
            answer = httpx.post(url, json=body, headers=token, timeout=10.0, trust_env=False)
        except httpx.HTTPError as error:
            said = str(error)
        else:
            said = answer.text[:200]
            if answer.is_success and answer.json()["version"] and bids_in(answer.json()):
                found: dict[str, Any] = answer.json()
                return found
        time.sleep(_POLL_S)
    raise StoreUnavailable(f"the bid services gave no bid: {said}", next=f"read {cluster.logs / 'bid-1.log'}")


def bids_in(answer: Mapping[str, Any]) -> int:
    """How many candidates of an answer of the bid service have a bid, or had one that the partner's day has no money left for.

    The services go by the real clock: late in the day little is left, and each question counts as spent.
    """
    return sum(one["bid_micros"] > 0 or one["reason"] == "paced" for one in answer["bids"])


def question(platform: Platform, day: date) -> dict[str, Any]:
    """A search for stays such as were searched for on a market day, each as far ahead of now as it lay of that day.

    The service goes by the real clock, by which a simulated market day is long past: features of that day count as absent
    (`step` is `defaults`), and stays of that time could not be bid for.
    """
    searches = platform.lake.read("opportunities", day).head(_ASKED)
    if searches.empty:
        raise NoData(f"{day} has no opportunities")
    today, first = platform.clock.now().date(), searches.iloc[0]
    candidates = [
        {
            "id": str(number),
            "hotel_id": row["hotel_id"],
            "check_in": str(today + (date.fromisoformat(str(row["check_in"])[:10]) - day)),
            "los_nights": int(row["los_nights"]),
            "price_micros": int(row["price_micros"]),
        }
        for number, row in enumerate(searches.to_dict("records"))
    ]
    user = {
        "partner": first["partner"],
        "market": first["market"],
        "device": first["device"],
        "country": first["user_country"],
    }
    return {"key": "cluster", "user": user, "candidates": candidates}


def _closing(cluster: Cluster, answer: Mapping[str, Any], missing: Sequence[str], *, seconds: float) -> None:
    ports = cluster.ports()
    screen.say(f"Done in {seconds:.0f} s; {len(cluster.supervisor.running())} services run.")
    for step in missing:
        screen.say(f"did not happen: {step}")
    screen.say(f"Bid service http://{LOOPBACK}:{ports.proxy}   answered with {answer['step']} of {answer['version']}")
    screen.say(f"Airflow     {airflow_url(ports)}   user {ADMIN}   password: AIRFLOW_ADMIN_PASSWORD in .env")
    screen.say(f"Bid models  {airflow_url(ports)}/plugin/bid-models")
    screen.say(f"MLflow      http://{LOOPBACK}:{ports.mlflow}")
    screen.say(f"Mailbox     http://{LOOPBACK}:{ports.mailbox}")
    screen.say(f"DAG files   {cluster.home / 'dags.git'}, branch {BRANCH}")
    screen.say(f"Ports       {', '.join(f'{name} {port}' for name, port in asdict(ports).items())}")
    screen.say("Stop it all with: make down")
