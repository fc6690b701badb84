"""Whether one more request may wait: by how long it would, and by whether the queue has been empty of late.

A queue that gets empty now and then takes up a burst, and may make a request wait up to the deadline. One that stays full
only adds delay: then a request may wait `target_s`, and the others are told at once to come again. (This is the idea of CoDel,
as in Facebook's "Fail at scale", with the delay foretold rather than waited for.) Time in which the process was not let run is no
time in which the queue stood: what came meanwhile is a burst.
"""

from __future__ import annotations

from time import monotonic

from ml.serving.limits import Limits

_UP, _DOWN, _MOST = 0.1, 0.3, 2.0
"""How much a batch that took longer, or less long, teaches; and no batch counts as more than so many times what was expected of
it: a process that was not let run for a while must not take its requests for dear, and refuse the next."""
_HEADS, _HEAD = 256, 1024
"""So many heads of requests are remembered, and none that has more bytes."""
_TURN = 6.0
"""What one batch alone cannot tell apart: a turn of the loop is taken to weigh as much as so many requests, so that small batches
teach mostly what the turn takes, and large ones what each request adds."""
_PAUSE_S = 0.01
"""A silence beyond this, and beyond the time of a few batches, is one in which the process stood still or nobody asked."""


class Shedding:
    """Tells how long the next request would wait, from what the last ones took.

    A batch of n takes `turn_s` + n x `each_s` (measured: 180 us and 70 us). The two are followed by normalised least mean squares
    (Widrow and Hoff, 1960). The mean of a request would not do: at a quarter of what a worker can do nearly every batch is one
    request, which then looks three times as dear as in the full batches of a queue.

    Attributes:
        turn_s: what a batch takes, whatever is in it, seconds.
        each_s: what each of its requests adds, seconds.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._full = max(1, limits.batch)
        self._empty_at = self._seen = monotonic()
        self.turn_s = 100e-6
        self.each_s = 100e-6

    @property
    def request_s(self) -> float:
        """What a request takes while many wait: its part of a full batch, seconds."""
        return self.turn_s / self._full + self.each_s

    def admits(self, waiting: int, now: float) -> bool:
        """Whether one more may wait behind `waiting` others."""
        limits = self._limits
        silence, self._seen = now - self._seen, now
        if not waiting:
            self._empty_at = now
        elif silence > _PAUSE_S and silence > _MOST * limits.batch * self.request_s:
            self._empty_at += silence
        if waiting < limits.batch:
            return True
        if waiting >= limits.queue:
            return False
        full = now - self._empty_at > limits.interval_s
        return waiting * self.request_s < (limits.target_s if full else limits.deadline_s / 2)

    def decided(self, requests: int, took_s: float) -> None:
        """A batch was decided."""
        expected = self.turn_s + requests * self.each_s
        surprise = min(took_s, _MOST * expected) - expected
        step = (_UP if surprise > 0 else _DOWN) * surprise / (_TURN**2 + requests**2)
        self.turn_s = max(0.0, self.turn_s + step * _TURN**2)
        self.each_s = max(1e-6, self.each_s + step * requests)

    def empty(self, now: float) -> None:
        """Nobody waits."""
        self._empty_at = now


class PlainRequests:
    """Tells exactly one plain request that begins with `start`, so that it can be answered unparsed.

    To parse a request only to refuse it would cost half of what refusing costs; even to look through its head costs a quarter,
    and callers send the same head again, so those of late are known. Anything out of the ordinary (another framing than one
    Content-Length, a wish about the connection, an odd line end) is left to the parser.

    >>> plain = PlainRequests(b"POST /x ")
    >>> plain.is_one(b"POST /x HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    True
    >>> plain.is_one(b"POST /x HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}GET")
    False
    """

    def __init__(self, start: bytes) -> None:
        self._start = start
        self._known: dict[bytes, int] = {}

    def is_one(self, data: bytes) -> bool:
        """Whether the bytes are that, and nothing more."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = data[:end]
        length = self._known.get(head)
        if length is None:
            length = _length(head, self._start)
            if len(self._known) >= _HEADS:
                self._known.clear()
            if end <= _HEAD:
                self._known[head] = length
        return length >= 0 and len(data) == end + 4 + length


def _length(head: bytes, start: bytes) -> int:
    """How long the body of a request with this plain head is, bytes; -1 where the head is not plain."""
    lower = head.lower()
    _, found, rest = lower.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip()
    odd = (b"transfer-encoding", b"connection", b"expect", b"upgrade", b"http/1.0", b"\0")
    plain = (
        head.startswith(start)
        and bool(found)
        and len(length) <= 6
        and length.isdigit()
        and b"content-length" not in rest
        and lower.count(b"\n") == lower.count(b"\r\n")
        and not any(word in lower for word in odd)
    )
    return int(length) if plain else -1
