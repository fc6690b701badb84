"""A market made of random rows, a ledger and a blob store per test, and real mail servers that misbehave on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from ml.core.settings import Settings
from ml.lake.blobs import BlobStore, open_blobs
from ml.ledger.database import Database
from monitoring.subject import Subject

DAY = date(2026, 5, 20)
NUMERIC = ["rate", "lead_days", "cancel_rate"]
CATEGORICAL = ["segment", "is_repeat"]

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def day() -> date:
    return DAY


@pytest.fixture
def at() -> datetime:
    return datetime(2026, 5, 21, 4, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, market="hotels", mail_to="team@example.com", airflow_url="http://airflow.example")


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.migrate()
    return database


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_blobs(str(tmp_path / "blobs"), cache=tmp_path / "cache")


def rows_of(day: date, rows: int, seed: int) -> pd.DataFrame:
    """The bookings of one day of a market in which nothing ever changes."""
    rng = np.random.default_rng([seed, day.toordinal()])
    seconds = np.sort(rng.integers(0, 86_400, rows))
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return pd.DataFrame(
        {
            "known_at": pd.DatetimeIndex([start] * rows) + pd.to_timedelta(seconds, unit="s"),
            "rate": rng.lognormal(4.5, 0.4, rows),
            "lead_days": rng.integers(0, 300, rows),
            "cancel_rate": rng.beta(2, 5, rows),
            "segment": rng.choice(["groups", "online", "direct"], rows, p=[0.2, 0.5, 0.3]),
            "is_repeat": rng.random(rows) < 0.1,
        }
    )


@dataclass
class Market:
    """Rows of any day, with what is changed from which day on."""

    rows: int = 150
    seed: int = 0
    changes: list[tuple[date, date, Change]] = field(default_factory=list)

    def change(self, change: Change, *, first: date, last: date = date.max) -> Market:
        self.changes.append((first, last, change))
        return self

    def of(self, day: date) -> pd.DataFrame:
        frame = rows_of(day, self.rows, self.seed)
        for first, last, change in self.changes:
            if first <= day <= last:
                frame = change(frame.copy())
        return frame

    def subject(self, day: date, *, history: int = 120, **options: Any) -> Subject:
        """The day as a subject, with so many days of history."""
        before = [self.of(day - timedelta(days=n)) for n in range(history, 0, -1)]
        reference = pd.concat(before, ignore_index=True) if before else self.of(day).iloc[:0]
        return Subject("bookings", self.of(day), reference, NUMERIC, CATEGORICAL, **options)


@pytest.fixture
def market() -> Market:
    return Market()


@dataclass
class MailServer:
    """A real SMTP server on loopback.

    `misbehave` is consulted before each command of its name (`RCPT`, `DATA`, `BODY`); what it returns is the
    answer, and `hang up` closes the line instead.
    """

    misbehave: dict[str, list[str]] = field(default_factory=dict)
    taken: list[EmailMessage] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, stage: str) -> str | None:
        self.seen.append(stage)
        answers = self.misbehave.get(stage, [])
        return answers.pop(0) if answers else None

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = self.answer("RCPT")
        if answer == "hang up":
            server.transport.close()  # type: ignore[union-attr]
            return "421 closing"
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answer("BODY")
        if answer == "hang up":
            server.transport.abort()  # type: ignore[union-attr]
            return "421 closing"
        if answer == "take and hang up":
            self._keep(envelope)
            server.transport.abort()  # type: ignore[union-attr]
            return "250 OK"
        if answer:
            return answer
        self._keep(envelope)
        return "250 OK"

    def _keep(self, envelope: Envelope) -> None:
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.taken.append(message)
        self.senders.append(str(envelope.mail_from))


class _Controller(Controller):
    """Binds whichever port is free, and knows it before it probes its own server."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        super()._trigger_server()


StartServer = Callable[..., int]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start a real SMTP server on loopback with this handler; returns its port. All are stopped at the end."""
    running: list[_Controller] = []

    def start(handler: object, **options: Any) -> int:
        controller = _Controller(handler, hostname="127.0.0.1", port=0, ready_timeout=30, **options)
        controller.start()
        running.append(controller)
        return int(controller.port)

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture
def mail_server(start_server: StartServer) -> MailServer:
    server = MailServer()
    server.port = start_server(server)
    return server


@pytest.fixture
def smtp_settings(settings: Settings, mail_server: MailServer) -> Settings:
    return settings.model_copy(update={"smtp_port": mail_server.port})
