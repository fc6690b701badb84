"""One incident per cause, one mail per opening, worsening and end, and none for a repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml.core.digests import Digest
from ml.core.settings import Settings
from ml.core.verdict import Verdict
from ml.ledger import incidents, outbox
from ml.ledger.database import Database
from ml.ledger.decisions import Decision
from ml.ledger.outbox import Mail
from monitoring.alerts import announce_decision, ask_approval, raise_alert, resolve_alerts
from monitoring.mail.thread import root_message_id

DAY = date(2026, 5, 20)


class Teller:
    """Raises and resolves one cause, a minute apart."""

    def __init__(self, db: Database, settings: Settings, at: datetime) -> None:
        self.db, self.settings, self.at = db, settings, at

    def tell(self, severity: Any = "warning", *, day: date = DAY, cause: str = "drift", **options: Any) -> Any:
        self.at += timedelta(minutes=1)
        options = {"title": "rate moved, 2.4 times the limit", "reasons": ["rate moved"]} | options
        return raise_alert(
            self.db, self.settings, market="hotels", cause=cause, day=day, severity=severity, at=self.at, **options
        )

    def end(self, *, day: date = DAY, causes: Sequence[str] = ("drift",), reason: str = "all is well") -> Any:
        self.at += timedelta(minutes=1)
        return resolve_alerts(
            self.db, self.settings, market="hotels", causes=causes, day=day, reason=reason, at=self.at
        )

    @property
    def mails(self) -> list[Mail]:
        return outbox.pending(self.db)


@pytest.fixture
def teller(db: Database, settings: Settings, at: datetime) -> Teller:
    return Teller(db, settings, at)


def test_opening_puts_one_mail_that_says_what_where_when_and_how_bad(teller: Teller) -> None:
    alert = teller.tell()
    assert alert.opened
    assert alert.mails == 1
    (mail,) = teller.mails
    assert mail.subject == "[warning] Drift in hotels on 2026-05-20: rate moved, 2.4 times the limit"
    assert mail.to == "team@example.com"
    assert mail.incident_id == alert.incident.id
    assert mail.market_day == DAY


def test_the_same_again_updates_the_incident_and_mails_nothing(teller: Teller) -> None:
    teller.tell()
    again = teller.tell(day=DAY + timedelta(days=1), title="rate moved, 2.9 times the limit")
    assert not again.opened
    assert again.mails == 0
    assert len(teller.mails) == 1
    (incident,) = incidents.open_incidents(teller.db, "hotels")
    assert incident.title == "rate moved, 2.9 times the limit"
    assert (incident.first_day, incident.last_day) == (DAY, DAY + timedelta(days=1))


def test_getting_worse_mails_once_and_only_upwards(teller: Teller) -> None:
    teller.tell("warning")
    assert teller.tell("critical").mails == 1
    assert [teller.tell(severity).mails for severity in ("critical", "warning", "critical", "info")] == [0, 0, 0, 0]
    assert [mail.subject.split("]")[0] for mail in teller.mails] == ["[warning", "[critical"]


def test_the_end_mails_once_and_a_second_end_is_harmless(teller: Teller) -> None:
    teller.tell()
    assert [incident.cause for incident in teller.end()] == ["drift"]
    assert teller.end() == []
    assert [mail.subject.split("]")[0] for mail in teller.mails] == ["[warning", "[resolved"]
    assert "All is well" in teller.mails[-1].text


def test_ending_what_is_not_open_is_harmless(teller: Teller) -> None:
    assert teller.end(causes=["drift", "ingest:schema"]) == []
    assert teller.mails == []


def test_all_mails_of_an_incident_are_one_conversation_under_one_subject(teller: Teller) -> None:
    """What changes stands in brackets, which mail readers leave out when they group (RFC 5256)."""
    teller.tell("warning")
    teller.tell("critical", title="rate moved, 4.0 times the limit", day=DAY + timedelta(days=1))
    teller.end(day=DAY + timedelta(days=9))
    mails = teller.mails
    assert len(mails) == 3
    assert len({root_message_id(mail.key) for mail in mails}) == 1
    assert {mail.subject.split("] ", 1)[1] for mail in mails} == {
        "Drift in hotels on 2026-05-20: rate moved, 2.4 times the limit"
    }
    assert len({mail.message_id for mail in mails}) == 3


def test_when_it_returns_within_a_week_the_same_conversation_goes_on_each_time(teller: Teller) -> None:
    numbers = set()
    for _ in range(3):
        numbers.add(teller.tell(title="moved again").incident.id)
        teller.end()
    assert len(numbers) == 1
    assert len({root_message_id(mail.key) for mail in teller.mails}) == 1
    assert [mail.subject.split("]")[0] for mail in teller.mails] == ["[warning", "[resolved"] * 3
    assert len({mail.subject.split("] ")[1] for mail in teller.mails}) == 1
    assert "reopened" in teller.mails[2].text.lower()


def test_when_it_returns_later_it_is_another_conversation(teller: Teller) -> None:
    teller.tell()
    teller.end()
    teller.at += timedelta(days=8)
    teller.tell(day=DAY + timedelta(days=8))
    first, _, second = teller.mails
    assert root_message_id(first.key) != root_message_id(second.key)


def test_causes_are_told_apart(teller: Teller) -> None:
    teller.tell(cause="drift")
    teller.tell(cause="ingest:schema")
    teller.tell(cause="task:train")
    assert len(incidents.open_incidents(teller.db, "hotels")) == 3
    assert [mail.subject.split(" in ")[0] for mail in teller.mails] == [
        "[warning] Drift",
        "[warning] Delivery changed its form",
        "[warning] Step stopped",
    ]


def test_every_address_gets_a_mail_of_its_own(teller: Teller) -> None:
    """One refused address must not make the others wait, nor get it twice."""
    teller.settings = teller.settings.model_copy(update={"mail_to": "a@example.com, b@example.com"})
    assert teller.tell().mails == 2
    assert teller.tell().mails == 0
    assert [mail.to for mail in teller.mails] == ["a@example.com", "b@example.com"]
    assert len({mail.message_id for mail in teller.mails}) == 2


def test_incident_and_mail_appear_together_or_not_at_all(teller: Teller) -> None:
    with pytest.raises(RuntimeError, match="power cut"), teller.db.session() as session:
        raise_alert(
            session, teller.settings, market="hotels", cause="drift", day=DAY, severity="warning", title="t",
            reasons=["r"], at=teller.at,
        )  # fmt: skip
        assert outbox.count_pending(session) == 1
        raise RuntimeError("power cut")
    assert incidents.open_incidents(teller.db, "hotels") == []
    assert teller.mails == []


def test_a_title_with_line_breaks_stays_on_the_subject_line(teller: Teller) -> None:
    teller.tell(title="bad\r\nBcc: everybody@example.com\n news")
    (mail,) = teller.mails
    assert "\n" not in mail.subject
    assert "\r" not in mail.subject


def test_a_very_long_title_is_cut(teller: Teller) -> None:
    teller.tell(title="x" * 100_000, reasons=["y" * 10])
    assert len(teller.mails[0].subject) <= 160


def test_details_are_kept_and_the_link_leads_to_the_run(teller: Teller) -> None:
    teller.tell(cause="task:train", details={"run_id": "scheduled__2026-05-20T00:00:00+00:00", "error": "OSError"})
    (mail,) = teller.mails
    assert "http://airflow.example/dags/train_bid_model/runs/scheduled__2026-05-20T00%3A00%3A00%2B00%3A00" in mail.text
    assert "http://airflow.example/plugin/bid-models" in mail.text
    assert "OSError" in mail.text
    assert incidents.open_incidents(teller.db, "hotels")[0].details["error"] == "OSError"


def column(name: str, ratio: float) -> dict[str, Any]:
    return {"name": name, "score": 0.2 * ratio, "limit": 0.2, "numeric": True, "before": 1.0, "now": 2.0}


def test_the_mail_draws_what_is_beyond_its_limit_and_little_else(teller: Teller) -> None:
    few = [column("x", 2.0), *(column(f"calm{n}", 0.5) for n in range(9))]
    many = [column(f"wild{n}", 2.0) for n in range(9)] + few
    teller.tell(cause="drift", details={"columns": few})
    teller.tell(cause="check", details={"columns": many})
    drawn = [mail.text.count("times the limit (") for mail in teller.mails]
    assert drawn == [4, 6]


def decision(verdict: Verdict = Verdict.PASS) -> Decision:
    gates = [
        {
            "gate": "beats_baseline",
            "verdict": "PASS",
            "reason": "lower log loss on 14 days",
            "number": -0.03,
            "threshold": 0.0,
        },
        {
            "gate": "bid_change",
            "verdict": verdict.value,
            "reason": "nothing was published",
            "number": None,
            "threshold": None,
        },
    ]
    return Decision(
        market="hotels", day=DAY, candidate=Digest("ab" * 32), champion=Digest("cd" * 32), generation=3, verdict=verdict,
        gates=gates, policy_digest=Digest("ef" * 32), approval=None, id=17,
        recorded_at=datetime.fromisoformat("2026-05-21T04:00:00+00:00"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "moved", "outcome"),
    [
        (Verdict.PASS, True, "promoted"),
        (Verdict.FAIL, False, "refused"),
        (Verdict.HOLD, False, "held"),
        (Verdict.PASS, False, "held"),
    ],
)
def test_a_decision_is_told_once_with_its_gates(
    db: Database, settings: Settings, at: datetime, verdict: Verdict, moved: bool, outcome: str
) -> None:
    told = [
        announce_decision(db, settings, decision=decision(verdict), moved=moved, reason="because", at=at)
        for _ in range(2)
    ]
    assert told == [1, 0]
    (mail,) = outbox.pending(db)
    assert mail.subject == f"[{outcome}] Promotion in hotels on 2026-05-20: candidate abababababab {outcome}"
    for part in (mail.text, mail.html):
        assert "beats baseline" in part
        assert "lower log loss on 14 days" in part
        assert "http://airflow.example/bid-models/decisions/17" in part
        assert "because" in part


def test_a_decision_that_waited_and_then_moved_is_told_twice(db: Database, settings: Settings, at: datetime) -> None:
    announce_decision(db, settings, decision=decision(), moved=False, reason="waits for an answer", at=at)
    announce_decision(db, settings, decision=decision(), moved=True, reason="promoted", at=at)
    assert [mail.subject.split("]")[0] for mail in outbox.pending(db)] == ["[held", "[promoted"]


def test_the_same_decision_in_a_ledger_made_anew_is_another_mail(
    db: Database, settings: Settings, at: datetime
) -> None:
    """Readers drop a second mail with the same Message-ID: a new demo must not lose its mails to an old one."""
    announce_decision(db, settings, decision=decision(), moved=True, reason="r", at=at)
    later = replace(decision(), recorded_at=at + timedelta(days=3))
    announce_decision(db, settings, decision=later, moved=True, reason="r", at=at)
    assert len({mail.message_id for mail in outbox.pending(db)}) == 2


def asked(db: Database, settings: Settings, at: datetime) -> int:
    one = replace(decision(), approval={"reasons": ["first promotion of this market"]})
    return ask_approval(db, settings, decision=one, run_id="scheduled__2026-05-20T00:00:00+00:00", hours=8, at=at)


def test_who_must_answer_is_told_once_with_the_gates_and_where_to_answer(
    db: Database, settings: Settings, at: datetime
) -> None:
    assert [asked(db, settings, at) for _ in range(2)] == [1, 0]
    (mail,) = outbox.pending(db)
    assert mail.subject.startswith("[approval wanted] Promotion in hotels on 2026-05-20: candidate abababababab")
    run = "scheduled__2026-05-20T00%3A00%3A00%2B00%3A00"
    for part in (mail.text, mail.html):
        assert f"http://airflow.example/dags/promote_bid_model/runs/{run}/tasks/approve/required_actions" in part
        assert f"http://airflow.example/bid-models/approvals/{run}" in part
        assert "first promotion of this market" in part
        assert "beats baseline" in part


def test_a_question_waits_for_no_morning_because_it_has_an_end(db: Database, settings: Settings) -> None:
    night = datetime(2026, 5, 20, 23, 0, tzinfo=UTC)
    quiet = settings.model_copy(update={"quiet_hours": "22:00-07:00"})
    asked(db, quiet, night)
    announce_decision(db, quiet, decision=decision(), moved=True, reason="r", at=night)
    assert [mail.next_at for mail in outbox.pending(db)] == [night, datetime(2026, 5, 21, 7, 0, tzinfo=UTC)]
