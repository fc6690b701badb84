"""Whether this process may work on this platform at all: same tables, same clock, same code as the others.

What is found is said in one sentence, and is found anew each time, so that whoever waits goes on by itself once it is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ml.core.errors import NotReady, StoreUnavailable

if TYPE_CHECKING:
    from ml.platform import Platform


def deploy(platform: Platform) -> None:
    """Bring the tables to this code, and note that this code is the one that works here from now on. Idempotent.

    Raises:
        StoreUnavailable: the database cannot be used, or is newer than this code.
    """
    from ml.core.code import source_digest
    from ml.ledger import upkeep

    platform.db.migrate()
    before = upkeep.last(platform.db, "deployed")
    if before is None or before.result.get("code") != source_digest():
        done = upkeep.Upkeep("deployed", upkeep.EVERY_MARKET, platform.clock.now(), {"code": source_digest()})
        upkeep.record(platform.db, done)


def refuse_harm(platform: Platform) -> None:
    """Raise where this process would do harm: other tables, a clock that is off, another code than was deployed.

    A store that cannot be asked for its time is no reason to stop: whoever needs it will say so.

    Raises:
        StoreUnavailable: the database cannot be read, or is of another revision than this code.
        NotReady: the clock, or the code.
    """
    platform.db.check()
    check_clock(platform, of_all=False)
    check_code(platform)


def check_clock(platform: Platform, *, of_all: bool = True) -> str:
    """Compare this machine's clock with those of the servers that the platform uses.

    Args:
        platform: with its clock.
        of_all: ask every server, and one that cannot be asked is an error; else the first that answers is enough.

    Returns:
        What was found, for a person.

    Raises:
        NotReady: it is further from one of them than `clock_tolerance_seconds`.
    """
    found = []
    for name, ask in _clocks(platform):
        try:
            ahead = _ahead(platform, ask)
        except StoreUnavailable:
            if of_all:
                raise
            continue
        if ahead is None:
            continue
        if abs(ahead) > platform.settings.clock_tolerance_seconds:
            raise NotReady(
                f"this machine's clock is {_told(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} that of {name}",
                left="nothing was written, for its dates would be wrong",
                next="set whichever clock is wrong, such as by NTP; then it goes on by itself",
            )
        found.append(f"{abs(ahead):.1f} s from {name}")
        if not of_all:
            break
    return ", ".join(found) or "no server to compare it with"


def check_code(platform: Platform) -> str:
    """Compare this code with the one that `bidwright migrate` noted last; on a platform for development they may differ.

    Returns:
        What was found, for a person.

    Raises:
        NotReady: it is another one.
    """
    from ml.core.code import source_digest
    from ml.ledger import upkeep

    own, noted = source_digest(), upkeep.last(platform.db, "deployed")
    if noted is None:
        return f"{own[:12]}; none was noted as deployed"
    if (deployed := str(noted.result.get("code", ""))) == own:
        return f"{own[:12]}, as deployed {noted.at:%Y-%m-%d %H:%M} UTC"
    told = f"this process runs the code {own[:12]}, and {deployed[:12]} was deployed {noted.at:%Y-%m-%d %H:%M} UTC"
    if not platform.settings.refuses_development_keys:
        return f"{told}; that is well on a platform for development"
    raise NotReady(
        told,
        left="nothing was done by it",
        next="start it anew from the deployed code; or, if this is the newer one, run: bidwright migrate",
    )


def check_writable(platform: Platform) -> str:
    """Put a small object into the lake and the blob store; StoreUnavailable where one of them takes none."""
    for store in (platform.lake.blobs, platform.blobs):
        store.put(PROBE, b"bidwright doctor asks whether it may write here\n")
    return f"{platform.settings.lake} and {platform.settings.blobs} can be written"


def check_readable(platform: Platform) -> str:
    """Look for that object in the lake and the blob store; StoreUnavailable where one of them does not answer."""
    for store in (platform.lake.blobs, platform.blobs):
        store.exists(PROBE)
    return f"{platform.settings.lake} and {platform.settings.blobs} can be read"


PROBE = "probe"
"""The object that `check_writable` writes, always the same."""


def _clocks(platform: Platform) -> Iterator[tuple[str, Callable[[], datetime | None]]]:
    yield "the database", platform.db.server_time
    if "://" in platform.settings.lake:
        yield "the S3 server", platform.lake.blobs.server_time
    elif "://" in platform.settings.blobs:
        yield "the S3 server", platform.blobs.server_time


def _ahead(platform: Platform, ask: Callable[[], datetime | None]) -> float | None:
    """By how many seconds our clock is ahead of a server's, taken in the middle of asking it."""
    before = platform.clock.now()
    theirs = ask()
    if theirs is None:
        return None
    after = platform.clock.now()
    return ((before + (after - before) / 2) - theirs).total_seconds()


def _told(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else str(timedelta(seconds=round(seconds)))
