"""Two column types that every database keeps alike: an instant in UTC, and canonical JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Text, TypeDecorator

from ml.core.digests import canonical_json
from ml.core.errors import UsageError


class UtcDateTime(TypeDecorator[datetime]):
    """An instant with microseconds: aware in Python, UTC in the database, aware UTC when it comes back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware instant into UTC; SQLite has no time zones and stores it bare."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise UsageError(f"the instant {value.isoformat()} has no time zone", next="give an aware instant in UTC")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the instant its time zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CanonicalJson(TypeDecorator[Any]):
    """A JSON value as text with sorted keys, so that equal values are equal bytes in every database.

    NaN and the infinities are refused: evidence that is missing is `None`.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:  # noqa: ARG002  (SQLAlchemy's signature)
        """Write the canonical form; `None` becomes JSON null."""
        try:
            return canonical_json(value).decode()
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"a value for the ledger is not JSON: {error}", next="give finite numbers, text, lists and mappings"
            ) from error

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read the value back."""
        return None if value is None else json.loads(value)


def storable(text: str) -> str:
    """Text that every database takes: without NUL and without halves of characters.

    >>> storable("a\\x00b")
    'a\ufffdb'
    """
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
