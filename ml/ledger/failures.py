"""What a database error means to a person: one sentence, what is left, what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL

from ml.core.errors import StoreUnavailable
from ml.core.hidden import hidden

MIGRATE = "run: bidwright migrate"
_NOTHING_WRITTEN = "nothing of this step was written"


class _Meaning(NamedTuple):
    what: str
    next: str


_FULL = _Meaning("could not be written: the disk is full", "free some space, then try again")
_LOCKED = _Meaning("stayed locked by another process", "try again; if it lasts, look for a process that holds the file")
_NOT_MIGRATED = _Meaning("has no tables of this platform yet", MIGRATE)
_OTHER_COLUMNS = _Meaning(
    "has other columns than this code: one of them is older",
    MIGRATE + ", with the newer code, and start the older anew",
)
_READ_ONLY = _Meaning(
    "cannot be written: it is read-only", "give this user write access to the database and its folder"
)
_DAMAGED = _Meaning("is not a readable database", "restore it from a backup, or move the file away and " + MIGRATE)

# Prefixes of SQLite's names for its result codes.
_SQLITE: Mapping[str, _Meaning] = {
    "SQLITE_CANTOPEN": _Meaning("cannot be opened", "check that it is a file and that this user may read and write it"),
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_PERM": _READ_ONLY,
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_IOERR": _Meaning(
        "could not be read or written: the disk reported an error", "check the disk, then try again"
    ),
}
# Prefixes of PostgreSQL's SQLSTATE codes.
_POSTGRESQL: Mapping[str, _Meaning] = {
    "28": _Meaning("refused the login", "check the user and the password in BIDWRIGHT_DATABASE_URL"),
    "3D": _Meaning("does not exist on its server", "create it, then " + MIGRATE),
    "42P01": _NOT_MIGRATED,
    "42703": _OTHER_COLUMNS,
    "42501": _Meaning("refused access to its tables", "grant this user rights on the tables"),
    "25006": _READ_ONLY,
    "53100": _FULL,
    "53": _Meaning("is out of resources", "look at the server's connections and memory, then try again"),
    "57": _Meaning("ended the connection: the server is stopping or starting", "try again when it is up"),
    "58": _Meaning("could not be read or written: its disk reported an error", "check the server's disk"),
    "40": _Meaning("undid the transaction because of another one", "try again"),
    "55P03": _LOCKED,
}

# What the server says to a client that connects, for which the driver has no code.
_WHILE_CONNECTING: Mapping[str, str] = {
    "password authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    "is not permitted to log in": "28",
    'role "': "28",
    'database "': "3D",
    "the database system is": "57",
    "too many clients": "53",
    "remaining connection slots": "53",
}


def describe(url: URL) -> str:
    """Name a database in a sentence, without its password."""
    return f"the platform database {url.database if url.get_backend_name() == 'sqlite' else hidden(url.render_as_string())}"


def absent(url: URL) -> StoreUnavailable:
    """The error for a SQLite file that is not there."""
    where = Path(url.database or "")
    if not where.parent.is_dir():
        return StoreUnavailable(
            f"{describe(url)} cannot be opened: the folder {where.parent} does not exist",
            next="check BIDWRIGHT_HOME or BIDWRIGHT_DATABASE_URL, then " + MIGRATE,
        )
    return StoreUnavailable(f"{describe(url)} does not exist yet", next=MIGRATE)


def explain(error: BaseException, url: URL) -> StoreUnavailable | None:
    """Say what an error of the driver means, or None when it is no matter of the store (a mistake in our SQL)."""
    meaning = _sqlite(error, url) if url.get_backend_name() == "sqlite" else _postgresql(error)
    if isinstance(meaning, _Meaning):
        return StoreUnavailable(f"{describe(url)} {meaning.what}", left=_NOTHING_WRITTEN, next=meaning.next)
    return meaning


def _sqlite(error: BaseException, url: URL) -> _Meaning | StoreUnavailable | None:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_CANTOPEN") and not Path(url.database or "").exists():
        return absent(url)
    if "no such table" in str(error):
        return _NOT_MIGRATED
    if "no such column" in str(error) or "has no column named" in str(error):
        return _OTHER_COLUMNS
    return next((meaning for prefix, meaning in _SQLITE.items() if name.startswith(prefix)), None)


def _postgresql(error: BaseException) -> _Meaning | None:
    state = getattr(error, "sqlstate", None) or ""
    by_prefix = sorted(_POSTGRESQL.items(), key=lambda item: -len(item[0]))
    known = next((meaning for prefix, meaning in by_prefix if state.startswith(prefix)), None)
    if known or state:
        return known
    # Without a code the driver never heard from the server, lost it, or was refused while it connected.
    said = str(error)
    if (code := next((code for sign, code in _WHILE_CONNECTING.items() if sign in said), None)) is not None:
        return _POSTGRESQL[code]
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "the connection was lost"
    return _Meaning(f"cannot be reached: {reason}", "check that the server is up and BIDWRIGHT_DATABASE_URL is right")
