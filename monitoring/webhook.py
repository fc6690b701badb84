"""One message to one Slack-compatible webhook, and what went wrong in words that never hold its address.

Whoever knows the address of a webhook can write there. So no text of a client library, which likes to name it, leaves
this module, redirects are not followed, and the library's own log lines are dropped while it works.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ml.core.alerting import is_loopback
from ml.core.digests import digest_bytes
from ml.ledger.outbox import retry_delay
from monitoring.links import Link
from monitoring.mail.notice import Notice

TEXT_LENGTH = 3_500
"""Characters of a message; Slack asks for less than 4,000."""

LONGEST_WAIT = timedelta(days=1)
"""What a server may ask us to wait."""

JITTER = 0.25
_ANSWER_BYTES, _ANSWER_SHOWN = 2_000, 120
_REASONS_SHOWN = 2

_quiet: ContextVar[bool] = ContextVar("_quiet", default=False)


class _Mute(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  (logging's signature)
        return not _quiet.get()


_MUTE = _Mute()
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


@dataclass
class WebhookFailed(Exception):
    """A message was not taken. `wait` is what the server asks for; `unreachable`: the next message would fare alike."""

    reason: str
    wait: timedelta | None = None
    unreachable: bool = False

    def __str__(self) -> str:
        return self.reason


def text_of(subject: str, notice: Notice) -> str:
    """A notice in Slack's mrkdwn: the subject, what happened, what it costs, what to do, and links. Names are escaped.

    >>> _escaped("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    lines = [f"• {reason}" for reason in list(notice.reasons)[:_REASONS_SHOWN]]
    lines += [f"At stake: {notice.at_stake}"] if notice.at_stake else []
    lines += [f"Has it: {notice.owner}"] if notice.owner else []
    lines += [f"What to do: {notice.todo}"] if notice.todo else []
    return lines_of(subject, lines, [*notice.buttons, *([notice.runbook] if notice.runbook else [])])


def lines_of(subject: str, lines: Sequence[str], links: Sequence[Link]) -> str:
    """A subject, lines and links in Slack's mrkdwn, at most `TEXT_LENGTH` characters; of what is longer the links stay."""
    tail = " | ".join(f"<{_address(address)}|{_escaped(label)}>" for label, address in links)
    body = "\n".join([f"*{_escaped(subject)}*", *(_escaped(line) for line in lines)])
    room = max(0, TEXT_LENGTH - len(tail) - 1)
    # A cut within an escaped sign would show its remains.
    body = body if len(body) <= room else re.sub(r"&[a-z]*$", "", body[: max(0, room - 1)]) + "…"
    return f"{body}\n{tail}" if tail else body


def post(url: str, text: str, *, key: str, timeout_s: float, now: datetime) -> None:
    """Hand over a message; it was taken when this returns.

    Args:
        url: the webhook's address.
        text: mrkdwn.
        key: sent as `Idempotency-Key`, the same for every try, so that a server that looks at it takes one.
        timeout_s: for the whole exchange, in seconds, however slowly the server speaks.
        now: the present instant, against which an instant in Retry-After is read.

    Raises:
        WebhookFailed: it was not taken, or nobody can say.
    """
    import httpx

    for name in _LOGGERS:
        library = logging.getLogger(name)
        if _MUTE not in library.filters:
            library.addFilter(_MUTE)
    token = _quiet.set(True)
    try:
        status, headers, answer = asyncio.run(_exchange(url, text, key, timeout_s))
    except TimeoutError:
        raise WebhookFailed(f"no answer within {timeout_s:g} s", unreachable=True) from None
    except httpx.ConnectError:
        raise WebhookFailed("nobody answers there, or not with a certificate that counts", unreachable=True) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        raise WebhookFailed(f"the line broke before the answer was whole ({type(error).__name__})") from None
    finally:
        _quiet.reset(token)
    if 200 <= status < 300:
        return
    said = _harmless(answer, url)
    raise WebhookFailed(f"answered {status}{f': {said}' if said else ''}", wait=_asked(headers, now))


def next_try(key: str, attempts: int, asked: timedelta | None) -> timedelta:
    """How long a message waits after its n-th failed try: what the server asked for, else twice as long each time.

    Up to a quarter is added, by the message's key, so that messages that failed together are not tried together.

    >>> timedelta(minutes=4) <= next_try("k", 3, None) <= timedelta(minutes=5)
    True
    >>> next_try("k", 1, timedelta(minutes=30)) >= timedelta(minutes=30)
    True
    """
    spread = int(digest_bytes(f"{key}/{attempts}".encode())[:8], 16) / 0xFFFFFFFF
    base = max(retry_delay(attempts), min(asked or timedelta(), LONGEST_WAIT))
    return base * (1 + JITTER * spread)


async def _exchange(url: str, text: str, key: str, timeout_s: float) -> tuple[int, Mapping[str, str], str]:
    import httpx

    own = is_loopback(urlsplit(url).hostname or "")
    # A proxy of the environment is none for this machine. What making a client takes is not the server's time.
    async with (
        httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=not own) as client,
        asyncio.timeout(timeout_s),
        client.stream("POST", url, json={"text": text}, headers={"Idempotency-Key": key}) as answer,
    ):
        said = b""
        if answer.is_success:
            # It is taken: whatever becomes of the rest of the answer must not send it again.
            return answer.status_code, answer.headers, ""
        async for piece in answer.aiter_bytes():
            said += piece
            if len(said) > _ANSWER_BYTES:
                break
        return answer.status_code, answer.headers, said[:_ANSWER_BYTES].decode(errors="replace")


def _asked(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """What Retry-After says, in seconds or as an instant; None where it says nothing that can be read."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
        return timedelta(seconds=float(value))
    try:
        instant = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(timedelta(), (instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - now)


def _harmless(answer: str, url: str) -> str:
    """The beginning of an answer without anything of the address but its host."""
    said = " ".join(answer.split())
    parts = urlsplit(url)
    secrets = [url, *re.split(r"[/?&=#]", f"{parts.path}?{parts.query}"), parts.username or "", parts.password or ""]
    for secret in sorted({part for part in secrets if len(part) > 3}, key=len, reverse=True):
        said = said.replace(secret, "***")
    return said[:_ANSWER_SHOWN]


def _escaped(text: Any) -> str:
    return " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _address(address: str) -> str:
    return _escaped(address).replace("|", "%7C").replace(" ", "%20")
