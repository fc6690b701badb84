"""Whether one more request may wait: by how long it would, and by whether the queue has been empty of late.

A queue that gets empty now and then takes up a burst, and may make a request wait up to the deadline. One that stays full
only adds delay: then a request may wait `target_s`, and the others are told at once to come again. (This is the idea of CoDel,
as in Facebook's "Fail at scale", with the delay foretold rather than waited for.)
"""

from __future__ import annotations

from time import monotonic

from ml.serving.limits import Limits

_UP, _DOWN, _MOST = 0.1, 0.3, 2.0
"""How much a batch that took longer, or less long, counts in what a request is taken to cost; and no batch counts as more than
so many times that: a process that was not let run for a while must not take its requests for dear, and refuse the next."""


class Shedding:
    """Tells how long the next request would wait, from what the last ones took."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._empty_at = monotonic()
        self.request_s = 100e-6
        """What a request takes, seconds."""

    def admits(self, waiting: int, now: float) -> bool:
        """Whether one more may wait behind `waiting` others."""
        limits = self._limits
        if waiting < limits.batch:
            return True
        if waiting >= limits.queue:
            return False
        full = now - self._empty_at > limits.interval_s
        return waiting * self.request_s < (limits.target_s if full else limits.deadline_s / 2)

    def decided(self, requests: int, took_s: float) -> None:
        """A batch was decided."""
        known = self.request_s
        found = min(took_s / requests, _MOST * known)
        self.request_s += (_UP if found > known else _DOWN) * (found - known)

    def empty(self, now: float) -> None:
        """Nobody waits."""
        self._empty_at = now


def is_one_request(data: bytes, start: bytes) -> bool:
    """Whether the bytes are exactly one plain request that begins with `start`, so that it can be answered unparsed.

    To parse a request only to refuse it would cost half of what refusing costs. Anything out of the ordinary (another
    framing than one Content-Length, a wish about the connection, an odd line end) is left to the parser.

    >>> is_one_request(b"POST /x HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}", b"POST /x ")
    True
    >>> is_one_request(b"POST /x HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}GET", b"POST /x ")
    False
    """
    if not data.startswith(start):
        return False
    end = data.find(b"\r\n\r\n")
    head = data[:end].lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip()
    if end < 0 or not found or len(length) > 6 or not length.isdigit() or len(data) != end + 4 + int(length):
        return False
    odd = (b"transfer-encoding", b"connection", b"expect", b"upgrade", b"http/1.0", b"\0")
    return (
        b"content-length" not in rest
        and head.count(b"\n") == head.count(b"\r\n")
        and not any(word in head for word in odd)
    )
