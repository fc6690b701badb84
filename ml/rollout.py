"""Use cases about rollouts: what Airflow tasks, the trigger and the command line call. Each is safe to run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml.core import tracing
from ml.pipeline import deliver_mail

if TYPE_CHECKING:
    from ml.platform import Platform

Result = dict[str, Any]


def tend(platform: Platform, *, may_judge: bool = True) -> Result:
    """One look after the market's rollout: judge what was counted, go one step on, roll back, promote; or nothing."""
    from ml.steps.rollout import look_after

    result = look_after(platform, may_judge=may_judge)
    deliver_mail(platform)
    return result


def state_of(platform: Platform, decision_id: int) -> Result:
    """How far the rollout of a decision is: its `state`, and whether it is `over` (also where there is none)."""
    from ml.ledger import rollouts

    found = rollouts.of_decision(platform.db, decision_id)
    return {"state": found.state if found else None, "over": found is None or found.is_over}


def status(platform: Platform) -> Result:
    """The rollout under way, those that wait, the last ones, bars, rollbacks and the last drill; writes nothing."""
    from ml.steps.rollout import status as found

    return found(platform)


def roll_back(platform: Platform, *, why: str, by: str, to_generation: int | None = None) -> Result:
    """Take the canary out of traffic, or the champion back to an earlier bundle; bars what failed, and mails."""
    from ml.steps.rollout import roll_back as take_back

    with tracing.span("rollback", market=platform.market, by=by):
        result = take_back(platform, why=why, by=by, to_generation=to_generation)
    deliver_mail(platform)
    return result


def rehearse(platform: Platform) -> Result:
    """Roll back and forward on a copy of the market's champions, and record whether it went well and how long it took."""
    from ml.steps.rollout import rehearse as drill

    with tracing.span("rehearse", market=platform.market):
        return drill(platform)


def list_bars(platform: Platform) -> Result:
    """What is not offered again until a person says so."""
    from ml.steps.rollout import list_bars as listed

    return listed(platform)


def lift_bar(platform: Platform, digest: str, *, why: str, by: str) -> Result:
    """Let a barred bundle be offered again, or (`*`) the market's candidates move by themselves again."""
    from ml.steps.rollout import lift_bar as lift

    result = lift(platform, digest, why=why, by=by)
    deliver_mail(platform)
    return result
