"""The way of a candidate from PASS to champion: queued, shadow, canary by canary, promoted; or rolled back, superseded.

`tick` is one step of it: it reads the ledger and the counts, judges, and writes at most one change, by compare-and-set on
the rollout's revision, together with all that belongs to it. It may be called at any time, by anybody, as often as one
likes; whoever comes second changes nothing. A process that dies leaves the ledger as it was before or after the change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from ml.core.errors import StaleGeneration
from ml.core.faultpoints import faultpoint
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, decisions, rollbacks, rollouts
from ml.ledger.bars import Bar
from ml.ledger.rollouts import Rollout
from ml.promotion.canary import Judgement, StatsSource, judge
from ml.promotion.ramp import RampPolicy
from ml.serving.arm_stats import StatsKey

if TYPE_CHECKING:
    from ml.core.clock import Clock
    from ml.ledger.champion import Champion
    from ml.ledger.database import Database, Store, Transaction

JUDGE: Final = "the judge"
"""Who does what no person did."""

Action = Literal[
    "nothing", "waits", "judge", "started", "held", "watched", "stepped", "restarted", "promoted", "rolled_back",
    "superseded", "lost",
]  # fmt: skip
"""What a tick did. `judge`: nothing, because the candidate has to be judged against the present champion first
(`renew`). `lost`: nothing, because somebody else was first."""


@dataclass(frozen=True)
class Ticked:
    """What a tick did, the rollout afterwards, and what the judge said; `freeze` is the freeze that it led to."""

    action: Action
    rollout: Rollout | None = None
    judgement: Judgement | None = None
    freeze: Bar | None = None


Told = Callable[["Transaction", Ticked], None]
"""Called within the transaction of a change that people should hear of, so that its mail is written with it."""


def enqueue(db: Database, *, decision_id: int, policy: RampPolicy, at: datetime) -> Rollout:
    """Let the candidate of a decision wait for its turn; the same decision again returns its rollout as it stands."""
    faultpoint("rollout.before_enqueue")
    with db.session() as session:
        rollout = rollouts.enqueue(session, decision_id=decision_id, policy_digest=policy.digest(), at=at)
        faultpoint("rollout.in_enqueue")
    faultpoint("rollout.after_enqueue")
    return rollout


def renew(db: Database, rollout_id: int, *, decision_id: int, at: datetime) -> Rollout:
    """Let a rollout that waits rest on a later decision about its candidate; or end it, where that is no PASS.

    Raises:
        StaleGeneration: it changed meanwhile.
    """
    with db.session() as session:
        seen, decision = rollouts.get(session, rollout_id), decisions.get(session, decision_id)
        if seen.state != "queued" or seen.decision_id == decision_id:
            return seen
        if decision.candidate != seen.candidate or decision.verdict is not Verdict.PASS or decision.approval:
            needs = "a person has to approve it" if decision.verdict is Verdict.PASS else f"it is {decision.verdict}"
            reason = f"judged against the present champion (decision {decision_id}), {needs}"
            return rollouts.change(session, seen, at=at, state="superseded", reason=reason)
        return rollouts.change(
            session, seen, at=at, decision_id=decision_id, generation=decision.generation,
            reason=f"waits for its turn; judged again by decision {decision_id}",
        )  # fmt: skip


def tick(
    db: Database, *, market: str, stats: StatsSource, clock: Clock, policy: RampPolicy, told: Told | None = None
) -> Ticked:
    """One step of the rollout of a market that is in front of traffic, or of the one whose turn it is.

    Returns:
        What was done. Where nothing is under way, `nothing`.
    """
    one = rollouts.active(db, market)
    try:
        if one is None:
            waiting = rollouts.queued(db, market)
            return _begin(db, waiting[-1], clock.now(), policy, told) if waiting else Ticked("nothing")
        return _go_on(db, one, stats, clock.now(), policy, told)
    except StaleGeneration:
        return Ticked("lost", None if one is None else rollouts.get(db, one.id))


def stop(
    session: Transaction, seen: Rollout, *, why: str, by: str, automatic: bool, policy: RampPolicy, at: datetime,
    judgement: Judgement | None = None,
) -> Ticked:  # fmt: skip
    """Take a candidate out of traffic for good, bar it, and freeze the market where the judge did so too often."""
    told = {} if judgement is None else {"judgement": judgement.as_json()}
    ended = rollouts.change(
        session, seen, at=at, state="rolled_back", reason=why, baseline_share=0.0, canary_share=0.0, **told
    )
    bars.bar(session, seen.market, seen.candidate, why, by, at)
    live = champion.current(session, seen.market)
    if _made_champion(session, seen, live) is not None:
        raise StaleGeneration(
            f"the candidate of rollout {seen.id} became champion meanwhile",
            left="nothing was changed",
            next="the next tick ends the rollout; then take the champion back, if it still is: bidwright rollback",
        )
    rollbacks.write(
        session, market=seen.market, rollout_id=seen.id, from_generation=seen.generation,
        to_generation=seen.generation, failed=seen.candidate, restored=live.digest if live else seen.candidate,
        automatic=automatic, by=by, why=why, at=at,
    )  # fmt: skip
    return Ticked(
        "rolled_back", ended, judgement, freeze_if_often(session, seen.market, policy, at, automatic=automatic)
    )


def freeze_if_often(
    session: Transaction, market: str, policy: RampPolicy, at: datetime, *, automatic: bool
) -> Bar | None:
    """Freeze a market whose candidates the judge rolled back as often as allowed; the freeze, if this call set it."""
    if not automatic or bars.frozen(session, market) is not None:
        return None
    lifted = [one.lifted_at for one in bars.history(session, market, 1_000) if one.is_freeze and one.lifted_at]
    since = max([at - policy.freeze_within, *lifted])
    count = rollbacks.count_automatic(session, market, since=since)
    if count < policy.max_automatic:
        return None
    return bars.bar(session, market, bars.EVERYTHING, f"{count} automatic rollbacks since {since:%Y-%m-%d}", JUDGE, at)


def _begin(db: Database, seen: Rollout, at: datetime, policy: RampPolicy, told: Told | None) -> Ticked:
    """Start the candidate whose turn it is, unless something keeps it from starting."""
    live = champion.current(db, seen.market)
    kept_out = bars.barred(db, seen.market, seen.candidate)
    if (made := _made_champion(db, seen, live)) is not None:
        return _supersede(db, seen, made, at, told)
    if kept_out is not None and not kept_out.is_freeze:
        return _supersede(db, seen, kept_out, at, told)
    if kept_out is not None:
        return Ticked("waits", seen)
    before = rollbacks.last(db, seen.market)
    if before is not None and at < before.at + policy.cooldown:
        return Ticked("waits", seen)
    if decisions.get(db, seen.decision_id).generation != (live.generation if live else 0):
        return Ticked("judge", seen)
    if live is None:
        # There is nothing to compare with, and nobody who could answer in its place.
        return _promote(db, seen, 0, at, None, told)
    faultpoint("rollout.before_start")
    with db.session() as session:
        now = _at_step(session, seen, 0, live, at, policy, "its turn has come")
        faultpoint("rollout.in_start")
    return Ticked("started", now)


def _made_champion(store: Store, seen: Rollout, live: Champion | None) -> Champion | None:
    """What its candidate became other than by this rollout; None where that did not happen.

    It need not be champion any more: between two ticks a person may have promoted it and taken it back.
    """
    made = champion.moved_by(store, seen.decision_id)
    return made or (live if live is not None and live.digest == seen.candidate else None)


def _go_on(
    db: Database, seen: Rollout, stats: StatsSource, at: datetime, policy: RampPolicy, told: Told | None
) -> Ticked:
    live = champion.current(db, seen.market)
    if (made := _made_champion(db, seen, live)) is not None:
        return _supersede(db, seen, made, at, told)
    kept_out = bars.barred(db, seen.market, seen.candidate)
    if kept_out is not None and not kept_out.is_freeze:
        return _stop(db, seen, f"barred: {kept_out.reason}", at, policy, told, by=kept_out.by, automatic=False)
    if live is None or live.generation != seen.generation:
        # What was counted compares with a champion that is gone: from zero, and only after being judged anew.
        with db.session() as session:
            now = rollouts.change(
                session, seen, at=at, state="queued", step=0, baseline_share=0.0, canary_share=0.0, watched_ms=0,
                held_ms=0, reason="the champion changed; it is judged against the new one and begins again",
            )  # fmt: skip
        return Ticked("restarted", now)
    if seen.policy_digest != policy.digest():
        with db.session() as session:
            now = _at_step(session, seen, 0, live, at, policy, "the ramp's policy changed; it begins again")
        return Ticked("restarted", now)
    return _judged(db, seen, stats, at, policy, told)


def _judged(
    db: Database, seen: Rollout, stats: StatsSource, at: datetime, policy: RampPolicy, told: Told | None
) -> Ticked:
    faultpoint("rollout.before_judge")
    elapsed = at - seen.ticked_at
    last = seen.step + 1 >= len(policy.steps)
    known = rollouts.measures(db, seen)
    found = judge(
        stats,
        StatsKey(seen.generation, seen.id, seen.analysis),
        policy=policy,
        now=at,
        slow=known[0] if known else None,
        last_step=last,
    )
    if found.verdict is Verdict.FAIL:
        return _stop(db, seen, found.reason, at, policy, told, judgement=found)
    if not timedelta(0) <= elapsed <= policy.gap:
        # Nobody watched, or the clock jumped: that time counts for nothing.
        gone = f"{elapsed.total_seconds():.0f} s passed since the last look"
        found = Judgement(Verdict.HOLD, f"{gone}; {found.reason}", found.findings, found.requests)
        elapsed = min(elapsed, policy.gap) if elapsed > timedelta(0) else policy.every
    passed_ms = elapsed // timedelta(milliseconds=1)
    if found.verdict is Verdict.HOLD:
        held_ms = seen.held_ms + passed_ms
        if timedelta(milliseconds=held_ms) >= policy.max_hold:
            why = f"the judge could not tell for {policy.max_hold}: {found.reason}"
            return _stop(db, seen, why, at, policy, told, judgement=found)
        return Ticked("held", _note(db, seen, at, found, watched_ms=seen.watched_ms, held_ms=held_ms), found)
    watched_ms, step = seen.watched_ms + passed_ms, policy.steps[min(seen.step, len(policy.steps) - 1)]
    if timedelta(milliseconds=watched_ms) < step.watched or found.requests < step.requests:
        return Ticked("watched", _note(db, seen, at, found, watched_ms=watched_ms, held_ms=0), found)
    if last:
        return _promote(db, seen, seen.generation, at, found, told)
    faultpoint("rollout.before_step")
    with db.session() as session:
        live = champion.current(session, seen.market)
        if live is None or live.generation != seen.generation:
            raise StaleGeneration("the champion moved while the canary was judged", left="nothing was changed")
        reason = f"{step.name} passed: {found.requests} requests of each small arm"
        now = _at_step(session, seen, seen.step + 1, live, at, policy, reason, judgement=found)
        faultpoint("rollout.in_step")
    return Ticked("stepped", now, found)


def _note(db: Database, seen: Rollout, at: datetime, found: Judgement, *, watched_ms: int, held_ms: int) -> Rollout:
    with db.session() as session:
        return rollouts.change(
            session, seen, at=at, watched_ms=watched_ms, held_ms=held_ms, reason=found.reason,
            judgement=found.as_json(),
        )  # fmt: skip


def _at_step(
    session: Transaction, seen: Rollout, number: int, live: Champion, at: datetime, policy: RampPolicy, reason: str,
    *, judgement: Judgement | None = None,
) -> Rollout:  # fmt: skip
    """Put a rollout at a step, with counts that begin at zero."""
    step = policy.steps[number]
    return rollouts.change(
        session, seen, at=at, state="canary" if step.answers else "shadow", step=number, analysis=seen.analysis + 1,
        generation=live.generation, baseline_share=step.shares.baseline, canary_share=step.shares.canary,
        policy_digest=policy.digest(), watched_ms=0, held_ms=0, reason=reason,
        judgement=None if judgement is None else judgement.as_json(),
    )  # fmt: skip


def _promote(
    db: Database, seen: Rollout, generation: int, at: datetime, found: Judgement | None, told: Told | None
) -> Ticked:
    """Move the champion and end the rollout, both or neither."""
    faultpoint("rollout.before_promote")
    with db.session() as session:
        # The rollout first and the alias second, as `stop` has it, so that two transactions never wait for each other.
        now = rollouts.change(
            session, seen, at=at, state="promoted", baseline_share=0.0, canary_share=0.0,
            reason="every step passed" if found else "there was no champion to compare with",
            judgement=found.as_json() if found else None,
        )  # fmt: skip
        live = champion.current(session, seen.market)
        day = max(seen.day, live.since) if live else seen.day
        champion.move(
            session, seen.market, digest=seen.candidate, expected_generation=generation, decision_id=seen.decision_id,
            day=day, at=at,
        )  # fmt: skip
        faultpoint("rollout.in_promote")
        done = Ticked("promoted", now, found)
        if told is not None:
            told(session, done)
    faultpoint("rollout.after_promote")
    return done


def _stop(
    db: Database, seen: Rollout, why: str, at: datetime, policy: RampPolicy, told: Told | None,
    *, by: str = JUDGE, automatic: bool = True, judgement: Judgement | None = None,
) -> Ticked:  # fmt: skip
    faultpoint("rollout.before_stop")
    with db.session() as session:
        done = stop(session, seen, why=why, by=by, automatic=automatic, policy=policy, at=at, judgement=judgement)
        faultpoint("rollout.in_stop")
        if told is not None:
            told(session, done)
    faultpoint("rollout.after_stop")
    return done


def _supersede(db: Database, seen: Rollout, by: Champion | Bar, at: datetime, told: Told | None) -> Ticked:
    """End a rollout that has nothing to do any more: its candidate is champion in another way, or is barred."""
    if isinstance(by, Bar):
        state, why = "superseded", f"it is barred: {by.reason}"
    else:
        state = "promoted" if by.decision_id == seen.decision_id else "superseded"
        why = "its candidate became champion in another way"
    with db.session() as session:
        now = rollouts.change(session, seen, at=at, state=state, reason=why, baseline_share=0.0, canary_share=0.0)
        done = Ticked("superseded", now)
        if told is not None:
            told(session, done)
    return done
