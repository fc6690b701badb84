"""`make demo`: from an empty folder to a deployed bid model, through a real scheduler, one market day after another."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from local import screen
from local.bring_up import bring_up
from local.days import DAG_OF_STAGE, DayRunner, StageResults, missing_stages
from local.guard import alone, ending_on_interrupt
from local.scenario import Scenario
from local.scorecard import score_days
from local.stack import ONLINE_STORE_POOL, Stack
from ml.core.errors import BidwrightError
from ml.platform import Platform


def run(home: Path, scenario: Scenario, *, once: bool) -> int:
    """Tell the story from where it stands.

    Args:
        home: the working folder.
        scenario: the story.
        once: stop everything at the end; the exit code then says whether every step of the lifecycle happened.

    Returns:
        The exit code: 0, or 1 where a step did not happen.
    """
    stack = Stack(home)
    with alone(home), ending_on_interrupt(stack):
        try:
            missing = _tell(stack, scenario)
        finally:
            if once:
                stack.stop()
                screen.say("everything was stopped again")
    return 1 if missing and once else 0


def _tell(stack: Stack, scenario: Scenario) -> list[str]:
    """The story itself; returns the steps of the lifecycle that did not happen."""
    began = time.monotonic()
    stack.claim(scenario.toml())
    os.environ["BIDWRIGHT_HOME"] = str(stack.home)
    screen.opening(stack.home, scenario)
    ready_to_sign()
    try:
        bring_up(stack, scenario)
    except BidwrightError:
        stack.stop()
        raise
    platform = Platform.from_environment()
    with stack.client() as client:
        client.keep_pool(ONLINE_STORE_POOL, slots=1, description="The writer of the online feature store.")
        with screen.DayProgress(scenario.days) as progress:
            runner = DayRunner(
                client,
                results=lambda day: stage_results(platform, day),
                revive=stack.revive,
                logs=stack.home / "airflow" / "logs",
                notice=progress.at_work,
            )
            for day in scenario.days:
                if missing_stages(stage_results(platform, day)):
                    progress.begin(day)
                    runner.run(day)
                progress.finish(day, day_row(platform, day))
    unscored = score_days(platform, stack, scenario)
    screen.table([day_row(platform, day) for day in scenario.days], currency=platform.settings.currency)
    if unscored:
        screen.say(f"share of O2 is not known: {unscored}")
    missing = missing_steps({day: stage_results(platform, day) for day in scenario.days}, mails=_mails(platform))
    screen.closing(stack, missing=missing, seconds=time.monotonic() - began)
    return missing


def ready_to_sign() -> None:
    """Make the working folder's development key, or complain of the keys in the settings, before anything is started."""
    from ml.core.settings import load_settings
    from ml.promotion.keyring import signing_keyring

    keys = signing_keyring(load_settings())
    if keys.secret is not None and not keys.refuses_development:
        screen.say(
            f"Bundles are signed by the development key {keys.secret.public.id}, which counts in this folder only"
        )


def stage_results(platform: Platform, day: date) -> StageResults:
    """The results of the stages that ended well on a day; a stage that stopped counts as not run."""
    from ml.ledger import stages

    records = stages.for_day(platform.db, platform.market, day)
    return {stage: record.result for stage, record in records.items() if record.status != "stopped"}


def day_row(platform: Platform, day: date) -> Mapping[str, Any]:
    """The row of a day in the closing table."""
    from ml.status import day_row as row

    return row(platform, day)


def missing_steps(days: Mapping[date, StageResults], *, mails: int) -> list[str]:
    """The steps of the lifecycle that did not happen in these days: each by the name a person knows it by."""
    missing = [f"{DAG_OF_STAGE[stage]} on {day}" for day, results in days.items() for stage in missing_stages(results)]
    happened = {
        "a retrain": any(r.get("train", {}).get("candidate") for r in days.values()),
        "a gate decision": any(r.get("promote", {}).get("verdict") for r in days.values()),
        "a promotion": any(r.get("promote", {}).get("moved") for r in days.values()),
        "published bids": any(r.get("publish", {}).get("published") for r in days.values()),
        "a mail": mails > 0,
    }
    return missing + [name for name, done in happened.items() if not done]


def _mails(platform: Platform) -> int:
    from ml.ledger import outbox

    return len(outbox.sent(platform.db))


def down(home: Path) -> int:
    """Stop what `make demo` started in this working folder, and what `make cluster` did in it or below it."""
    from local.cluster.topology import Cluster

    # The same file names both kinds of services; a cluster's stores are ended after what uses them.
    stopped = [name for folder in (home, home / "cluster") for name in Cluster(folder).stop()]
    screen.say(f"stopped: {', '.join(stopped)}" if stopped else f"nothing runs for {home}")
    return 0
