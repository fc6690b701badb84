from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from ml.core.errors import UsageError
from ml.ledger import outbox
from ml.ledger.database import Database
from ml.ledger.outbox import LEASE, Mail

AT = datetime(2026, 1, 6, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CHART = ("chart", "image/png", bytes(range(256)))


def put(db: Database, key: str = "k", *, subject: str = "Drift ≠ noise", at: datetime = AT) -> bool:
    return outbox.put(
        db, key=key, to="a@localhost, b@localhost", subject=subject, text="text", html="<p>ü</p>",
        attachments=[CHART, ("empty", "text/plain", b"")], at=at,
    )  # fmt: skip


def claimed(db: Database, now: datetime) -> Mail:
    mail = outbox.claim(db, outbox.pending(db)[0].id, now)
    assert mail is not None
    return mail


def test_a_mail_comes_back_whole_with_its_attachments_in_order(db: Database) -> None:
    assert put(db)
    (mail,) = outbox.due(db, AT)
    assert (mail.to, mail.subject, mail.text, mail.html) == (
        "a@localhost, b@localhost",
        "Drift ≠ noise",
        "text",
        "<p>ü</p>",
    )
    assert mail.attachments == (CHART, ("empty", "text/plain", b""))
    assert (mail.attempts, mail.last_error, mail.sent_at, mail.created_at) == (0, "", None, AT)
    assert outbox.pending(db) == [mail]
    assert outbox.sent(db) == []


def test_the_same_key_again_adds_no_second_mail_and_changes_nothing(db: Database) -> None:
    assert put(db)
    before = outbox.pending(db)
    assert not put(db, subject="another subject", at=AT + MINUTE)
    assert outbox.pending(db) == before


def test_a_key_stays_taken_after_its_mail_went_out(db: Database) -> None:
    put(db)
    outbox.mark_sent(db, claimed(db, AT).id, "<id>", AT)
    assert not put(db)
    assert outbox.pending(db) == []


def test_of_puts_that_race_under_one_key_exactly_one_is_kept(
    db: Database, together: Callable[[Callable[[int], bool], int], list[bool]]
) -> None:
    assert sorted(together(lambda me: put(db, subject=f"from {me}"), 6)) == [False] * 5 + [True]
    (mail,) = outbox.pending(db)
    assert len(mail.attachments) == 2


def test_every_try_of_one_mail_has_the_same_message_id_and_other_mails_have_others(db: Database) -> None:
    put(db, "one")
    put(db, "two")
    one, two = outbox.due(db, AT)
    assert one.message_id != two.message_id
    assert one.message_id.startswith("<")
    assert one.message_id.endswith("@bidwright>")
    first = outbox.claim(db, one.id, AT)
    second = outbox.claim(db, one.id, AT + LEASE)
    assert first is not None
    assert second is not None
    assert first.message_id == second.message_id == one.message_id


def test_a_claimed_mail_is_held_from_others_until_its_lease_ends(db: Database) -> None:
    put(db)
    mail = claimed(db, AT)
    assert mail.attempts == 1
    assert outbox.due(db, AT + LEASE - MINUTE) == []
    assert outbox.claim(db, mail.id, AT + LEASE - MINUTE) is None
    (again,) = outbox.due(db, AT + LEASE)
    assert again.id == mail.id
    taken_over = outbox.claim(db, mail.id, AT + LEASE)
    assert taken_over is not None
    assert taken_over.attempts == 2


def test_of_senders_that_race_for_one_mail_exactly_one_gets_it(
    db: Database, together: Callable[[Callable[[int], Mail | None], int], list[Mail | None]]
) -> None:
    put(db)
    (mail,) = outbox.due(db, AT)
    got = [answer for answer in together(lambda _: outbox.claim(db, mail.id, AT), 6) if answer is not None]
    assert [(answer.id, answer.attempts) for answer in got] == [(mail.id, 1)]


def test_senders_that_race_over_many_mails_send_each_once(
    db: Database, together: Callable[[Callable[[int], list[int]], int], list[list[int]]]
) -> None:
    for number in range(10):
        put(db, f"mail {number}")

    def send(_: int) -> list[int]:
        went = []
        for mail in outbox.due(db, AT):
            if (mine := outbox.claim(db, mail.id, AT)) is not None:
                went.append(mine.id)
                outbox.mark_sent(db, mine.id, mine.message_id, AT)
        return went

    went = [mail_id for sender in together(send, 4) for mail_id in sender]
    assert sorted(went) == [mail.id for mail in outbox.sent(db)]
    assert len(went) == 10
    assert outbox.pending(db) == []


def test_failed_tries_wait_longer_each_time_and_the_mail_is_never_given_up(db: Database) -> None:
    put(db)
    now, waits = AT, []
    for _ in range(9):
        mail = claimed(db, now)
        outbox.mark_failed(db, mail.id, "connection refused", now)
        (waiting,) = outbox.pending(db)
        assert waiting.last_error == "connection refused"
        assert outbox.claim(db, mail.id, waiting.next_at - timedelta(microseconds=1)) is None
        waits.append((waiting.next_at - now) // MINUTE)
        now = waiting.next_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    outbox.mark_sent(db, claimed(db, now).id, "<id>", now)
    (sent,) = outbox.sent(db)
    assert (sent.attempts, sent.sent_at, sent.message_id, sent.last_error) == (10, now, "<id>", "")


def test_a_sender_whose_lease_ended_cannot_free_the_mail_that_another_is_sending(db: Database) -> None:
    put(db)
    late = claimed(db, AT)
    current = claimed(db, AT + LEASE)
    outbox.mark_failed(db, late.id, "timed out", AT + LEASE, attempt=late.attempts)
    (held,) = outbox.pending(db)
    assert held.next_at == AT + 2 * LEASE
    assert held.last_error == ""
    outbox.mark_failed(db, current.id, "refused", AT + LEASE + MINUTE, attempt=current.attempts)
    assert outbox.pending(db)[0].next_at == AT + LEASE + 3 * MINUTE


def test_a_mail_that_went_out_stays_sent(db: Database) -> None:
    put(db)
    mail = claimed(db, AT)
    outbox.mark_sent(db, mail.id, "<first>", AT)
    outbox.mark_sent(db, mail.id, "<second>", AT + MINUTE)
    outbox.mark_failed(db, mail.id, "late failure", AT + MINUTE)
    assert outbox.claim(db, mail.id, AT + timedelta(days=1)) is None
    (sent,) = outbox.sent(db)
    assert (sent.message_id, sent.sent_at, sent.last_error) == ("<first>", AT, "")


def test_sent_mails_are_listed_by_utc_day(db: Database) -> None:
    times = (
        datetime(2026, 1, 6, tzinfo=UTC),
        datetime(2026, 1, 6, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 1, 7, tzinfo=UTC),
    )
    for number, at in enumerate(times):
        put(db, f"mail {number}")
        outbox.mark_sent(db, outbox.pending(db)[0].id, f"<{number}>", at)
    assert [mail.message_id for mail in outbox.sent(db, date(2026, 1, 6))] == ["<0>", "<1>"]
    assert [mail.message_id for mail in outbox.sent(db, date(2026, 1, 7))] == ["<2>"]
    assert len(outbox.sent(db)) == 3


def test_counts_agree_with_the_lists(db: Database) -> None:
    for number in range(3):
        put(db, f"mail {number}")
    outbox.mark_sent(db, outbox.pending(db)[0].id, "<id>", AT)
    assert (outbox.count_pending(db), outbox.count_sent(db)) == (2, 1)
    assert [outbox.count_sent(db, AT.date() + timedelta(days=days)) for days in (-1, 0, 1)] == [0, 1, 0]
    assert [mail.attachments[0] for mail in outbox.pending(db)] == [CHART] * 2


def test_a_mail_that_is_not_there_is_a_usage_error_to_mark_and_nothing_to_claim(db: Database) -> None:
    assert outbox.claim(db, 77, AT) is None
    with pytest.raises(UsageError, match="no mail 77"):
        outbox.mark_sent(db, 77, "<id>", AT)
    with pytest.raises(UsageError, match="no mail 77"):
        outbox.mark_failed(db, 77, "error", AT)


def test_a_mail_cannot_point_to_an_incident_that_is_not_there(db: Database) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        outbox.put(db, key="k", to="a", subject="s", text="t", html="h", incident_id=77, at=AT)
    assert outbox.pending(db) == []
