"""HTTP/1.1 on one connection: requests in, answers out in their order, and nothing a client does without a limit.

It is a protocol of the event loop rather than an ASGI application, because a coroutine, a scope and an event per request
cost more than the whole of what is done here (decision 19). httptools parses; it refuses what is ambiguous.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

import httptools

from ml.serving.exchange import Exchange
from ml.serving.limits import Limits

log = logging.getLogger("bidwright.serve")

_CHUNKING = 8
"""How many bytes of a chunked body may stand for one of its content."""
_STAGGER = 64
"""Connections that were opened together end after as many different numbers of requests."""


class Service:
    """What a connection needs of the server: limits, who handles a request, and the connections that are open.

    Attributes:
        opened: how many connections there were.
        closed: is told when a connection is gone.
        early: is shown what came between two requests, and may answer it unparsed; see `ml.serving.shedding`.
        draining: whether no further request is wanted.
    """

    def __init__(self, limits: Limits, handle: Callable[[Exchange], None], refused: Callable[[int], None]) -> None:
        self.limits = limits
        self.handle = handle
        self.refused = refused
        self.connections: set[Connection] = set()
        self.opened = 0
        self.closed: Callable[[], None] = _nothing
        self.early: Callable[[bytes, float], bytes | None] = _not_early
        self.draining = False

    def connect(self) -> Connection:
        """A protocol for a connection that was accepted."""
        self.opened += 1
        return Connection(self)


def _nothing() -> None:
    return None


def _not_early(data: bytes, now: float) -> None:  # noqa: ARG001  (what `early` is given)
    return None


class Connection(asyncio.Protocol):
    """One connection of a client."""

    __slots__ = (
        "_authorization",
        "_began",
        "_blocked",
        "_content_type",
        "_encoded",
        "_ended",
        "_exchange",
        "_expects",
        "_fresh",
        "_head",
        "_head_done",
        "_headers",
        "_left",
        "_limits",
        "_parser",
        "_parts",
        "_refused",
        "_seen",
        "_service",
        "_size",
        "_traceparent",
        "_transport",
        "_unread",
        "_url",
        "_waiting",
        "certified",
        "closing",
        "lost",
    )

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = service.limits
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._exchange: Exchange | None = None
        self._parts: list[bytes] = []
        most = self._limits.requests
        self._left = most - most // 8 * (service.opened % _STAGGER) // _STAGGER
        self._seen = 0.0
        self._began = 0.0
        self._blocked = 0.0
        self._refused = 0.0
        self._unread = 0
        self._size = 0
        self._head = 0
        self._headers = 0
        self._head_done = False
        self._url = b""
        self._authorization = b""
        self._content_type = b""
        self._traceparent = b""
        self._encoded = False
        self._expects = False
        self._fresh = True
        self._ended = False
        self.certified = False
        self.closing = service.draining
        self.lost = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, with TLS where there is any."""
        self._transport = cast("asyncio.Transport", transport)
        self.certified = bool(transport.get_extra_info("peercert"))
        self._seen = monotonic()
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """The connection is gone; what was asked on it is not answered any more."""
        self.lost = True
        self._waiting.clear()
        # They refer to each other: freed at once, and not by a collector that may have been told to leave them alone.
        self._parser, self._exchange = cast("httptools.HttpRequestParser", None), None
        self._service.connections.discard(self)
        self._service.closed()

    def data_received(self, data: bytes) -> None:
        """Bytes of a client: any part of a request, or several requests."""
        self._seen = monotonic()
        if self._refused:
            return
        before = self._began
        if not (before or self._waiting or self.closing):
            busy = self._service.early(data, self._seen)
            if busy is not None:
                self._fresh = False
                self._transport.write(busy)
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, b"this is no HTTP/1.1 request")
            return
        if before and self._began == before:
            # The same request, still not whole: what the parser keeps of it is bounded here.
            self._unread += len(data)
            if self._unread > (_CHUNKING * self._limits.body if self._head_done else self._limits.head):
                self._too_large()
        if len(self._waiting) > self._limits.pipelined and not self._refused:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; it still gets what it asked for."""
        self.closing = True
        return bool(self._waiting) and not self._refused

    def pause_writing(self) -> None:
        """The client does not read: nor is it read from."""
        self._blocked = monotonic()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = 0.0
        if not self.lost:
            self._transport.resume_reading()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._began = self._seen
        self._unread = self._size = self._head = self._headers = 0
        self._head_done = self._encoded = self._expects = False
        self._url = self._authorization = self._content_type = self._traceparent = b""
        self._parts = []

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._head += len(url)
        if self._head <= self._limits.head:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those after the body count against the limits and mean nothing."""
        length = len(name)
        self._headers += 1
        self._head += length + len(value)
        if self._head_done:
            if self._head > self._limits.head or self._headers > self._limits.headers:
                self._too_large()
        elif length == 13 and name.lower() == b"authorization":
            self._authorization = value
        elif length == 12 and name.lower() == b"content-type":
            self._content_type = value
        elif length == 16 and name.lower() == b"content-encoding":
            self._encoded = value.lower() != b"identity"
        elif length == 14 and name.lower() == b"content-length":
            # The parser makes sure that it is a number; one with more digits than the limit is larger than it.
            self._size = int(value) if len(value) <= 9 and value.isdigit() else self._limits.body + 1
        elif length == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"
        elif length == 11 and name.lower() == b"traceparent":
            self._traceparent = value

    def on_headers_complete(self) -> None:
        """The head is there: what can be refused for it is refused before its body is read."""
        self._head_done = True
        if self._refused:
            return
        parser = self._parser
        self._exchange = exchange = Exchange(
            self, parser.get_method(), self._url.partition(b"?")[0], self._seen, close=not parser.should_keep_alive()
        )
        exchange.authorization = self._authorization
        exchange.content_type = self._content_type
        exchange.encoded = self._encoded
        exchange.traceparent = self._traceparent
        if self._head > self._limits.head or self._headers > self._limits.headers:
            self._too_large(head=True)
        elif parser.should_upgrade():
            self._refuse(400, b"the protocol cannot be changed")
        elif self._size > self._limits.body:
            self._too_large()
        elif self._expects and not self._waiting:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._refused:
            return
        self._parts.append(body)
        if len(self._parts) > 1:
            self._size = sum(map(len, self._parts)) if len(self._parts) == 2 else self._size + len(body)
            if self._size > self._limits.body:
                self._too_large()
        elif len(body) > self._limits.body:
            self._too_large()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._began = 0.0
        exchange = self._exchange
        if self._refused or self._ended or exchange is None:
            return
        self._exchange, self._fresh = None, False
        parts = self._parts
        exchange.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._waiting.append(exchange)
        self._left -= 1
        if self._left <= 0:
            self.closing = True
        try:
            self._service.handle(exchange)
        except Exception:
            # A fault of ours: the parser would take it for one of the client's.
            log.exception("a request could not be handled")
            if exchange.answer is None:
                exchange.reply(500, b'{"error":"the service has a fault"}', close=True)

    # What the service calls.

    def answered(self, exchange: Exchange) -> None:
        """Send the answer, and those behind it that waited for it."""
        waiting = self._waiting
        if self.lost or not waiting or waiting[0] is not exchange:
            return
        while waiting and (answer := waiting[0].answer) is not None:
            self._transport.write(answer)
            if waiting.popleft().close or (self.closing and not waiting):
                self._end()
                return
        if not self._blocked and len(waiting) == self._limits.pipelined:
            self._transport.resume_reading()

    def ends_with(self, exchange: Exchange) -> bool:
        """Whether the connection ends after the answer to this request."""
        return self.closing and (not self._waiting or self._waiting[-1] is exchange)

    def drain(self) -> None:
        """Answer what was asked; the next answer says that the connection ends."""
        self.closing = True

    def check(self, now: float, *, hurry: bool = False) -> None:
        """Once a second: end what takes too long. `hurry` where others wait for a place."""
        limits = self._limits
        if self._refused:
            if now - self._refused > limits.linger_s:
                self._transport.abort()
        elif self._blocked:
            if now - self._blocked > limits.write_s:
                self._transport.abort()
        elif self._began:
            if now - self._began > (1.0 if hurry else limits.request_s):
                self._refuse(408, b"the request took too long to arrive")
        elif not self._waiting:
            idle = limits.request_s if self._fresh else limits.idle_s
            if self.closing or hurry:
                idle = limits.drain_idle_s
            if now - self._seen > idle:
                self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    @property
    def busy(self) -> bool:
        """Whether something that was asked is not answered yet."""
        return bool(self._waiting)

    def _too_large(self, *, head: bool = False) -> None:
        if head or not self._head_done:
            self._refuse(431, b"the head of the request is too large")
        else:
            self._refuse(413, b"the body is larger than %d bytes" % self._limits.body)

    def _refuse(self, status: int, why: bytes) -> None:
        """Answer what cannot be read on, after what was asked before, and read no more."""
        if self._refused or self._ended or self.lost:
            return
        exchange = self._exchange or Exchange(self, b"GET", b"", self._seen, close=True)
        self._exchange, self._refused, self._began = None, self._seen, 0.0
        self._service.refused(status)
        self._waiting.append(exchange)
        exchange.reply(status, b'{"error":"%b"}' % why, close=True)

    def _end(self) -> None:
        """End after what was written; what the client still sends is read for a while, lest it lose the answer."""
        self._waiting.clear()
        self.closing = self._ended = True
        transport: Any = self._transport
        if self._refused and transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
