"""Use cases about incidents: what Airflow's tasks and callbacks, and the command line, call. Each is safe to run twice."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, cast

from ml.pipeline import deliver_mail

if TYPE_CHECKING:
    from ml.ledger.incidents import Incident, Severity, State
    from ml.ledger.outbox import Delivery
    from ml.platform import Platform

Result = dict[str, Any]

_ERROR_LENGTH = 300
_URGENT_DAGS = frozenset({"publish_bids"})
"""Where a late run costs money at once: partners go on with yesterday's bids."""


def listed(platform: Platform, *, state: str = "open", severity: str = "", limit: int = 50) -> Result:
    """The incidents of the market, newest first, in few words each."""
    from ml.ledger import incidents

    found = incidents.find(
        platform.db,
        platform.market,
        state=cast("State", state),
        severity=cast("Severity", severity) if severity else None,
        limit=limit,
    )
    return {"market": platform.market, "incidents": [_brief(platform, one) for one in found]}


def shown(platform: Platform, number: int) -> Result:
    """One incident with its story, its reasons, and what became of its last messages."""
    from ml.ledger import incidents, outbox
    from monitoring.causes import meaning
    from monitoring.links import incident_link, runbook_of

    at = platform.clock.now()
    found = incidents.get(platform.db, platform.market, number)
    story = incidents.notes(platform.db, platform.market, number)
    messages = outbox.deliveries(platform.db, [number], at).get(number, [])
    cause = meaning(found.cause)
    return {
        **_brief(platform, found),
        "reasons": list(found.details.get("reasons", [])),
        "first_day": found.first_day.isoformat(),
        "opened_at": found.opened_at.isoformat(),
        "reopened": found.reopened,
        "acknowledged_by": found.acknowledged_by,
        "acknowledged_at": found.acknowledged_at.isoformat() if found.acknowledged_at else None,
        "snoozed_until": found.snoozed_until.isoformat() if found.snoozed_until else None,
        "resolution": found.resolution,
        "did": cause.did,
        "todo": cause.todo,
        "runbook": f"docs/runbooks/{runbook_of(found.cause)}.md",
        "page": incident_link(platform.settings, number)[1],
        "notes": [{"kind": n.kind, "by": n.by, "at": n.at.isoformat(), "text": n.text} for n in story],
        "messages": [
            {"channel": m.channel, "to": m.to, "subject": m.subject, "state": m.state, "at": m.at.isoformat(),
             "attempts": m.attempts, "last_error": m.last_error, "says": _says(m)}
            for m in messages
        ],
    }  # fmt: skip


def end_by_hand(platform: Platform, number: int, *, by: str, why: str) -> Result:
    """End an incident because a person says so, and tell it; UsageError where it has ended already or nobody says why."""
    from ml.core.errors import UsageError
    from ml.ledger import incidents
    from monitoring.alerts import resolve_alerts

    found = incidents.get(platform.db, platform.market, number)
    if not (by.strip() and why.strip()) or len(why) > incidents.LONGEST_TEXT:
        raise UsageError(
            "an incident ends by hand with a person and a reason of at most 10,000 characters",
            left="nothing was changed",
            next="give --by and --why",
        )
    ended = resolve_alerts(
        platform.db,
        platform.settings,
        market=platform.market,
        causes=[found.cause] if found.is_open else [],
        # The last day stood under it; what comes after does not.
        day=found.last_day + timedelta(days=1),
        reason=why.strip(),
        at=platform.clock.now(),
        by=by.strip(),
    )
    if not ended:
        raise UsageError(
            f"incident {number} is resolved already",
            left="nothing was changed",
            next=f"read it with: bidwright incidents show {number}",
        )
    return {"number": number, "resolved_by": by.strip(), "why": why.strip(), "mail": deliver_mail(platform)}


def tend(platform: Platform) -> Result:
    """End snoozes, escalate what nobody took, put the digest, and try what waits in the outbox."""
    from monitoring import digest, escalation

    at, market, settings = platform.clock.now(), platform.market, platform.settings
    woken = escalation.end_snoozes(platform.db, settings, market=market, at=at)
    escalated = escalation.escalate(platform.db, settings, market=market, at=at)
    digests = digest.put_digest(platform.db, settings, market=market, at=at)
    return {
        "woken": [incident.id for incident in woken],
        "escalated": [incident.id for incident in escalated],
        "digests": digests,
        "mail": deliver_mail(platform),
    }


def task_failed(
    platform: Platform, *, dag: str, task: str, day: date, error: BaseException | str, run_id: str = ""
) -> Result:
    """Open the incident of a task that belongs to no step of the market day; the same again is no second mail."""
    return _stopped(platform, f"dag:{dag}", dag=dag, task=task, day=day, said=first_line(error), run_id=run_id)


def dag_failed(platform: Platform, *, dag: str, day: date, reason: str, run_id: str = "") -> Result:
    """Open the incident of a DAG run that failed although none of its tasks did, such as one that timed out."""
    return _stopped(platform, f"dag:{dag}", dag=dag, task="", day=day, said=first_line(reason), run_id=run_id)


def deadline_missed(platform: Platform, *, dag: str, day: date, deadline: str, run_id: str = "") -> Result:
    """Open the incident of a DAG run that takes too long; it ends when a run of the DAG succeeds.

    Args:
        platform: the platform.
        dag: the DAG.
        day: the market day of the run, or its date where it has none.
        deadline: when it should have been over, in words.
        run_id: the Airflow run.
    """
    said = f"{dag} has not finished {day.isoformat()} by {deadline}"
    return _stopped(platform, f"deadline:{dag}", dag=dag, task="", day=day, said=said, run_id=run_id)


def dag_succeeded(platform: Platform, *, dag: str, day: date) -> Result:
    """End the incidents that failed and late runs of a DAG had opened."""
    from monitoring.alerts import resolve_alerts

    ended = resolve_alerts(
        platform.db,
        platform.settings,
        market=platform.market,
        causes=[f"dag:{dag}", f"deadline:{dag}"],
        day=day,
        reason=f"{dag} succeeded for {day.isoformat()}",
        at=platform.clock.now(),
    )
    return {"ended": [incident.id for incident in ended], "mail": deliver_mail(platform) if ended else {}}


def first_line(error: BaseException | str) -> str:
    """What an error says first, on one line; its kind where it says nothing.

    >>> first_line("the lake is full\\nTraceback ..."), first_line(ValueError())
    ('the lake is full', 'ValueError')
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    kind = type(error).__name__ if isinstance(error, BaseException) else "no error was left behind"
    return next((line for line in lines if line), kind)[:_ERROR_LENGTH]


def _stopped(platform: Platform, cause: str, *, dag: str, task: str, day: date, said: str, run_id: str) -> Result:
    from monitoring.alerts import raise_alert

    late = cause.startswith("deadline:")
    where = f"{dag}.{task}" if task else dag
    raise_alert(
        platform.db,
        platform.settings,
        market=platform.market,
        cause=cause,
        day=day,
        severity="critical" if not late or dag in _URGENT_DAGS else "warning",
        title=f"{where} is late" if late else f"{where} failed: {said}",
        reasons=[said],
        details={"dag": dag, "task": task, "day": day.isoformat(), "error": "" if late else said, "run_id": run_id},
        at=platform.clock.now(),
    )
    return {"cause": cause, "reason": said, "mail": deliver_mail(platform)}


def _brief(platform: Platform, incident: Incident) -> Result:
    return {
        "number": incident.id,
        "severity": incident.severity,
        "state": _state(platform, incident),
        "cause": incident.cause,
        "title": incident.title,
        "owner": incident.owner,
        "at_stake_micros": incident.at_stake_micros,
        "last_day": incident.last_day.isoformat(),
        "updated_at": incident.updated_at.isoformat(),
    }


def _state(platform: Platform, incident: Incident) -> str:
    if not incident.is_open:
        return "resolved"
    if incident.sleeps(platform.clock.now()):
        return "snoozed"
    return "acknowledged" if incident.acknowledged_at else "open"


def _says(message: Delivery) -> str:
    when = message.at.isoformat(timespec="minutes")
    said = {
        "sent": f"sent {when}",
        "held": f"held by quiet hours until {when}",
        "waiting": "waits to be sent",
        "retrying": f"not taken in {message.attempts} tries, next {when}",
    }[message.state]
    return f"{said} ({message.last_error})" if message.last_error else said
