"""Whatever a mail server does at whatever stage: no mail is lost, and none is read twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from email import message_from_bytes

import pytest

from ml.core.clock import FixedClock
from ml.core.settings import Settings
from ml.ledger import outbox
from ml.ledger.database import Database
from monitoring import deliver as delivery
from monitoring import smtp
from monitoring.deliver import DeliveryReport, deliver
from tests.monitoring.wire import FAULTS, STAGES, Wire, wire

DEADLINE_S = smtp.DEADLINE_S


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For faults that would take until the deadline; a healthy answer comes well within it on a busy machine too."""
    monkeypatch.setattr(smtp, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(smtp, "DEADLINE_S", 2.5)


@pytest.fixture
def server() -> Iterator[Wire]:
    with wire() as running:
        yield running


@pytest.fixture
def sender(db: Database, settings: Settings, server: Wire, at: datetime) -> Sender:
    return Sender(db, settings.model_copy(update={"smtp_port": server.port}), FixedClock(at))


class Sender:
    """Puts mails and delivers them, hours apart."""

    def __init__(self, db: Database, settings: Settings, clock: FixedClock) -> None:
        self.db, self.settings, self.clock = db, settings, clock

    def put(self, key: str, to: str = "team@example.com") -> None:
        html = '<p>rich words</p><img src="cid:chart1@bidwright">'
        picture = ("chart1@bidwright", "image/png", bytes(range(256)) * 40)
        assert outbox.put(
            self.db, key=key, to=to, subject=f"subject {key}", text="plain\n.\nwords", html=html, attachments=[picture],
            at=self.clock.at,
        )  # fmt: skip

    def deliver(self) -> DeliveryReport:
        report = deliver(self.db, self.settings, self.clock)
        self.clock.at += timedelta(hours=2)
        return report


def ids(taken: list[bytes]) -> list[str]:
    return [str(message_from_bytes(body)["Message-ID"]) for body in taken]


SLOW = {"silent": STAGES, "drip": ("greeting", "MAIL", "BODY", "QUIT"), "endless": ("EHLO", "BODY")}
"""Faults that last until a patience ends, and the stages at which they are tried."""

MATRIX = [(stage, fault) for fault in FAULTS for stage in SLOW.get(fault, STAGES)]


@pytest.mark.parametrize(("stage", "fault"), MATRIX)
def test_a_fault_at_any_stage_loses_nothing_and_doubles_nothing(
    sender: Sender, server: Wire, request: pytest.FixtureRequest, stage: str, fault: str
) -> None:
    if fault in SLOW:
        request.getfixturevalue("little_patience")
    server.faults = [(stage, fault)]
    sender.put("k1")
    first = sender.deliver()
    assert server.faults == [], "the fault happened"
    assert first.sent + first.waiting == 1
    if stage == "QUIT":
        assert first.sent == 1, "what goes wrong after a mail was taken does not send it again"
    for _ in range(3):
        sender.deliver()
    assert len(server.taken) == 1
    assert (outbox.count_pending(sender.db), outbox.count_sent(sender.db)) == (0, 1)


@pytest.mark.parametrize(
    ("stage", "fault"), [("BODY", "silent"), ("BODY", "drip"), ("EHLO", "endless"), ("greeting", "drip")]
)
def test_a_slow_server_holds_a_step_no_longer_than_its_deadline_and_is_asked_once(
    sender: Sender, server: Wire, little_patience: None, stage: str, fault: str
) -> None:
    """However many mails wait: the next would fare alike."""
    server.faults = [(stage, fault)] * 5
    for number in range(5):
        sender.put(f"k{number}")
    report = sender.deliver()
    assert (report.sent, report.waiting, server.connections) == (0, 5, 1)
    server.faults = []
    assert sender.deliver().sent == 5


def test_the_deadline_is_shorter_than_the_lease_so_that_no_second_sender_comes_meanwhile() -> None:
    assert outbox.LEASE.total_seconds() / 2 > DEADLINE_S


def test_a_server_that_takes_a_mail_and_dies_gets_the_same_bytes_again(sender: Sender, server: Wire) -> None:
    """Nobody can tell this from a loss. The same Message-ID, Date and bytes let the second be dropped."""
    server.faults = [("BODY", "take and die")]
    sender.put("k1")
    assert sender.deliver().sent == 0
    assert sender.deliver().sent == 1
    first, second = server.taken
    assert first == second
    assert ids([first]) == [mail.message_id for mail in outbox.sent(sender.db)]


def test_a_sender_that_dies_after_the_mail_was_taken_leaves_it_to_the_next_one(
    sender: Sender, server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.put("k1")
    with monkeypatch.context() as dying:

        def die(*_: object, **__: object) -> None:
            raise SystemExit

        dying.setattr(delivery.outbox, "mark_sent", die)
        with pytest.raises(SystemExit):
            deliver(sender.db, sender.settings, sender.clock)
    assert deliver(sender.db, sender.settings, sender.clock).sent == 0, "held until the lease ends"
    sender.clock.at += outbox.LEASE
    assert sender.deliver().sent == 1
    assert len(set(server.taken)) == 1
    assert len(server.taken) == 2


def test_what_a_server_says_is_kept_readable_and_short(sender: Sender, server: Wire) -> None:
    """A database refuses a zero byte, and a terminal obeys an escape: neither comes from a server into ours."""
    server.faults = [("MAIL", "garbage")]
    sender.put("k1")
    sender.deliver()
    (mail,) = outbox.pending(sender.db)
    assert "teapot" in mail.last_error
    assert mail.last_error.isprintable()
    assert len(mail.last_error) <= 400


def test_one_refused_address_costs_the_others_nothing(sender: Sender, server: Wire) -> None:
    """Each address has a mail of its own: the refused one waits and is tried again, the other is read once."""
    server.faults = [("RCPT", "refuse")]
    sender.put("k1", to="gone@example.com")
    sender.put("k2", to="here@example.com")
    report = sender.deliver()
    assert (report.sent, report.waiting) == (1, 1)
    assert "gone@example.com: 550 never" in report.errors[0]
    sender.deliver()
    assert sorted(message_from_bytes(body)["To"] for body in server.taken) == ["gone@example.com", "here@example.com"]


def test_a_night_of_every_fault_ends_with_each_mail_there(sender: Sender, server: Wire) -> None:
    rng = random.Random(7)  # noqa: S311  (faults, not secrets)
    quick = [fault for fault in FAULTS if fault not in {"silent", "drip", "endless"}]
    server.faults = [(rng.choice(STAGES[:-1]), rng.choice(quick)) for _ in range(40)]
    server.faults += [("BODY", "take and die")] * 3
    rng.shuffle(server.faults)
    for number in range(12):
        sender.put(f"k{number}")
    rounds = 0
    while outbox.count_pending(sender.db) and rounds < 60:
        sender.deliver()
        rounds += 1
    assert outbox.count_pending(sender.db) == 0
    wanted = {mail.message_id for mail in outbox.sent(sender.db)}
    assert set(ids(server.taken)) == wanted
    assert len(set(server.taken)) == len(wanted) == 12, "copies are the same to the last byte"


def test_no_thread_outlives_its_connection(sender: Sender) -> None:
    sender.put("k1")
    assert sender.deliver().sent == 1
    watching = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    for thread in watching:
        thread.join(timeout=5)  # it was told to end
    assert not any(thread.is_alive() for thread in watching)
