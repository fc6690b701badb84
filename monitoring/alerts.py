"""Tell people: open, worsen and resolve incidents, each with at most one mail, in one transaction.

An incident is one conversation: its mails carry keys that begin alike, and keep the subject it was opened
with behind the changing tag in brackets. A repeat of the same report updates the incident and mails nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ml.core.settings import Settings
from ml.core.units import MICROS_PER_UNIT  # noqa: F401
from ml.ledger import incidents, outbox
from ml.ledger.database import Store, writing
from ml.ledger.incidents import Incident, Severity
from monitoring.causes import meaning
from monitoring.links import Link, page_link, run_link
from monitoring.mail.notice import BARS_SHOWN, REASONS_SHOWN, Notice, bar, subject_line
from monitoring.mail.render import render
from monitoring.mail.thread import incident_key
