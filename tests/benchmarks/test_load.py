"""The load generator counts what happened, and charges a stalled server for everyone who waited."""

from __future__ import annotations

import json
import threading
from collections import Counter

import numpy as np
import pytest

from benchmarks.load import (
    BROKEN,
    UNANSWERED,
    Load,
    closed_loop,
    open_loop,
    steady,
)
from benchmarks.load_wire import answer_end, body_of, post
from tests.benchmarks.serving import OK, refusal, serving


class Ticking:
    """A clock that moves a millisecond each time it is read, until `stop`, and then stands (nearly) still."""

    def __init__(self, stop: float) -> None:
        self.now, self.stop, self.stopped = 0.0, stop, threading.Event()

    def __call__(self) -> float:
        self.now += 1e-3 if self.now < self.stop else 1e-9
        if self.now >= self.stop:
            self.stopped.set()
        return self.now


def bodies(number: int) -> list[bytes]:
    return [json.dumps({"n": at}).encode() for at in range(number)]


def test_latency_in_an_open_loop_counts_from_when_each_request_fell_due() -> None:
    """The server says nothing for three seconds of the loop's clock; every request of them waited for its share."""
    clock = Ticking(stop=3.0)

    def stalled(number: int, body: bytes) -> bytes:
        clock.stopped.wait()
        return OK

    with serving(stalled) as address:
        requests = [post(address, "/", body) for body in bodies(4)]
        load = open_loop(address, requests, steady((10, 3)), connections=1, clock=clock, patience=100)
    assert load.statuses == {200: 30}
    assert load.due.tolist() == pytest.approx(np.arange(30) / 10)
    assert (load.latency_ms >= 1e3 * (2.9 - load.due)).all()
    assert load.percentile_ms(1.0) >= 2900


def test_a_closed_loop_waits_with_the_next_request_and_so_does_not_see_a_stall_of_others() -> None:
    clock = Ticking(stop=3.0)

    def stalled(number: int, body: bytes) -> bytes:
        clock.stopped.wait()
        return OK

    with serving(stalled) as address:
        load = closed_loop(address, [post(address, "/", b"{}")], seconds=2.0, connections=3, clock=clock, patience=100)
    assert load.statuses == {200: 3}


def test_every_request_of_an_open_loop_is_sent_once_and_in_turn() -> None:
    came: list[int] = []

    def answer(number: int, body: bytes) -> bytes:
        came.append(json.loads(body)["n"])
        return OK

    with serving(answer) as address:
        requests = [post(address, "/", body) for body in bodies(10)]
        load = open_loop(address, requests, steady((1e6, 25e-6)), connections=3)
    assert sorted(came) == sorted(at % 10 for at in range(25))
    assert load.statuses == {200: 25}
    assert load.errors() == 0


def test_errors_are_counted_by_status_and_a_closed_connection_is_broken_and_replaced() -> None:
    def answer(number: int, body: bytes) -> bytes | None:
        return [OK, refusal(429), refusal(500), None][number % 4]

    with serving(answer) as address:
        load = open_loop(address, [post(address, "/", b"{}")], steady((1e6, 40e-6)), connections=1)
    assert load.statuses == {200: 10, 429: 10, 500: 10, BROKEN: 10}
    assert (load.errors(), load.errors(429)) == (30, 20)
    assert load.summary()["errors"] == 30


def answers_by_connection(count: int, said: bytes, **how: int) -> tuple[Load, list[int]]:
    """A load of so many requests on two connections, and how many each connection had answered."""
    by_connection: Counter[int] = Counter()

    def answer(number: int, body: bytes) -> bytes:
        by_connection[id(threading.current_thread())] += 1
        return said

    with serving(answer) as address:
        load = open_loop(address, [post(address, "/", b"{}")], steady((1e6, count * 1e-6)), connections=2, **how)
    return load, [*by_connection.values()]


def test_a_connection_that_had_its_answers_is_opened_anew_and_no_request_is_lost() -> None:
    load, answers = answers_by_connection(40, OK, answers_each=10)
    assert load.statuses == {200: 40}
    assert max(answers) == 10
    assert len(answers) >= 4


def test_a_connection_whose_server_says_that_it_ends_is_asked_nothing_more() -> None:
    load, answers = answers_by_connection(5, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert load.statuses == {200: 5}
    assert answers == [1, 1, 1, 1, 1]


def test_what_has_no_answer_when_patience_ends_is_unanswered_with_the_wait_so_far() -> None:
    released = threading.Event()

    def answer(number: int, body: bytes) -> bytes:
        if number >= 2:
            released.wait()
        return OK

    clock = Ticking(stop=1e9)
    with serving(answer) as address:
        try:
            # a millisecond a reading: two seconds of the loop's clock are over whatever the server does
            load = open_loop(
                address, [post(address, "/", b"{}")], steady((10, 1)), connections=1, clock=clock, patience=1.0
            )
        finally:
            released.set()
    assert sum(load.statuses.values()) == 10
    assert load.statuses[UNANSWERED] >= 8
    waiting = load.status == UNANSWERED
    assert load.done[waiting] == pytest.approx(2.0, abs=0.01)


def test_a_server_that_is_not_there_breaks_nothing_but_the_requests() -> None:
    with serving(lambda _number, _body: OK) as address:
        pass
    load = open_loop(address, [post(address, "/", b"{}")], steady((10, 1)), clock=Ticking(1e9), patience=0.1)
    assert load.statuses == {UNANSWERED: 10}


def test_every_answer_is_shown_with_its_body() -> None:
    seen: list[tuple[int, object]] = []
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n[1,2\r\n3\r\n,3]\r\n0\r\n\r\n"
    with serving(lambda number, _body: [OK, chunked][number % 2]) as address:
        open_loop(
            address,
            [post(address, "/", b"{}")],
            steady((1e6, 4e-6)),
            connections=1,
            seen=lambda _at, status, answer: seen.append((status, body_of(answer))),
        )
    assert seen == [(200, []), (200, [1, 2, 3])] * 2


@pytest.mark.parametrize("head", [b"Content-Length: 3", b"x: y\r\ncontent-LENGTH:3", b"Transfer-Encoding: chunked"])
def test_an_answer_is_whole_with_its_last_byte_and_not_before(head: bytes) -> None:
    body = b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in head else b"abc"
    whole = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body
    assert [answer_end(whole[:at]) for at in range(len(whole))] == [0] * len(whole)
    assert answer_end(whole + b"HTTP") == len(whole)


def test_due_times_follow_the_phases() -> None:
    assert steady((2, 1), (4, 1)).tolist() == [0.0, 0.5, 1.0, 1.25, 1.5, 1.75]


def test_percentiles_are_the_nearest_rank_and_rates_count_right_answers_in_time_alone() -> None:
    done = np.arange(1, 101) / 1000
    status = np.where(np.arange(100) < 90, 200, 429)
    load = Load(np.zeros(100), done, status, seconds=0.05)
    assert [load.percentile_ms(share) for share in (0.5, 0.99, 1.0)] == pytest.approx([50.0, 99.0, 100.0])
    assert load.answered_per_second == pytest.approx(50 / 0.05)
