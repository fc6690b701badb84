"""How large a mail may be: long texts are cut with a mark, and pictures go first where it is still too much."""

from __future__ import annotations

from collections.abc import Sequence

from ml.ledger.outbox import Attachment
from monitoring.links import Link

MAIL_BYTES = 400_000
"""Of a whole mail. Gmail hides what comes after 102 kB of HTML, so that the first screen has to say it anyway."""

LINKS_SHOWN, LABEL_LENGTH, ADDRESS_LENGTH = 8, 60, 2_000

_HEADERS = 4_000
_AS_BASE64 = 1.38
"""What encoding adds at most: four bytes for three, and the ends of lines."""


def cut(text: object, length: int) -> str:
    """A text of at most so many characters, without characters that no mail may hold; what is missing is marked.

    >>> cut("a long reason", 7), cut("short", 7)
    ('a long…', 'short')
    """
    kept = str(text)[: length + 1]
    shown = "".join(character for character in kept if character.isprintable() or character in "\n\t")
    return shown if len(kept) <= length else shown[: length - 1].rstrip() + "…"


def safe_links(links: Sequence[Link]) -> list[Link]:
    """Addresses that a click may follow: of the web, and whole; a longer one would lead elsewhere.

    >>> safe_links([("Open", "https://airflow.example/dags/x"), ("Trap", "javascript:alert(1)")])
    [('Open', 'https://airflow.example/dags/x')]
    """
    return [
        (cut(label, LABEL_LENGTH), address)
        for label, address in links[:LINKS_SHOWN]
        if len(address) <= ADDRESS_LENGTH and address.startswith(("http://", "https://")) and address.isprintable()
    ]


def mail_bytes(text: str, html: str, attachments: Sequence[Attachment]) -> int:
    """Upper bound of the bytes of a mail on the wire."""
    bodies = len(text.encode()) + len(html.encode()) + sum(len(data) + 300 for _, _, data in attachments)
    return _HEADERS + int(bodies * _AS_BASE64)
