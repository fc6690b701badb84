"""What the service puts up with: sizes, times and numbers, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one worker; times in seconds, sizes in bytes.

    Attributes:
        deadline_s: after the head of a request arrived, its answer is a bid no more but an explicit no-bid.
        body: largest body.
        head: largest request line with all headers.
        headers: most headers.
        request_s: from the first byte of a request to its last.
        sweep_s: so often connections are looked at for what takes too long.
        idle_s: a connection between two requests.
        write_s: a client that does not read its answers.
        linger_s: what a refused client still sends is read and thrown away for so long, so that it sees the refusal.
        connections: most connections of a worker; more wait in the system's queue.
        requests: a connection ends after about so many, and its client opens another: a worker that came back would get
            none from clients that keep theirs. Up to an eighth fewer, that those opened together do not all end at once.
        pipelined: most unanswered requests of one connection; it is not read from while it has more.
        queue: most requests that wait to be decided.
        batch: most requests that are decided together.
        target_s: a queue that never gets empty within `interval_s` may make a request wait so long, and no longer.
        interval_s: see `target_s`.
        drain_s: at the end, the longest wait for answers and for clients to come back and hear that it ends.
        drain_idle_s: at the end, a connection without a request is kept open for so long.
    """

    deadline_s: float = 0.025
    body: int = 64 << 10
    head: int = 16 << 10
    headers: int = 64
    request_s: float = 10.0
    sweep_s: float = 1.0
    idle_s: float = 65.0
    write_s: float = 10.0
    linger_s: float = 1.0
    connections: int = 1024
    requests: int = 10_000
    pipelined: int = 64
    queue: int = 1024
    batch: int = 16
    target_s: float = 0.005
    interval_s: float = 0.1
    drain_s: float = 10.0
    drain_idle_s: float = 1.0
