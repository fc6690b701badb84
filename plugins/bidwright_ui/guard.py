"""What every answer of the pages carries, errors and assets too, and who the pages are mounted in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Added to an answer that does not set them itself: what is not allowed on purpose is not allowed."""

AIRFLOW: Final = "bidwright.airflow"
"""Key of the request's scope under which the web server that mounted the pages is found."""

_RAW: Final = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class Guarded:
    """An ASGI application whose every answer carries `HEADERS`.

    Around the whole application and not a middleware in it: the answer to a mistake of ours is made outside of those.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Each application overwrites "app" with itself; here it still is Airflow's.
        scope = scope | {AIRFLOW: scope.get("app")}

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                said = {name.lower() for name, _ in headers}
                message = message | {"headers": headers + [one for one in _RAW if one[0] not in said]}
            await send(message)

        await self._app(scope, receive, guarded)
