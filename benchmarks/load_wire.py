"""HTTP/1.1 as bytes, as much of it as a load generator needs: requests written, whole answers told from parts of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Address = tuple[str, int]
"""Host and port."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


def post(address: Address, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a POST of JSON."""
    given = {
        "Host": f"{address[0]}:{address[1]}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def answer_end(data: bytes) -> int:
    """Where the first HTTP answer in `data` ends; 0 while it is not whole."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    body = head + 4
    found = _LENGTH.search(data, 0, head + 2)
    if found is not None:
        end = body + int(found[1])
    elif _CHUNKED.search(data, 0, head + 2):
        end = _chunks_end(data, body)
    else:
        end = body
    return end if len(data) >= end else 0


def body_of(answer: bytes) -> Any:
    """What the JSON of a whole answer, as `seen` is given it, says."""
    head = answer.find(b"\r\n\r\n")
    body = answer[head + 4 :]
    if _CHUNKED.search(answer, 0, head + 2):
        parts, at = [], 0
        while size := int(body[at : (line := body.index(b"\r\n", at))].split(b";")[0], 16):
            parts.append(body[line + 2 : line + 2 + size])
            at = line + 2 + size + 2
        body = b"".join(parts)
    return json.loads(body)


def _chunks_end(data: bytes, at: int) -> int:
    """Where a chunked body that begins at `at` ends; beyond the data while it is not whole."""
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return len(data) + 1
        size = int(data[at:line].split(b";")[0], 16)
        at = line + 2 + size + 2
        if size == 0:
            return at
        if at > len(data):
            return len(data) + 1
