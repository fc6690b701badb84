"""Every error that Bidwright raises on purpose, drawn once.

    BidwrightError
    |-- UsageError             the call was wrong: a date, a name, an option        (exit code 2)
    |-- PermanentError         trying again cannot help                             (no retry)
    |   |-- SchemaBreak        a delivered table lacks a column or has another type
    |   |-- DayRejected        too much of a day's delivery broke the contract
    |   |-- NoData             a day, a folder or a table that should be there is not
    |   |-- CorruptArtefact    bytes do not match their digest, or do not parse
    |   `-- LeakageError       a column that is filled in later reached a feature
    `-- RetryableError         may pass by itself                                   (retried)
        |-- StaleGeneration    the champion moved while we decided
        |-- NotReady           this process may not work here yet: its clock, or its code, is not that of the others
        |-- StoreUnavailable   the lake, the blob store or the database cannot be reached or is full
        `-- MailUndelivered    the SMTP server did not take a mail; it waits in the outbox

Each error says what happened, what is left as it was, and what to do next.
"""

from __future__ import annotations

from functools import partial


class BidwrightError(Exception):
    """The root. `what` happened, `left` in which state, and what to do `next`."""

    def __init__(self, what: str, *, left: str = "", next: str = "") -> None:
        self.what, self.left, self.next = what, left, next
        super().__init__(what, left, next)

    def __reduce__(self) -> tuple[partial[BidwrightError], tuple[str]]:
        """How it crosses from a worker process to its parent: with its keyword arguments."""
        return partial(type(self), left=self.left, next=self.next), (self.what,)

    def __str__(self) -> str:
        return "; ".join(part for part in (self.what, self.left, self.next) if part)


class UsageError(BidwrightError):
    """The call was wrong: a date, a name or an option. Exit code 2."""


class PermanentError(BidwrightError):
    """Trying again cannot help; an Airflow task fails without a retry."""


class SchemaBreak(PermanentError):
    """A delivered table lacks a column or has another type."""


class DayRejected(PermanentError):
    """Too much of a day's delivery broke the contract; nothing of it was landed."""


class NoData(PermanentError):
    """A day, a folder or a table that should be there is not."""


class CorruptArtefact(PermanentError):
    """Bytes do not match their digest, or do not parse."""


class LeakageError(PermanentError):
    """A column that is filled in after the decision reached a feature."""


class RetryableError(BidwrightError):
    """May pass by itself; an Airflow task is retried with backoff."""


class StaleGeneration(RetryableError):
    """The champion moved while a promotion was being decided; nothing was moved."""


class NotReady(RetryableError):
    """This process may not work here yet: its clock is off, or its code is not the code that was deployed."""


class StoreUnavailable(RetryableError):
    """The lake, the blob store or the platform database cannot be reached, read or written."""


class MailUndelivered(RetryableError):
    """The SMTP server did not take a mail; it waits in the outbox."""
