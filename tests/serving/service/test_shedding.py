"""Who is refused while much is to do: what a request is taken to cost, when a queue stands, and what is told unparsed."""

from __future__ import annotations

from time import monotonic

import numpy as np
import pytest

from ml.serving.limits import Limits
from ml.serving.shedding import PlainRequests, Shedding


def test_a_burst_may_wait_up_to_half_the_deadline_but_a_standing_queue_only_the_target() -> None:
    shedding = Shedding(Limits(deadline_s=0.1, target_s=0.005, interval_s=0.1, batch=16))
    shedding.turn_s, shedding.each_s = 0.0, 0.001
    now = 1000.0
    shedding.empty(now)
    assert shedding.admits(49, now)
    assert not shedding.admits(50, now)
    for turn in range(1, 11):
        standing = now + 0.02 * turn
        shedding.admits(20, standing)
    assert not shedding.admits(17, standing)
    assert shedding.admits(15, standing), "one batch may always wait, else a slow model would never be asked"
    shedding.empty(standing)
    assert shedding.admits(49, standing)


def test_a_burst_after_a_pause_is_no_standing_queue() -> None:
    """Neither after nobody asked for a while, nor after the process was not let run while some waited."""
    shedding = Shedding(Limits(deadline_s=0.1, target_s=0.005, interval_s=0.1, batch=16))
    shedding.turn_s, shedding.each_s = 0.0, 0.0005
    for began, waiting in ((1000.0, 0), (1001.0, 30)):
        shedding.empty(began)
        assert shedding.admits(waiting, began)
        resumed = began + 0.3
        assert all(shedding.admits(behind, resumed) for behind in range(waiting, 64)), waiting


def test_what_a_request_takes_is_learned_from_the_batches() -> None:
    shedding = Shedding(Limits(batch=16))
    for _ in range(200):
        shedding.decided(10, 0.02)
    assert shedding.turn_s + 10 * shedding.each_s == pytest.approx(0.02, rel=1e-3)


def test_a_busy_service_learns_what_a_turn_takes_and_what_each_request_adds() -> None:
    shedding = Shedding(Limits(batch=16))
    rng = np.random.default_rng(1)
    for size in rng.integers(1, 17, 4_000).tolist():
        shedding.decided(size, 0.0005 + size * 0.0002)
    assert shedding.turn_s == pytest.approx(0.0005, rel=0.1)
    assert shedding.each_s == pytest.approx(0.0002, rel=0.1)


def test_requests_that_come_one_by_one_do_not_make_a_burst_look_dear() -> None:
    """At a quarter of its capacity a worker decides requests alone; the turn that each then takes is shared in a burst."""
    shedding = Shedding(Limits(batch=16, deadline_s=0.025))
    for _ in range(10_000):
        shedding.decided(1, 250e-6)
    now = monotonic()
    assert all(shedding.admits(waiting, now) for waiting in range(100)), shedding.request_s


@pytest.mark.parametrize(
    ("sent", "plain"),
    [
        (b"POST /v1/bids HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  2 \r\n\r\n{}", True),
        (b"POST /v1/bids HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{", False),
        (b"POST /v1/bids HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}P", False),
        (b"POST /v1/bids HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"POST /v1/bids HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", False),
        (b"POST /v1/bids HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", False),
        (b"POST /v1/bids HTTP/1.1\r\nContent-Length: 2\nX: y\r\n\r\n{}", False),
        (b"POST /v1/bids HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}", False),
        (b"POST /v1/bids HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}", False),
        (b"POST /v1/bids HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"POST /v1/bids HTTP/1.1\r\nContent-Length: 2", False),
        (b"GET /livez HTTP/1.1\r\nContent-Length: 0\r\n\r\n", False),
        (b"", False),
    ],
)
def test_only_exactly_one_plain_request_is_refused_unparsed(sent: bytes, plain: bool) -> None:
    known = PlainRequests(b"POST /v1/bids HTTP/1.1\r\n")
    assert [known.is_one(sent), known.is_one(sent)] == [plain, plain]
    assert not known.is_one(sent + b"  "), "the same head again, with a longer body"


def test_no_more_heads_are_remembered_than_a_few_hundred_short_ones() -> None:
    known = PlainRequests(b"POST /x HTTP/1.1\r\n")
    for number in range(2_000):
        head = b"POST /x HTTP/1.1\r\nX: %d%b\r\nContent-Length: 0\r\n\r\n" % (number, b"y" * (number % 2 * 2_000))
        assert known.is_one(head)
    assert 0 < len(known._known) <= 256
    assert max(map(len, known._known)) <= 1024


def test_one_stall_hardly_changes_what_a_request_is_taken_to_cost() -> None:
    shedding = Shedding(Limits())
    for _ in range(50):
        shedding.decided(10, 0.001)
    shedding.decided(10, 5.0)
    assert shedding.request_s < 0.00012
