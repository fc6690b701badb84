"""The proxy's HTTP mode, in front of an S3 server: status codes, damaged bodies, answers of yesterday.

Each request is read whole and sent on over a connection of its own; the answer is read whole before anything of it passes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tests.faults.proxy import Proxy, _Cut, _Link

Kind = Literal["status", "reset_body", "truncated", "wrong_bytes", "stall", "stale", "lost"]
"""What happens to an answer; `stale` is an earlier answer to the same request, `lost` is the reset instead of an answer."""

S3_CODES: Final[Mapping[int, str]] = {
    400: "ExpiredToken",
    403: "AccessDenied",
    500: "InternalError",
    503: "SlowDown",
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_HOP = re.compile(rb"\r\n(connection|expect|keep-alive): *[^\r]*", re.IGNORECASE)
_MOST_HEAD = 65_536


@dataclass
class HttpFault:
    """What is done to the answers of some requests.

    Attributes:
        kind: what.
        status: with `status`, the code; the body is S3's error of it.
        method, path: which requests; regular expressions.
        times: so many answers, then no more; None for ever.
        seconds: with `stall`, how long nothing comes.
        reach: whether the server is asked although the answer is a status: then the request is carried out.
    """

    kind: Kind
    status: int = 500
    method: str = ".*"
    path: str = ".*"
    times: int | None = None
    seconds: float = 30.0
    reach: bool = False

    def befalls(self, method: str, path: str) -> bool:
        """Whether it befalls this request."""
        here = re.fullmatch(self.method, method) and re.search(self.path, path)
        return bool(here) and (self.times is None or self.times > 0)


class HttpProxy(Proxy):
    """A proxy that reads HTTP; the toxics of `Proxy` do not apply.

    Attributes:
        fault: what is done to answers; None for nothing.
    """

    fault: HttpFault | None = None

    def __init__(self, upstream: tuple[str, int], *, host: str = "127.0.0.1") -> None:
        super().__init__(upstream, host=host)
        self._earlier: dict[tuple[str, str], bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if b"100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(found[1])) if (found := _LENGTH.search(head)) else b""
        fault = self.fault if self.fault is not None and self.fault.befalls(method, path) else None
        if fault is not None and fault.times is not None:
            fault.times -= 1
        answer = b""
        if fault is None or fault.kind not in {"status", "stall"} or fault.reach:
            answer = await self._asked(head, body)
        link = _Link(0, writer, writer)
        try:
            if fault is not None:
                answer = await self._spoilt(fault, method, path, answer, writer)
            elif method == "GET":
                self._earlier.setdefault((method, path), answer)
            writer.write(answer)
            await writer.drain()
            writer.write_eof()
            # The client ends the connection, or leaves it: closing first could cut off what it has not read yet.
            await asyncio.wait_for(reader.read(), 5)
        except _Cut as cut:
            link.end(reset=cut.reset)
        except TimeoutError:
            link.end(reset=False)

    def forget(self) -> None:
        """Remember no earlier answers."""
        self._earlier.clear()

    async def _asked(self, head: bytes, body: bytes) -> bytes:
        from_server, to_server = await asyncio.open_connection(*self.upstream)
        try:
            to_server.write(_HOP.sub(b"", head[:-4]) + b"\r\nConnection: close\r\n\r\n" + body)
            await to_server.drain()
            return _closing(await from_server.read())
        finally:
            to_server.close()

    async def _spoilt(
        self, fault: HttpFault, method: str, path: str, answer: bytes, writer: asyncio.StreamWriter
    ) -> bytes:
        name = f"{fault.kind} {fault.status}" if fault.kind == "status" else fault.kind
        if fault.kind == "stale" and (method, path) not in self._earlier:
            return answer
        if fault.kind in _SPOIL and not _body(answer):
            return answer  # nothing to damage: it would not have happened
        self.counts[name] += 1
        if fault.kind == "status":
            return _error(fault.status)
        if fault.kind == "stale":
            return self._earlier[method, path]
        if fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
            raise _Cut
        if fault.kind == "lost":
            raise _Cut(reset=True)
        answer, reset = _SPOIL[fault.kind](answer)
        if reset is None:
            return answer
        writer.write(answer)
        await writer.drain()
        if reset:  # what was written has to leave before the reset overtakes it
            await asyncio.sleep(0.02)
        raise _Cut(reset=reset)


def _half(answer: bytes) -> bytes:
    return answer[: len(answer) - (len(_body(answer)) + 1) // 2]


def _flipped(answer: bytes) -> bytes:
    at = len(answer) - (len(_body(answer)) + 1) // 2
    return answer[:at] + bytes([answer[at] ^ 0x01]) + answer[at + 1 :]


_SPOIL: Final[Mapping[str, Callable[[bytes], tuple[bytes, bool | None]]]] = {
    "reset_body": lambda answer: (_half(answer), True),
    "truncated": lambda answer: (_half(answer), False),
    "wrong_bytes": lambda answer: (_flipped(answer), None),
}
"""The spoilt answer, and whether the connection ends with a reset (True), an end before its time (False), or as it should."""


def _body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def _closing(answer: bytes) -> bytes:
    """An answer that says that its connection is closed."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    return _HOP.sub(b"", head) + b"\r\nConnection: close" + blank + body


def _error(status: int) -> bytes:
    code = S3_CODES.get(status, "Error")
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>injected</Message></Error>'.encode()
    )
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
