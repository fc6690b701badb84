"""Keys and Message-IDs: what makes a mail the same mail, and mails one conversation.

A key names an effect, so that a repeat writes no second mail. It carries the instant at which the incident
was opened: a database that was made anew does not reuse the Message-IDs of the one before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr

from ml.core.digests import digest_json

OPENED = "opened"


@dataclass(frozen=True)
class Conversation:
    """All mails of one incident to one address."""

    id: str
    to: str

    @classmethod
    def of(cls, *, market: str, cause: str, opened_at: datetime, number: int, to: str) -> Conversation:
        """The conversation about an incident with one reader."""
        return cls(digest_json([market, cause, opened_at.isoformat(), number, to])[:32], to)

    def key(self, event: str) -> str:
        """The outbox key of an event of the incident."""
        return f"incident/{self.id}/{event}"


def root_message_id(key: str) -> str | None:
    """Message-ID that the mails of a conversation refer to; None for the key of any other mail.

    It belongs to no mail itself, so that a conversation holds together for a reader who lacks its first mail,
    and whichever of its mails arrives first.

    >>> root_message_id("incident/ab12/opened"), root_message_id("decision/7/promoted")
    ('<incident-ab12@bidwright>', None)
    """
    kind, _, rest = key.partition("/")
    identity, _, event = rest.partition("/")
    return f"<incident-{identity}@bidwright>" if kind == "incident" and identity and event else None


def list_id(key: str, sender: str) -> str:
    """What a reader's filter goes by (RFC 2919): the kind of mail, and where it comes from.

    >>> list_id("incident/ab12/opened", "Bidwright <bidwright@example.com>")
    'Bidwright incident mails <incident.bidwright.example.com>'
    >>> list_id("odd key/1", "bidwright")
    'Bidwright mails <other.bidwright.localhost>'
    """
    kind = key.partition("/")[0]
    domain = parseaddr(sender)[1].partition("@")[2]
    domain = domain if re.fullmatch(r"[A-Za-z0-9.-]{1,120}", domain) else "localhost"
    known = re.fullmatch(r"[a-z-]{1,40}", kind) is not None
    return f"Bidwright {kind + ' ' if known else ''}mails <{kind if known else 'other'}.bidwright.{domain}>"


def recipients(addresses: str) -> list[str]:
    """Several addresses separated by commas, each once, in order.

    >>> recipients("a@x, b@x,, a@x")
    ['a@x', 'b@x']
    """
    return list(dict.fromkeys(address.strip() for address in addresses.split(",") if address.strip()))
