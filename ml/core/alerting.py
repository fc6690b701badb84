"""Settings of who is told what, and when: routes, webhooks, quiet hours. Only their form; `monitoring` acts on them."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

_HOURS = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]")

Address = Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")]


class Route(BaseModel):
    """Who hears of which incidents. An empty list fits everything; a cause fits itself and what has it as prefix.

    A route without mail and webhooks tells nobody: the incident is on the page only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    markets: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    severities: tuple[Literal["critical", "warning", "info"], ...] = ()
    mail: tuple[Address, ...] = ()
    webhooks: tuple[str, ...] = ()
    owner: str = ""

    def fits(self, market: str, cause: str, severity: str) -> bool:
        """Whether an incident goes this way.

        >>> Route(causes=("ingest",)).fits("hotels", "ingest:schema", "info")
        True
        """
        names = {cause, cause.partition(":")[0]}
        return (
            (not self.markets or market in self.markets)
            and (not self.causes or bool(names & set(self.causes)))
            and (not self.severities or severity in self.severities)
        )


def _https(url: SecretStr) -> SecretStr:
    """The address of a webhook: https, or http to this machine. No message has it in it."""
    parts = urlsplit(url.get_secret_value())
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError("it is no address of the form https://host/path")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("it must begin with https://, because whoever reads the address can write there")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is this machine.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "hooks.example.com", "127.0.0.1.example.com")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


WebhookUrl = Annotated[SecretStr, AfterValidator(_https)]


def parse_hours(text: str) -> tuple[time, time]:
    """The beginning and end of hours such as `22:00-07:00`.

    >>> parse_hours("22:00-07:00")
    (datetime.time(22, 0), datetime.time(7, 0))
    """
    if not _HOURS.fullmatch(text):
        raise ValueError("the hours are not of the form 22:00-07:00")
    begin, end = (time.fromisoformat(part) for part in text.split("-"))
    if begin == end:
        raise ValueError("the hours begin when they end: write such as 22:00-07:00")
    return begin, end


def quiet_until(at: datetime, hours: str, zone: str) -> datetime:
    """When the quiet hours around an instant end, or the instant itself where it is not in them.

    Args:
        at: aware.
        hours: such as `22:00-07:00`, in local time of `zone`; empty for none.
        zone: an IANA name.
    """
    if not hours:
        return at
    begin, end = parse_hours(hours)
    local = at.astimezone(ZoneInfo(zone))
    clock = local.time()
    within = begin <= clock < end if begin < end else clock >= begin or clock < end
    if not within:
        return at
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    return datetime.combine(day, end, tzinfo=local.tzinfo).astimezone(at.tzinfo)
