"""One function per step of the lifecycle: what an Airflow task calls, and what the command line calls.

Each takes the platform and a market day, returns a small JSON object, records it under
(stage, market, day), and is safe to run twice. A step that cannot go on records that it stopped and
why, opens an incident, puts a mail in the outbox, and raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from ml.core import tracing
from ml.core.collector import rare_collections
from ml.core.errors import DayRejected, NoData, PermanentError, SchemaBreak

if TYPE_CHECKING:
    from ml.models.candidate import Recipe
    from ml.platform import Platform

Result = dict[str, Any]


def import_history(
    platform: Platform, first: date, last: date, *, progress: Callable[[date], None] | None = None
) -> Result:
    """Land and build features for every market day from `first` to `last` in bulk.

    The same contract, quarantine and feature definitions as the daily steps; days that are already
    landed with the same content are left alone.
    """
    from ml.steps.ingest import import_days

    return import_days(platform, first, last, progress=progress)


def ingest(platform: Platform, day: date, *, run_id: str = "") -> Result:
    """Fetch the day from the market source, check its contract, land it; bad rows go to quarantine."""

    def work() -> Result:
        from ml.steps.ingest import land_day

        return land_day(platform, day)

    return _stage(platform, "ingest", day, work, run_id=run_id)


def settle(platform: Platform, day: date, *, run_id: str = "") -> Result:
    """Late bookings, cancellations and stays learned on the day; realised value against predicted."""

    def work() -> Result:
        from ml.steps.settle import settle_day

        return settle_day(platform, day)

    return _stage(platform, "settle", day, work, run_id=run_id)


def materialize(platform: Platform, day: date, *, run_id: str = "") -> Result:
    """Compare what was served, build the day's features, put them online, read back a sample, advance the watermark."""

    def work() -> Result:
        from ml.steps.materialize import put_online

        return put_online(platform, day)

    return _stage(platform, "materialize", day, work, run_id=run_id)


def materialize_part(platform: Platform, day: date, *, part: int, parts: int, run_id: str = "") -> Result:
    """Do `materialize` for one part of the feature views, beside those who do the others; `materialized` ends it."""
    from ml.steps.materialize import put_online

    try:
        return put_online(platform, day, part=part, parts=parts)
    except PermanentError as error:
        fail(platform, day, "materialize", error, run_id=run_id)
        raise


def materialized(platform: Platform, day: date, *, results: Sequence[Result], run_id: str = "") -> Result:
    """Record the features of the day as done, once every part of the views is online."""

    def work() -> Result:
        from ml.steps.materialize import together

        return together(results)

    return _stage(platform, "materialize", day, work, run_id=run_id)


def check_drift(platform: Platform, day: date, *, run_id: str = "") -> Result:
    """Completeness guards, drift, prediction shift and calibration; one verdict, an incident where one is due."""

    def work() -> Result:
        from ml.steps.observe import hold_blind_days
        from ml.steps.watch import watch_day

        found = watch_day(platform, day, run_id=run_id)
        blind = hold_blind_days(platform, day, found["blind_since"])
        return {**found, "held_days": [one.isoformat() for one in blind]}

    return _stage(platform, "drift", day, work, run_id=run_id)


def train(platform: Platform, day: date, *, run_id: str = "", recipe: Recipe | None = None) -> Result:
    """Decide whether a retrain is due; if so fit, evaluate and register a candidate.

    `recipe` is how it is made; None: `ml.models.candidate.STANDARD`.
    """

    def work() -> Result:
        from ml.models.due import retrain_due

        due = retrain_due(platform.db, platform.settings, market=platform.market, day=day)
        if not due.due:
            return {"due": False, "reason": due.reason, "candidate": None}
        from ml.models.candidate import STANDARD, build_candidate

        try:
            version = build_candidate(platform, day, recipe=recipe or STANDARD)
        except NoData as error:
            # A young market is no failure: it trains on the first day that knows enough.
            return {"due": False, "reason": f"not yet: {error.what}", "candidate": None}
        return {
            "due": True,
            "reason": due.reason,
            "candidate": version.digest,
            "metrics": dict(version.metrics),
            "mlflow_run_id": version.mlflow_run_id,
        }

    return _stage(platform, "train", day, work, run_id=run_id)


def judge(platform: Platform, day: date, *, candidate: str = "", run_id: str = "") -> Result:
    """Put the day's candidate, or an earlier one by its digest, before the gates and write the decision, before anything moves."""

    def work() -> Result:
        from ml.steps.judge import judge_day

        found = judge_day(platform, day, candidate=candidate)
        if found["needs_approval"] and found["verdict"] == "PASS" and run_id:
            _ask(platform, found["decision_id"], run_id)
        return found

    return _stage(platform, "promote", day, work, run_id=run_id)


ANSWER_WITHIN_HOURS = 8
"""How long a promotion waits for a person's answer."""


def _ask(platform: Platform, decision_id: int, run_id: str) -> None:
    """Tell people that a run of Airflow waits for their answer."""
    from ml.ledger import decisions
    from monitoring.alerts import ask_approval

    ask_approval(
        platform.db,
        platform.settings,
        decision=decisions.get(platform.db, decision_id),
        run_id=run_id,
        hours=ANSWER_WITHIN_HOURS,
        at=platform.clock.now(),
    )


def promote(
    platform: Platform, day: date, *, decision_id: int, approval: Mapping[str, Any] | None = None, run_id: str = ""
) -> Result:
    """Carry out a decision: move the champion on PASS (and approval, where policy asks), else leave it."""

    def work() -> Result:
        from ml.steps.promote import carry_out

        return carry_out(platform, day, decision_id=decision_id, approval=approval)

    return _stage(platform, "promote", day, work, run_id=run_id)


def waive(platform: Platform, gate: str, *, candidate: str, why: str, by: str, days: int) -> Result:
    """Let one candidate pass over one gate for some days; its promotion then needs a person's approval in any case."""
    from ml.steps.promote import waive_gate

    return waive_gate(platform, gate, candidate=candidate, why=why, by=by, days=days)


def publish_bids(platform: Platform, day: date, *, run_id: str = "") -> Result:
    """Publish the champion's bids (or value table) for the next market day."""

    def work() -> Result:
        from ml.steps.publish import publish_day
        from ml.steps.switch import keep

        return publish_day(platform, day) | keep(platform, day)

    return _stage(platform, "publish", day, work, run_id=run_id)


def rehearse_switch(
    platform: Platform, level: int, *, partner: str = "", point_of_sale: str = "", day: date | None = None
) -> Result:
    """What a level of the kill switch would send now, per partner; writes nothing."""
    from ml.ledger.switches import Scope
    from ml.steps.switch import rehearse

    return rehearse(platform, level=level, scope=Scope(partner, point_of_sale), day=day)


def pull_switch(
    platform: Platform, level: int, *, why: str, by: str, partner: str = "", point_of_sale: str = ""
) -> Result:
    """Stop bids: record the switch, publish what it says at once, open its incident, and mail it."""
    from ml.ledger.switches import Scope
    from ml.steps.switch import pull

    result = pull(platform, level=level, scope=Scope(partner, point_of_sale), why=why, by=by)
    deliver_mail(platform)
    return result


def release_switch(platform: Platform, *, why: str, by: str, partner: str = "", point_of_sale: str = "") -> Result:
    """Let the switch of exactly this scope go and mail it; the next publication bids again."""
    from ml.ledger.switches import Scope
    from ml.steps.switch import release

    result = release(platform, scope=Scope(partner, point_of_sale), why=why, by=by)
    deliver_mail(platform)
    return result


def switch_status(platform: Platform) -> Result:
    """The kill switches that stand, the last that were released, and which bids stand at each partner."""
    from ml.steps.switch import status

    return status(platform)


def run_day(platform: Platform, day: date) -> Result:
    """The whole lifecycle of one market day, in the order that the DAGs run it.

    The first step that stops ends the day, as it does under Airflow; publication does not wait for it.
    """
    results: Result = {"ingest": ingest(platform, day)}
    results["settle"] = settle(platform, day)
    results["materialize"] = materialize(platform, day)
    results["drift"] = check_drift(platform, day)
    results["publish"] = publish_bids(platform, day)
    results["train"] = train(platform, day)
    if results["train"]["candidate"] is None:
        return results
    results["promote"] = judge(platform, day)
    results["promote"] |= promote(platform, day, decision_id=results["promote"]["decision_id"])
    if results["promote"]["moved"]:
        results["publish"] = publish_bids(platform, day)
    return results


def deliver_mail(platform: Platform) -> Result:
    """Send what waits in the outbox, by mail and webhook; a server that is down leaves it waiting."""
    from ml.ledger import outbox

    if not outbox.count_pending(platform.db):
        return {"sent": 0, "waiting": 0, "errors": []}
    from monitoring.deliver import deliver

    report = deliver(platform.db, platform.settings, platform.clock)
    return {"sent": report.sent, "waiting": report.waiting, "errors": list(report.errors)}


def fail(platform: Platform, day: date, step: str, error: BaseException | str, *, run_id: str = "") -> Result:
    """Record that a step stopped, open the incident, and mail it; the same failure again changes nothing.

    Args:
        platform: the platform.
        day: the market day.
        step: a stage, or the name of an Airflow task of it.
        error: what stopped it; a text where the process left no exception behind.
        run_id: the Airflow run.
    """
    stage = _STAGE_OF_TASK.get(step, step)
    from ml.core.code_version import of_run
    from ml.incidents import first_line
    from ml.ledger import stages
    from monitoring.alerts import raise_alert
    from monitoring.causes import meaning

    at = platform.clock.now()
    reason = first_line(error)
    dag = meaning(f"task:{stage}").dag
    kind = type(error).__name__ if isinstance(error, BaseException) else "ProcessEnded"
    result = {"error": kind, "reason": reason}
    key = stages.StageKey(platform.market, stage, day)
    kept = result | {"code": of_run(platform.settings)}
    stages.record(platform.db, key, status="stopped", result=kept, at=at, run_id=run_id)
    raise_alert(
        platform.db,
        platform.settings,
        market=platform.market,
        cause=_cause(stage, error),
        day=day,
        severity="critical",
        title=f"{_STAGE_TITLES[stage]} stopped",
        reasons=[f"{dag}.{step}, {day.isoformat()}: {reason}"],
        details={"stage": stage, "dag": dag, "task": step, "error": kind, "run_id": run_id},
        at=at,
    )
    return {**result, "mail": deliver_mail(platform)}


_STAGE_OF_TASK = {"judge": "promote", "approve": "promote", "put_online": "materialize"}

_STAGE_TITLES = {
    "ingest": "Market day not landed: ingest",
    "settle": "Settling outcomes",
    "materialize": "Feature materialisation",
    "drift": "Drift check",
    "train": "Training",
    "promote": "Promotion",
    "publish": "Publishing bids",
}


def _cause(stage: str, error: BaseException | str) -> str:
    """The incident's cause: one conversation per kind of failure, not per task."""
    if stage == "ingest" and isinstance(error, SchemaBreak):
        return "ingest:schema"
    if stage == "ingest" and isinstance(error, DayRejected):
        return "ingest:rejected"
    if stage == "ingest" and isinstance(error, NoData):
        return "ingest:missing"
    return f"task:{stage}"


def _stage(platform: Platform, stage: str, day: date, work: Callable[[], Result], *, run_id: str) -> Result:
    """Run a step, record what became of it under its key, and send the mail it caused."""
    with rare_collections(), tracing.span(stage, market=platform.market, day=day.isoformat(), run_id=run_id):
        return _worked(platform, stage, day, work, run_id)


def _worked(platform: Platform, stage: str, day: date, work: Callable[[], Result], run_id: str) -> Result:
    from ml.core.code_version import of_run
    from ml.ledger import stages

    try:
        result = work()
    except PermanentError as error:
        fail(platform, day, stage, error, run_id=run_id)
        raise
    status: Literal["held", "done"] = "held" if result.get("held") else "done"
    key = stages.StageKey(platform.market, stage, day)
    # Whoever acts on what this step did, such as a bid service that takes a champion over, goes on with its trace.
    kept = result | {"code": of_run(platform.settings)} | ({"trace": trace} if (trace := tracing.carrier()) else {})
    stages.record(platform.db, key, status=status, result=kept, at=platform.clock.now(), run_id=run_id)
    _resolve(platform, day, stage, result)
    deliver_mail(platform)
    return result


def _resolve(platform: Platform, day: date, stage: str, result: Result) -> None:
    """A step that succeeds ends the incidents that its failure had opened, unless one of their days still stands stopped."""
    from ml.ledger import incidents, stages
    from monitoring.alerts import resolve_alerts
    from monitoring.causes import meaning

    dag = meaning(f"task:{stage}").dag
    causes = {f"task:{stage}", f"dag:{dag}", f"deadline:{dag}"}
    if stage == "ingest":
        causes |= {"ingest:schema", "ingest:rejected", "ingest:missing"}
        causes |= set() if result.get("repeated") else {"ingest:repeated"}
        decisions = result.get("decisions", {})
        causes |= set() if decisions.get("lost") or decisions.get("damaged") else {"ingest:events"}
    about = [
        incident for incident in incidents.open_incidents(platform.db, platform.market) if incident.cause in causes
    ]
    if not about:
        return
    stopped = stages.stopped_days(platform.db, platform.market, stage)
    over = [i.cause for i in about if not any(i.first_day <= still <= i.last_day for still in stopped)]
    resolve_alerts(
        platform.db,
        platform.settings,
        market=platform.market,
        causes=over,
        day=day,
        reason=f"{stage} succeeded for {day.isoformat()}",
        at=platform.clock.now(),
    )
