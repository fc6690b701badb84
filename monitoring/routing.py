"""Who hears of an incident, by which channel, and from when: routes, and quiet hours that only critical ones pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ml.core.alerting import Route, quiet_until
from ml.core.settings import Settings
from ml.ledger.outbox import MAIL, WEBHOOK
from monitoring.causes import meaning
from monitoring.mail.thread import recipients


@dataclass(frozen=True)
class Target:
    """One address of a channel; a webhook's is its name."""

    channel: str
    to: str

    @property
    def identity(self) -> str:
        """What tells this target from every other in the identity of a conversation."""
        return self.to if self.channel == MAIL else f"{self.channel} {self.to}"


def targets(settings: Settings, *, market: str, cause: str, severity: str) -> list[Target]:
    """Who hears of an incident: by the first route that fits; where none does, `mail_to` and every webhook."""
    route = route_of(settings, market=market, cause=cause, severity=severity)
    if route is None:
        return everybody(settings)
    return [Target(MAIL, to) for to in dict.fromkeys(route.mail)] + [
        Target(WEBHOOK, name) for name in dict.fromkeys(route.webhooks)
    ]


def everybody(settings: Settings) -> list[Target]:
    """Who hears of what no route is about."""
    return [Target(MAIL, to) for to in recipients(settings.mail_to)] + [
        Target(WEBHOOK, name) for name in sorted(settings.webhooks)
    ]


def route_of(settings: Settings, *, market: str, cause: str, severity: str) -> Route | None:
    """The first route that fits an incident."""
    return next((route for route in settings.routes if route.fits(market, cause, severity)), None)


def owner_of(settings: Settings, *, market: str, cause: str, severity: str) -> str:
    """Who sees to an incident at first: by its route, else by its cause; empty for nobody in particular."""
    route = route_of(settings, market=market, cause=cause, severity=severity)
    return (route.owner if route else "") or str(getattr(meaning(cause), "owner", ""))


def not_before(settings: Settings, *, severity: str, at: datetime) -> datetime:
    """From when people may be told: at once of what is critical, else not before quiet hours end."""
    return at if severity == "critical" else quiet_until(at, settings.quiet_hours, settings.time_zone)
