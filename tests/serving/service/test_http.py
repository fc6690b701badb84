"""HTTP on a real socket: order, limits, and what a client that does not behave gets."""

from __future__ import annotations

import gc
import json
import re
import socket
from collections.abc import Callable

import pytest

from ml.serving.http import Connection
from tests.serving.service.conftest import TOKEN, Served, body, limited, raw, until

GOOD = json.dumps(body("x", "y")).encode()
CLOSE = "Connection: close\r\n"


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def test_pipelined_requests_are_answered_in_their_order_though_some_are_answered_at_once(served: Served) -> None:
    slow = raw(content=json.dumps(body("first")).encode())
    quick = raw("/livez", method="GET")
    last = raw(content=json.dumps(body("last")).encode(), more=CLOSE)
    answer = served.talk(slow + quick + last)
    assert statuses(answer) == [200, 200, 200]
    assert answer.index(b'"first"') < answer.index(b'"live"') < answer.index(b'"last"')


def test_a_request_may_come_byte_by_byte(served: Served) -> None:
    whole = raw(content=GOOD, more=CLOSE)
    answer = served.talk(*(whole[at : at + 1] for at in range(len(whole))))
    assert statuses(answer) == [200]


def test_a_connection_is_kept_for_the_next_request_unless_the_client_says_otherwise(served: Served) -> None:
    assert statuses(served.talk(raw(content=GOOD) + raw(content=GOOD, more=CLOSE))) == [200, 200]
    old = raw(content=GOOD).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert statuses(served.talk(old)) == [200]


def test_who_sends_no_more_still_gets_what_he_asked_for(served: Served) -> None:
    assert statuses(served.talk(raw(content=GOOD), end=True)) == [200]


def test_a_chunked_body_is_read_and_its_trailers_mean_nothing(served: Served) -> None:
    head = (
        b"POST /v1/bids HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%bTransfer-Encoding: chunked\r\n\r\n"
    )
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n%b\r\n"
    credentials = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    close = b"Connection: close\r\n"
    assert statuses(served.talk(head % (credentials + close) + chunks % b"")) == [200]
    assert statuses(served.talk(head % close + chunks % credentials)) == [401]


def test_a_head_request_gets_no_body(served: Served) -> None:
    answer = served.talk(raw("/livez", method="HEAD", more=CLOSE))
    assert statuses(answer) == [405]
    assert answer.endswith(b"\r\n\r\n")


def test_a_client_that_waits_for_leave_gets_it(served: Served) -> None:
    answer = served.talk(raw(content=GOOD, more=CLOSE + "Expect: 100-continue\r\n"))
    assert statuses(answer) == [100, 200]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536])
def test_a_body_within_the_limit_is_read(served: Served, size: int) -> None:
    content = GOOD.ljust(size)[: max(size, 0)] if size >= len(GOOD) else b" " * size
    assert statuses(served.talk(raw(content=content, more=CLOSE))) == [200 if size >= len(GOOD) else 400]


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(served: Served) -> None:
    head = raw(more=CLOSE).replace(b"Content-Length: 0", b"Content-Length: 65537")
    assert statuses(served.talk(head)) == [413]
    assert statuses(served.talk(raw(content=b" " * 200_000))) == [413]
    huge = raw().replace(b"Content-Length: 0", b"Content-Length: 18446744073709551615")
    assert statuses(served.talk(huge)) == [413]


def test_a_body_beyond_the_limit_is_refused_in_chunks_too(served: Served) -> None:
    head = raw(more="Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b"")
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    assert statuses(served.talk(head, chunk * 5)) == [413]
    one = b"20000\r\n" + b" " * 0x20000 + b"\r\n0\r\n\r\n"
    assert statuses(served.talk(head + one)) == [413]


def test_chunk_extensions_without_end_are_refused(make: Callable[..., Served]) -> None:
    served = make(limits=limited(body=1024)).ready()
    head = raw(more="Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b"")
    with served.connect() as made:
        made.sendall(head)
        made.sendall(b"1;")
        answer = endless(made, b"x=y;" * 1000)
    assert statuses(answer) == [413] or answer == b""


@pytest.mark.parametrize(
    "part",
    [b"x" * 1000, b"a: b\r\n" * 100],
    ids=["one header without end", "headers without end"],
)
def test_a_head_without_end_is_refused(served: Served, part: bytes) -> None:
    with served.connect() as made:
        made.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nx: ")
        answer = endless(made, part)
    assert statuses(answer) == [431] or answer == b""


def test_a_target_without_end_is_refused(served: Served) -> None:
    with served.connect() as made:
        made.sendall(b"GET /")
        answer = endless(made, b"x" * 1000)
    assert statuses(answer) == [431] or answer == b""


def test_more_headers_than_the_limit_are_refused(served: Served) -> None:
    assert statuses(served.talk(raw("/livez", method="GET", more="a: b\r\n" * 61 + CLOSE))) == [431]
    assert statuses(served.talk(raw("/livez", method="GET", more="a: b\r\n" * 59 + CLOSE))) == [200]


def endless(made: socket.socket, part: bytes) -> bytes:
    """Send for ever; what came back when the service had enough. An answer may be lost when it is not read in time."""
    made.settimeout(0.01)
    answer = b""
    while True:
        try:
            made.sendall(part)
            got = made.recv(65_536)
        except TimeoutError:
            continue
        except ConnectionError:
            return answer
        if not got:
            return answer
        answer += got


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NOTHING / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nna me: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: \x00\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_plain_http_request_is_refused_and_the_connection_ended(served: Served, sent: bytes) -> None:
    assert statuses(served.talk(sent, end=True)) == [400]
    assert served.client.get("/livez").status_code == 200


def test_after_what_cannot_be_read_nothing_is_read_on(served: Served) -> None:
    smuggled = b"GET / HTTP/1.1\r\nna me: x\r\n\r\n" + raw(content=GOOD)
    assert statuses(served.talk(smuggled)) == [400]
    assert served.log.taken == []


def test_after_a_request_that_closes_nothing_is_answered(served: Served) -> None:
    answer = served.talk(raw("/livez", method="GET", more=CLOSE) + raw(content=GOOD))
    assert statuses(answer) == [200]
    assert served.log.taken == []


@pytest.mark.parametrize("sent", [b"GET /livez HT", raw(content=GOOD)[:-5]], ids=["head", "body"])
def test_a_request_that_does_not_come_to_its_end_is_ended_in_time(make: Callable[..., Served], sent: bytes) -> None:
    served = make(limits=limited(request_s=0.1)).ready()
    assert statuses(served.talk(sent)) == [408]


def test_drip_by_drip_does_not_prolong_a_request(make: Callable[..., Served]) -> None:
    served = make(limits=limited(request_s=0.1)).ready()
    with served.connect() as made:
        made.sendall(b"GET /livez HTTP/1.1\r\nx: ")
        assert statuses(endless(made, b"x")) in ([408], [])


def test_an_idle_connection_is_ended(make: Callable[..., Served]) -> None:
    served = make(limits=limited(idle_s=0.1, request_s=0.1)).ready()
    assert served.talk() == b""
    assert statuses(served.talk(raw(content=GOOD))) == [200]


def test_a_connection_ends_after_its_requests_and_the_last_answer_alone_says_so(make: Callable[..., Served]) -> None:
    served = make(limits=limited(requests=3)).ready()
    answer = served.talk(*[raw(content=GOOD)] * 3)
    assert statuses(answer) == [200, 200, 200]
    assert answer.count(b"Connection: close") == 1
    assert answer.rindex(b"Connection: close") > answer.rindex(b"HTTP/1.1 200")


def test_a_client_that_keeps_its_connection_goes_on_with_the_next(make: Callable[..., Served]) -> None:
    served = make(limits=limited(requests=3)).ready()
    asked = [served.client.post("/v1/bids", json=body("x")).status_code for _ in range(10)]
    assert asked == [200] * 10
    assert served.worker.service.opened == 4


def test_a_connection_that_is_gone_leaves_nothing_to_the_collector(served: Served) -> None:
    gc.disable()
    try:
        for sent in (raw(content=GOOD, more=CLOSE), raw(content=GOOD)[:-5], b"no HTTP\r\n\r\n"):
            served.talk(sent, end=True)
        until(lambda: not served.worker.service.connections)
        # The loop lets go of a connection after it told it that it is gone.
        until(lambda: not any(isinstance(one, Connection) for one in gc.get_objects()))
    finally:
        gc.enable()


def test_connections_that_were_opened_together_do_not_end_together(make: Callable[..., Served]) -> None:
    served = make(limits=limited(requests=512)).ready()

    def answers() -> int:
        made, count = served.connect(), 1
        made.sendall(raw("/livez", method="GET"))
        while b"Connection: close" not in made.recv(4096):
            made.sendall(raw("/livez", method="GET"))
            count += 1
        return count

    lasts = [answers() for _ in range(3)]
    assert len(set(lasts)) == 3
    assert all(448 <= last <= 512 for last in lasts)


def test_a_client_that_does_not_read_its_answers_is_left(make: Callable[..., Served]) -> None:
    served = make(limits=limited(write_s=0.1, linger_s=0.1)).ready()
    made = served.connect()
    made.setblocking(False)
    asked = raw("/openapi.json", method="GET") * 50

    def left() -> bool:
        try:
            made.send(asked)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return False

    until(left)
    until(lambda: not served.worker.service.connections)


def test_no_more_connections_than_the_limit_and_the_others_wait_their_turn(make: Callable[..., Served]) -> None:
    served = make(limits=limited(connections=2)).ready()
    first, second, third = (served.connect() for _ in range(3))
    until(lambda: len(served.worker.service.connections) == 2)
    third.sendall(raw("/livez", method="GET"))
    first.close()
    assert b"200 OK" in third.recv(4096)
    second.sendall(raw("/livez", method="GET"))
    assert b"200 OK" in second.recv(4096)
