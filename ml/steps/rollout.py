"""Rollouts of a platform: begin one, look after it, tell people, roll back, and rehearse that."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from ml.core.digests import Digest
from ml.core.errors import BidwrightError, NoData, UsageError
from ml.core.faultpoints import faultpoint
from ml.ledger import bars, champion, decisions, drills, rollbacks, rollouts, stages
from ml.promotion import rollback
from ml.promotion.canary import FolderStats, StatsSource
from ml.promotion.ramp import RampPolicy, ramp_for
from ml.promotion.rollout import JUDGE, Ticked, enqueue, renew, stop, tick
from ml.serving.arm_stats import arms_folders
from monitoring.alerts import raise_alert, resolve_alerts

if TYPE_CHECKING:
    from ml.ledger.database import Transaction
    from ml.ledger.rollouts import Rollout
    from ml.platform import Platform

CAUSE = "rollback"
FREEZE = "rollback:frozen"
SHOWN = 10


def policy_of(platform: Platform) -> RampPolicy:
    """The ramp that the settings ask for."""
    return ramp_for(platform.settings.rollout_slow_hours)


def begin(platform: Platform, decision_id: int) -> dict[str, Any]:
    """Put the candidate of a decision on its way, unless it is; and say how far it is."""
    rollout = enqueue(platform.db, decision_id=decision_id, policy=policy_of(platform), at=platform.clock.now())
    return state_of(platform, rollout)


def state_of(platform: Platform, rollout: Rollout) -> dict[str, Any]:
    """How far a rollout is, as `promote` answers it: `moved` is true once its candidate became the champion."""
    live = champion.current(platform.db, platform.market)
    return {
        "decision_id": rollout.first_decision_id,
        "candidate": rollout.candidate,
        "moved": rollout.state == "promoted",
        "reason": f"rollout {rollout.id} {rollout.state.replace('_', ' ')}: {rollout.reason}",
        "champion": live.digest if live else None,
        "generation": live.generation if live else 0,
        "rollout": {"id": rollout.id, "state": rollout.state, "step": rollout.step, "over": rollout.is_over},
    }


def look_after(platform: Platform, *, may_judge: bool, stats: StatsSource | None = None) -> dict[str, Any]:
    """One tick of the market's rollout.

    Args:
        platform: the platform.
        may_judge: whether a candidate may be judged again here, which takes as long as `judge`. Where not, the answer
            `judge` says that somebody has to.
        stats: the counts of the arms; None for those of the bid service on this machine.
    """
    policy = policy_of(platform)
    source = stats or FolderStats(
        *arms_folders(platform.settings), stale_after_us=int(policy.stale_after.total_seconds() * 1e6)
    )

    def told(session: Transaction, done: Ticked) -> None:
        _tell(session, platform, done)

    done = tick(platform.db, market=platform.market, stats=source, clock=platform.clock, policy=policy, told=told)
    if done.action == "judge" and may_judge and done.rollout is not None:
        done = Ticked("restarted", _judged_again(platform, done.rollout))
    return {
        "action": done.action,
        "rollout": rollouts.as_json(done.rollout) if done.rollout else None,
        "judgement": done.judgement.as_json() if done.judgement else None,
    }


def status(platform: Platform) -> dict[str, Any]:
    """The rollout in front of traffic, those that wait, the last ones, what is barred and was rolled back, the last drill."""
    db, market = platform.db, platform.market
    now, drill = rollouts.active(db, market), drills.last_drill(db, market)
    freeze = bars.frozen(db, market)
    return {
        "mode": platform.settings.rollout,
        "active": rollouts.as_json(now) if now else None,
        "queued": [rollouts.as_json(one) for one in rollouts.queued(db, market)],
        "last": [
            {"id": one.id, "candidate": one.candidate, "state": one.state, "reason": one.reason}
            for one in rollouts.newest(db, market, SHOWN)
        ],
        "events": [
            {"at": event.at.isoformat(), "state": event.state, "step": event.step, "reason": event.reason}
            for event in (rollouts.events(db, now.id) if now else ())
        ],
        "rollbacks": [rollback.as_json(one) for one in rollbacks.newest(db, market, SHOWN)],
        "frozen": freeze.reason if freeze else None,
        "drill": {"at": drill.at.isoformat(), "took_ms": drill.took_ms, "ok": drill.ok} if drill else None,
    }


def roll_back(platform: Platform, *, why: str, by: str, to_generation: int | None = None) -> dict[str, Any]:
    """Take the canary out of traffic, if there is one and no generation is named; else the champion back.

    Raises:
        UsageError: the champion came by a rollback just now and no generation is named, so that a command that is
            repeated does not go back twice; else as `ml.promotion.rollback.roll_back`.
    """
    if not (by.strip() and why.strip()):
        raise UsageError(
            "a rollback needs to know who and why", left="nothing changed", next="give a name and a reason"
        )
    at, policy = platform.clock.now(), policy_of(platform)
    under_way = rollouts.active(platform.db, platform.market)
    if under_way is not None and to_generation is None:
        with platform.db.session() as session:
            done = stop(session, under_way, why=why, by=by, automatic=False, policy=policy, at=at)
            _tell(session, platform, done)
        return {"what": "canary", "candidate": under_way.candidate, "rollout": under_way.id, "done": True}
    live = champion.current(platform.db, platform.market)
    if live is None:
        raise NoData("there is no champion to roll back", left="nothing was changed")
    last = rollbacks.last(platform.db, platform.market)
    if to_generation is None and last is not None and last.to_generation == live.generation and last.decision_id:
        raise UsageError(
            f"generation {live.generation} is itself a rollback of generation {last.from_generation}, by {last.by}",
            left="the champion is unchanged",
            next="name the generation to go back to with --to; bidwright status lists them",
        )
    with platform.db.session() as session:
        found = rollback.roll_back(
            session, platform.market, from_generation=live.generation, to_generation=to_generation, why=why, by=by,
            day=_last_day(platform, live.since), policy=policy, at=at,
        )  # fmt: skip
        if found.done:
            _tell_of_champion(session, platform, found)
    faultpoint("rollback.after")
    now = rollback.verify(platform.db, found.rollback)
    return rollback.as_json(found.rollback) | {"done": found.done, "champion": now.digest, "generation": now.generation}


def rehearse(platform: Platform) -> dict[str, Any]:
    """Roll back and forward on a copy of the market's last two champions, and record how long it took.

    The copy is a market of its own in the same ledger, so that every table and every lock is the real one, and the live
    alias is not touched. Where the market had but one champion, there is nothing to go back to: the drill is not ok.
    """
    from ml.steps.drill import drill

    found = drill(platform.db, platform.market, policy=policy_of(platform), clock=platform.clock)
    drills.record(platform.db, found)
    return {"ok": found.ok, "took_ms": found.took_ms, **found.details}


def list_bars(platform: Platform) -> dict[str, Any]:
    """The bars that stand, and the last that were lifted."""
    past = bars.history(platform.db, platform.market, SHOWN)
    return {
        "standing": [_bar_json(one) for one in bars.standing(platform.db, platform.market)],
        "lifted": [_bar_json(one) for one in past if one.lifted_at is not None],
    }


def lift_bar(platform: Platform, digest: str, *, why: str, by: str) -> dict[str, Any]:
    """Lift a bar; the digest may be shortened, and `*` is the market's freeze.

    Raises:
        UsageError: none stands that begins so, or several; or nobody, or no reason, is given.
    """
    found = [one for one in bars.standing(platform.db, platform.market) if one.digest.startswith(digest)]
    if len(found) != 1 or not digest:
        raise UsageError(
            f"{len(found)} bars stand that begin with {digest!r}",
            left="nothing was lifted",
            next="list them with: bidwright bars list",
        )
    at = platform.clock.now()
    with platform.db.session() as session:
        lifted = bars.lift(session, platform.market, found[0].digest, why=why, by=by, at=at)
        cause = FREEZE if found[0].is_freeze else CAUSE
        resolve_alerts(
            session, platform.settings, market=platform.market, causes=[cause],
            day=_last_day(platform, at.date()), reason=f"{by} lifted the bar: {why}", at=at,
        )  # fmt: skip
    return _bar_json(lifted or found[0])


def _judged_again(platform: Platform, rollout: Rollout) -> Rollout:
    """Judge a candidate that waits against the champion of today; the rollout then rests on that decision."""
    from ml.steps.judge import judge_day

    try:
        decided = judge_day(platform, rollout.day)
    except BidwrightError as error:
        with platform.db.session() as session:
            return rollouts.change(
                session, rollout, at=platform.clock.now(), state="superseded",
                reason=f"it could not be judged against the present champion: {error.what}",
            )  # fmt: skip
    return renew(platform.db, rollout.id, decision_id=int(decided["decision_id"]), at=platform.clock.now())


def _tell(session: Transaction, platform: Platform, done: Ticked) -> None:
    """The mail of a change, in its transaction: promoted, rolled back, frozen."""
    rollout, at = done.rollout, platform.clock.now()
    if rollout is None:
        return
    if done.action == "rolled_back":
        raise_alert(
            session, platform.settings, market=platform.market, cause=CAUSE, day=_last_day(platform, rollout.day),
            severity="warning", title=f"candidate {rollout.candidate[:12]} was taken out of traffic",
            reasons=[rollout.reason, f"The champion stays; the candidate is barred (rollout {rollout.id})."],
            details={"rollout": rollout.id, "candidate": rollout.candidate[:12]}, at=at,
        )  # fmt: skip
    if done.action == "promoted":
        resolve_alerts(
            session, platform.settings, market=platform.market, causes=[CAUSE], day=_last_day(platform, rollout.day),
            reason=f"candidate {rollout.candidate[:12]} went through its rollout", at=at,
        )  # fmt: skip
        from monitoring.alerts import announce_decision

        announce_decision(
            session, platform.settings, decision=decisions.get(session, rollout.decision_id), moved=True,
            reason=f"{rollout.reason} (rollout {rollout.id})", at=at,
        )  # fmt: skip
    _tell_of_freeze(session, platform, done.freeze)


def _tell_of_champion(session: Transaction, platform: Platform, done: rollback.RolledBack) -> None:
    one = done.rollback
    raise_alert(
        session, platform.settings, market=platform.market, cause=CAUSE, day=_last_day(platform, one.at.date()),
        severity="critical", title=f"champion {one.failed[:12]} rolled back to {one.restored[:12]}",
        reasons=[f"{one.by}: {one.why}", f"Generation {one.to_generation} answers now; the failed bundle is barred."],
        details={"from_generation": one.from_generation, "to_generation": one.to_generation}, at=one.at,
    )  # fmt: skip
    _tell_of_freeze(session, platform, done.freeze)


def _tell_of_freeze(session: Transaction, platform: Platform, freeze: bars.Bar | None) -> None:
    if freeze is None:
        return
    raise_alert(
        session, platform.settings, market=platform.market, cause=FREEZE, day=_last_day(platform, freeze.at.date()),
        severity="critical", title="nothing is promoted by itself any more", reasons=[freeze.reason],
        details={"by": JUDGE}, at=freeze.at,
    )  # fmt: skip


def _last_day(platform: Platform, at_least: date) -> date:
    """The market day that something happens on: the last that ran, or a later one that it is about."""
    return max([at_least, *stages.days(platform.db, platform.market)])


def _bar_json(one: bars.Bar) -> dict[str, Any]:
    return {
        "digest": Digest(one.digest),
        "freeze": one.is_freeze,
        "reason": one.reason,
        "by": one.by,
        "at": one.at.isoformat(),
        "lifted_at": one.lifted_at.isoformat() if one.lifted_at else None,
        "lifted_by": one.lifted_by,
        "lifted_why": one.lifted_why,
    }
