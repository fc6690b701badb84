"""How large a mail may be: long texts are cut with a mark, and pictures go first where it is still too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ml.ledger.outbox import Attachment

MAIL_BYTES = 400_000
"""Of a whole mail. Gmail hides what comes after 102 kB of HTML, so that the first screen has to say it anyway."""

_HEADERS = 4_000
_AS_BASE64 = 1.38
"""What encoding adds at most: four bytes for three, and the ends of lines."""

T = TypeVar("T")


def cut(text: object, length: int) -> str:
    """A text of at most so many characters, without characters that no mail may hold; what is missing is marked.

    >>> cut("a long reason", 7), cut("short", 7)
    ('a long…', 'short')
    """
    kept = str(text)[: length + 1]
    shown = "".join(character for character in kept if character.isprintable() or character in "\n\t")
    return shown if len(kept) <= length else shown[: length - 1].rstrip() + "…"


def first(items: Sequence[T], count: int) -> list[T]:
    """At most so many of the first items."""
    return list(items[:count])


def mail_bytes(text: str, html: str, attachments: Sequence[Attachment]) -> int:
    """Upper bound of the bytes of a mail on the wire."""
    bodies = len(text.encode()) + len(html.encode()) + sum(len(data) + 300 for _, _, data in attachments)
    return _HEADERS + int(bodies * _AS_BASE64)
