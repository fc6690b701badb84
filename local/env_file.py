"""The file `.env`: every secret of a stack, made once, strong, readable by its owner only; nothing has a default.

Each line is NAME=VALUE, which docker-compose, a shell (`set -a; . ./.env`) and `read` understand alike.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
import stat
import string
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ml.core.errors import UsageError
from ml.promotion.signature import Kind, SecretKey

REPOSITORY: Final = Path(__file__).resolve().parent.parent
ENV_FILE: Final = REPOSITORY / ".env"

_LEAST: Final = 20
"""Characters of a password; what is made here has 43."""
_LEAST_DISTINCT: Final = 8
_LEAST_BYTES: Final = {"AIRFLOW_JWT_SECRET": 64}
"""SHA-512 signs Airflow's tokens: a shorter secret than its 64 bytes would be the weaker part."""
_FERNET_BYTES: Final = 32

_LINE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
# Values stand in URLs, in Redis' ACL file and in shells, so none may hold a character that means something there.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:=-]+")

_HEAD: Final = """\
# Secrets of this stack, written by `make env`. Keep it out of the repository and of every image.
# To change one: stop the stack, replace its value, start again (docs/cluster.md).
"""


def _password() -> str:
    return secrets.token_urlsafe(32)


def _letters(alphabet: str, length: int) -> Callable[[], str]:
    return lambda: "".join(secrets.choice(alphabet) for _ in range(length))


_MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "POSTGRES_PASSWORD": _password,
    "AIRFLOW_DB_PASSWORD": _password,
    "BIDWRIGHT_DB_PASSWORD": _password,
    "BIDWRIGHT_READER_PASSWORD": _password,
    "FEAST_DB_PASSWORD": _password,
    "REDIS_PASSWORD": _password,
    "REDIS_READER_PASSWORD": _password,
    "S3_ACCESS_KEY": _letters(string.ascii_uppercase + string.digits, 20),
    "S3_SECRET_KEY": _letters(string.ascii_letters + string.digits, 40),
    "S3_READER_ACCESS_KEY": _letters(string.ascii_uppercase + string.digits, 20),
    "S3_READER_SECRET_KEY": _letters(string.ascii_letters + string.digits, 40),
    "AIRFLOW_FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(_FERNET_BYTES)).decode(),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(72),
    "AIRFLOW_SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "AIRFLOW_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(24),
    "BIDWRIGHT_SERVE_TOKEN": _password,
    "GRAFANA_ADMIN_PASSWORD": _password,
}
_SIGNING: Final = "BIDWRIGHT_SIGNING_KEY"
_TRUSTED: Final = "BIDWRIGHT_TRUSTED_KEYS"

NAMES: Final = (*_MAKERS, _SIGNING, _TRUSTED)
"""What a `.env` holds, all of it."""


def write(file: Path = ENV_FILE) -> None:
    """Make every secret and write the file, mode 0600, whole or not at all.

    Raises:
        UsageError: the file is there already; it is left as it was, because a running stack's data need its secrets.
    """
    try:
        with _new(file, _HEAD + _lines(make())) as whole:
            # A link and not a rename: that would take the place of a file that is there.
            os.link(whole, file)
    except FileExistsError:
        raise UsageError(
            f"{file} is there already",
            left="it was not touched",
            next="keep it (make env ADD=1 adds what a new version asks for); for new secrets move it away first, "
            "and the stack's data with it",
        ) from None


def add(file: Path = ENV_FILE) -> list[str]:
    """Give what a file of an earlier version lacks a new value, and leave the rest as it is; returns the names.

    Raises:
        UsageError: as `read`, of what would come out; the file is left as it was.
    """
    found = _parse(file)
    missing = _missing(found)
    if not missing:
        return []
    made = make()
    added = {name: made[name] for name in missing}
    _check(found | added, file)
    kept = [line for line in file.read_text().splitlines() if line.partition("=")[0].strip() not in added]
    with _new(file, "\n".join([*kept, _lines(added)])) as whole:
        whole.replace(file)
    return missing


@contextmanager
def _new(file: Path, text: str) -> Iterator[Path]:
    """The text in a file beside this one, private and on the disk; gone afterwards, unless it took this one's place."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}='{value}'\n" if name == _TRUSTED else f"{name}={value}\n" for name, value in values.items())


def make() -> dict[str, str]:
    """A new value for every name: random ones, and a pair of keys that signs bundles."""
    signing = SecretKey.generate(Kind.RELEASE)
    made = {name: maker() for name, maker in _MAKERS.items()}
    return made | {_SIGNING: signing.reveal(), _TRUSTED: json.dumps([signing.public.text], separators=(",", ":"))}


def read(file: Path = ENV_FILE) -> dict[str, str]:
    """The secrets of a file, every one of them checked; names that are not ours are handed on unchecked.

    Raises:
        UsageError: there is no such file, others can read it, it is half-written, or a value is weak. No message
            repeats a value.
    """
    found = _parse(file)
    if missing := _missing(found):
        raise UsageError(
            f"{file} is half-written: it has no value for {', '.join(missing)}",
            left="nothing was started",
            next="if an earlier version wrote it: make env ADD=1; else move it away and run: make env",
        )
    _check(found, file)
    return found


def _missing(found: Mapping[str, str]) -> list[str]:
    return [name for name in NAMES if not found.get(name)]


def _check(found: Mapping[str, str], file: Path) -> None:
    """Refuse values that are weak, the same, or do not fit each other."""
    for name in NAMES:
        if why := weakness(name, found[name]):
            raise UsageError(
                f"{name} in {file} {why}", left="nothing was started", next="replace it (make env shows how)"
            )
    _refuse_twins(found, file)


def weakness(name: str, value: str) -> str:
    """Why a value is no secret, as the end of a sentence; empty for a good one.

    >>> weakness("REDIS_PASSWORD", "changeme")
    'is too short: 8 characters of at least 20'
    """
    if name in {_SIGNING, _TRUSTED}:
        return _wrong_key(name, value)
    if not _PLAIN.fullmatch(value):
        return "has a character that cannot stand in an address; letters, digits and _ . : = - can"
    least = _LEAST_BYTES.get(name, _LEAST)
    if len(value) < least:
        return f"is too short: {len(value)} characters of at least {least}"
    if len(set(value)) < _LEAST_DISTINCT:
        return f"is too simple: fewer than {_LEAST_DISTINCT} different characters"
    if name == "AIRFLOW_FERNET_KEY" and not _is_fernet_key(value):
        return "is no Fernet key (32 bytes in URL-safe base64)"
    return ""


def _parse(file: Path) -> dict[str, str]:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text()
    except FileNotFoundError:
        raise UsageError(f"{file} is not there", left="nothing was started", next="run: make env") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", left="nothing was started", next="run: make env") from None
    if mode & 0o077:
        raise UsageError(
            f"others than its owner can read {file} (mode {mode:04o})", left="nothing was started",
            next=f"chmod 600 {file}; if others had time to read it, make new secrets",
        )  # fmt: skip
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        matched = _LINE.fullmatch(line.strip())
        if matched is None:
            raise UsageError(
                f"line {number} of {file} is not NAME=VALUE",
                left="nothing was started",
                next="correct it, or: make env",
            )
        name, value = matched.groups()
        if name in found:
            raise UsageError(f"{file} has {name} twice", left="nothing was started", next="take one of them out")
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        found[name] = value[1:-1] if quoted else value
    return found


def _refuse_twins(found: Mapping[str, str], file: Path) -> None:
    """Roles are kept apart by their passwords: two that are the same are one role."""
    owner: dict[str, str] = {}
    for name in NAMES:
        other = owner.setdefault(found[name], name)
        if other != name:
            raise UsageError(
                f"{other} and {name} in {file} are the same", left="nothing was started", next="give each its own"
            )
    signing = SecretKey.parse(found[_SIGNING])
    if signing.public.text not in json.loads(found[_TRUSTED]):
        raise UsageError(
            f"{_TRUSTED} in {file} does not list the key that {_SIGNING} signs with",
            left="nothing was started",
            next=f"add {signing.public.text}",
        )


def _wrong_key(name: str, value: str) -> str:
    from ml.promotion.signature import PublicKey

    try:
        if name == _SIGNING:
            kind = SecretKey.parse(value).public.kind
        else:
            kinds = {PublicKey.parse(text).kind for text in json.loads(value)}
            kind = Kind.DEVELOPMENT if Kind.DEVELOPMENT in kinds or not kinds else Kind.RELEASE
    except (UsageError, ValueError, TypeError, AttributeError):
        return "is not of its form; `bidwright keys new` shows what to write"
    return "" if kind is Kind.RELEASE else "is no key for release; `bidwright keys new` makes one"


def _is_fernet_key(value: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(value)) == _FERNET_BYTES
    except (binascii.Error, ValueError):
        return False
