"""The routes: who may ask what. A path that is not in the table is refused, and so is everybody without credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ml.serving.answers import encode_fault
from ml.serving.auth import Guard
from ml.serving.exchange import JSON, Exchange

Handler = Callable[[Exchange], None]

_NOBODY = encode_fault("the request has no credentials that count", "send the header Authorization: Bearer TOKEN")
_NOT_JSON = encode_fault("the body has to be JSON as it is", "send Content-Type: application/json, not compressed")
_NOT_HERE = encode_fault("there is nothing at this path", "POST /v1/bids, or see /openapi.json")
_JSON_KINDS = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


@dataclass(frozen=True)
class Route:
    """What answers at a path: its one method, who handles it, and whether anybody may ask."""

    method: bytes
    handle: Handler
    open: bool = False


class App:
    """Leads each request to its route, past the guard.

    Args:
        guard: tells who may ask.
        routes: by path.
        count: takes the status of every answer that is given here.
    """

    def __init__(self, guard: Guard, routes: Mapping[bytes, Route], count: Callable[[int], None]) -> None:
        self._guard = guard
        self.routes = dict(routes)
        self._count = count

    def handle(self, exchange: Exchange) -> None:
        """Answer a request, or see to it that it will be."""
        route = self.routes.get(exchange.path)
        if (route is None or not route.open) and not self._guard.admits(
            exchange.authorization, certified=exchange.connection.certified
        ):
            self._refuse(exchange, 401, _NOBODY, b"WWW-Authenticate: Bearer\r\n")
        elif route is None:
            self._refuse(exchange, 404, _NOT_HERE)
        elif exchange.method != route.method:
            allowed = route.method.decode()
            self._refuse(
                exchange, 405, encode_fault(f"only {allowed} is answered here"), b"Allow: %b\r\n" % route.method
            )
        elif route.method == b"POST" and (exchange.encoded or exchange.content_type.strip().lower() not in _JSON_KINDS):
            self._refuse(exchange, 415, _NOT_JSON)
        else:
            route.handle(exchange)

    def _refuse(self, exchange: Exchange, status: int, body: bytes, more: bytes = b"") -> None:
        self._count(status)
        exchange.reply(status, body, more=more)


def page(make: Callable[[], tuple[int, bytes]], count: Callable[[int], None], *, kind: bytes = JSON) -> Handler:
    """A handler that answers with what a function makes."""
    return partial(_page, make, count, kind)


def _page(make: Callable[[], tuple[int, bytes]], count: Callable[[int], None], kind: bytes, exchange: Exchange) -> None:
    status, body = make()
    count(status)
    exchange.reply(status, body, kind=kind)
