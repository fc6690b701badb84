"""The hostile client sends what it says, the same each time, and tells a right refusal from a wrong one."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import suppress

import msgspec
import pytest

from benchmarks.load_bodies import BODIES, WIRE, Case, cases, hypothesis_bodies
from benchmarks.load_hostile import CLOSED, DIED, SILENT, percentile, send
from benchmarks.load_wire import Address
from ml.serving.messages import decode_request
from tests.benchmarks.serving import OK, refusal, serving

HERE: Address = ("127.0.0.1", 1)
TOLD = b'{"key":"k","candidates":[{"id":"1","value_micros":1000000}]}'


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    return [*hypothesis_bodies(60), TOLD]


def test_the_cases_are_the_same_each_time_and_meet_every_kind(
    bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 3 * (len(BODIES) + len(WIRE) + 2)
    made = []
    for hour in (1, 2):  # gzip writes the time into its header unless it is told not to
        monkeypatch.setattr(time, "time", lambda hour=hour: hour * 3600.0)
        made.append(list(cases(HERE, "/v1/bids", bodies, number=number, headers={"Authorization": "x"})))
    assert made[0] == made[1]
    assert Counter(case.kind for case in made[0]).keys() == {*BODIES, *WIRE, "plain"}


def test_hypothesis_makes_bodies_that_are_bid_on_and_bodies_that_are_not(bodies: list[bytes]) -> None:
    valid = 0
    for body in bodies:
        try:
            decode_request(body)
            valid += 1
        except msgspec.MsgspecError:
            pass
    assert 0.1 < valid / len(bodies) < 0.95


def test_every_mutated_body_is_read_or_refused_and_nothing_else_comes_out_of_the_decoder(bodies: list[bytes]) -> None:
    """`UnicodeDecodeError` is no error of msgspec's: a server that catches these alone answers such a body with 500."""
    rng = random.Random(1)  # noqa: S311
    for change in BODIES.values():
        for body in bodies:
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                decode_request(change(rng, body))


@pytest.mark.parametrize(
    ("answer", "status", "wrong"),
    [(OK, 200, 0), (refusal(400), 400, 0), (refusal(500), 500, 20), (refusal(301), 301, 20), (None, DIED, 20)],
)
def test_well_framed_requests_are_answered_rightly_by_200_or_4xx_alone(
    answer: bytes | None, status: int, wrong: int, bodies: list[bytes]
) -> None:
    with serving(lambda _number, _body: answer) as address:
        plain = [case for case in cases(address, "/", bodies, number=400) if case.kind in BODIES][:20]
        outcome = send(address, iter(plain), connections=3)
    assert {found for _, found in outcome.counts} == {status}
    assert (sum(outcome.counts.values()), outcome.wrong(), len(outcome.bad)) == (20, wrong, wrong)
    assert len(outcome.latency_ms) == (0 if answer is None else 20)


def test_pipelined_requests_are_owed_an_answer_each() -> None:
    with serving(lambda _number, _body: OK) as address:
        whole = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
        outcome = send(address, iter([Case("pipelined", whole * 5, 5), Case("cut", whole * 5, 6)]), patience=0.2)
    assert outcome.counts == {("pipelined", 200): 5, ("cut", 200): 5, ("cut", SILENT): 1}


def test_a_broken_request_may_be_closed_upon_but_not_left_hanging() -> None:
    with serving(lambda _number, _body: None) as address:
        cut = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}"
        outcome = send(address, iter([Case("cut off", cut, 0)]))
    assert outcome.counts == {("cut off", CLOSED): 1}
    assert outcome.wrong() == 0


def test_a_server_that_is_gone_is_told_from_one_that_refuses() -> None:
    with serving(lambda _number, _body: OK) as address:
        pass
    outcome = send(address, iter([Case("plain", b"x", 1)]))
    assert outcome.counts == {("plain", DIED): 1}


def test_lateness_is_counted_against_the_deadline() -> None:
    with serving(lambda _number, _body: OK) as address:
        outcome = send(address, iter([Case("plain", b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 1)] * 3))
    assert (outcome.late(0.0), outcome.late(1e9)) == (3, 0)
    assert percentile([], 0.5) == 0
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
