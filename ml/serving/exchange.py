"""A request of HTTP and its answer, whoever carries them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

JSON = b"application/json"
_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: bidwright\r\n".encode() for status in HTTPStatus
}


class Carrier(Protocol):
    """The connection that a request came on.

    Attributes:
        certified: whether the client showed a certificate that was verified.
        lost: whether the client is gone.
    """

    certified: bool
    lost: bool

    def ends_with(self, exchange: Exchange) -> bool:
        """Whether the connection ends after the answer to this request."""
        ...

    def answered(self, exchange: Exchange) -> None:
        """The answer is there, to be sent in its turn."""
        ...


def head(status: int, length: int, *, kind: bytes = JSON, more: bytes = b"") -> bytes:
    """The head of an answer but for its last, empty line."""
    return b"%bContent-Type: %b\r\nContent-Length: %d\r\n%b" % (_LINES[status], kind, length, more)


class Exchange:
    """One request and, in time, its answer.

    Attributes:
        traceparent: of the caller's trace, as it was sent; empty without one.
        head_at: when the last byte of its head was read, in seconds of the monotonic clock; deadlines count from here.
        answer: the bytes to send, once they are known.
    """

    __slots__ = (
        "answer",
        "authorization",
        "body",
        "close",
        "connection",
        "content_type",
        "encoded",
        "head_at",
        "method",
        "path",
        "traceparent",
    )

    def __init__(self, connection: Carrier, method: bytes, path: bytes, head_at: float, *, close: bool) -> None:
        self.connection = connection
        self.method = method
        self.path = path
        self.head_at = head_at
        self.close = close
        self.body = b""
        self.authorization = b""
        self.content_type = b""
        self.encoded = False
        self.traceparent = b""
        self.answer: bytes | None = None

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.connection.lost

    def reply(self, status: int, body: bytes, *, kind: bytes = JSON, more: bytes = b"", close: bool = False) -> None:
        """Answer it; what is sent keeps the order of the requests.

        Args:
            status: of HTTP.
            body: of the answer.
            kind: media type of the body.
            more: further header lines, each ended by CR and LF.
            close: end the connection after it.
        """
        if close:
            self.close = True
        end = b"Connection: close\r\n\r\n" if self.close or self.connection.ends_with(self) else b"\r\n"
        content = b"" if self.method == b"HEAD" else body
        self.answer = head(status, len(body), kind=kind, more=more) + end + content
        self.connection.answered(self)
