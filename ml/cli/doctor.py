"""Check the installation, the settings and the stores; say what to do about what is wrong."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.core.errors import BidwrightError

if TYPE_CHECKING:
    from ml.platform import Platform

PACKAGES = ("apache-airflow", "feast", "duckdb", "lightgbm", "scikit-learn", "evidently", "mlflow", "pandera")
LEAST_FREE_BYTES = 1 << 30
SMTP_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Check:
    """One thing looked at: whether it is well, what was found, and the remedy where it is not."""

    name: str
    ok: bool
    finding: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def examine(*, reader: bool = False) -> list[Check]:
    """Every check, in the order in which a newcomer would need them; none stops those after it.

    Args:
        reader: for a process that may only read, such as the bid service: nothing is written, and nobody has to take a mail.
    """
    checks = [_python(), *_packages()]
    try:
        from ml.platform import Platform

        platform = Platform.from_environment()
    except BidwrightError as error:
        return [*checks, Check("settings", ok=False, finding=error.what, remedy=error.next)]
    named: list[tuple[str, Callable[[Platform], str]]] = [
        ("working folder", _home),
        ("free disk", _disk_of_events if reader else _disk),
        ("platform database", _database),
        ("lake and blob store", _stores_read if reader else _stores),
        ("clock", _clock),
        ("code", _code),
        ("online store", _online_read if reader else _online),
        ("market source", _source),
        ("signing keys", _keys),
        ("champion", _champion),
        *([] if reader else [("mail server", _smtp)]),
    ]
    return [*checks, *(_run(name, look, platform) for name, look in named)]


def _run(name: str, look: Callable[[Platform], str], platform: Platform) -> Check:
    try:
        return Check(name, ok=True, finding=look(platform))
    except BidwrightError as error:
        return Check(name, ok=False, finding=error.what, remedy=error.next)
    except OSError as error:
        return Check(name, ok=False, finding=str(error), remedy="correct the path or the permissions")


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", ok=sys.version_info >= (3, 11), finding=found, remedy="use Python 3.11 or newer")


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(f"package {name}", ok=True, finding=version(name))
        except PackageNotFoundError:
            yield Check(f"package {name}", ok=False, finding="not installed", remedy="run: make install")


def _home(platform: Platform) -> str:
    home = platform.settings.home
    probe = home if home.exists() else home.parent
    if not probe.exists():
        raise BidwrightError(f"{probe} does not exist", next="create it, or set BIDWRIGHT_HOME to a folder")
    import os

    if not os.access(probe, os.W_OK):
        raise BidwrightError(f"{probe} cannot be written", next="correct its permissions, or set BIDWRIGHT_HOME")
    return str(home)


def _disk(platform: Platform) -> str:
    return _room(platform.settings.home)


def _disk_of_events(platform: Platform) -> str:
    """What a bid service writes is its log of decisions; the rest of its folder may be small, and in memory."""
    from ml.serving.event_log import events_folder

    return _room(events_folder(platform.settings.home, platform.market))


def _room(folder: Path) -> str:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise BidwrightError(f"{free >> 20} MiB free at {place}", next="free at least 1 GiB")
    return f"{free >> 30} GiB free"


def _database(platform: Platform) -> str:
    url = platform.settings.database
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return "not created yet; the first command creates it"
    platform.db.check()
    return url.split("@")[-1]


def _stores(platform: Platform) -> str:
    from ml.preflight import check_writable

    return check_writable(platform) if _in_s3(platform) else "folders"


def _stores_read(platform: Platform) -> str:
    from ml.preflight import check_readable

    return check_readable(platform) if _in_s3(platform) else "folders"


def _in_s3(platform: Platform) -> bool:
    return "://" in platform.settings.lake or "://" in platform.settings.blobs


def _clock(platform: Platform) -> str:
    from ml.preflight import check_clock

    return check_clock(platform)


def _code(platform: Platform) -> str:
    from ml.preflight import check_code

    return check_code(platform) if platform.db.exists() else "no database yet that says what was deployed"


def _online(platform: Platform) -> str:
    from ml.features.redis_check import check_redis

    return check_redis(platform.settings.redis, platform.market) if platform.settings.redis else "the embedded store"


def _online_read(platform: Platform) -> str:
    from ml.features.redis_check import last_writing

    if not platform.settings.redis:
        return "the embedded store"
    written = last_writing(platform.settings.redis, platform.market)
    return f"Redis answers, and {'holds features' if written else 'no features were put there yet'}"


def _source(platform: Platform) -> str:
    source = platform.source
    return f"{source.name}, market days from {source.first_day()}"


def _champion(platform: Platform) -> str:
    url = platform.settings.database
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return "none yet"
    from ml.ledger import champion

    live = champion.current(platform.db, platform.market)
    if live is None:
        return "none yet"
    from ml.promotion.bundle import read_bundle

    bundle = read_bundle(platform.blobs, live.digest, platform.keys)
    return f"{live.digest[:12]}, generation {live.generation}; its bundle verifies, signed by {bundle.signed_by}"


def _keys(platform: Platform) -> str:
    keys = platform.keys
    if keys.refuses_development and not keys.trusted:
        raise BidwrightError(
            f"no key is trusted, so every bundle is refused ({keys.refuses_development})",
            next="set BIDWRIGHT_TRUSTED_KEYS; bidwright keys new makes a pair",
        )
    if keys.secret is not None:
        keys.check_signer(keys.secret)
    if not keys.refuses_development:
        made = (
            f"development key {keys.secret.public.id}" if keys.secret else "the first training makes a development key"
        )
        return f"{made}; its signatures count in this working folder only, set BIDWRIGHT_TRUSTED_KEYS for production"
    signs = f"signs by {keys.secret.public.id}" if keys.secret else "signs nothing"
    return f"trusts {', '.join(key.id for key in keys.trusted)}; {signs}"


def _smtp(platform: Platform) -> str:
    where = (platform.settings.smtp_host, platform.settings.smtp_port)
    try:
        with socket.create_connection(where, timeout=SMTP_TIMEOUT_S):
            return f"{where[0]}:{where[1]} answers"
    except OSError as error:
        raise BidwrightError(
            f"{where[0]}:{where[1]} does not answer ({error.strerror or error})",
            next="start it or correct BIDWRIGHT_SMTP_HOST and _PORT; mails wait in the outbox until then",
        ) from error
