"""The proxy does what its toxics say, to real sockets, and its counters say so."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.faults.proxy import (
    Bandwidth,
    DropReply,
    Latency,
    LimitData,
    Proxy,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
)
from tests.faults.proxy_http import HttpFault, HttpProxy

PATIENCE_S = 10.0
BIG = 200_000


class _Echo(socketserver.BaseRequestHandler):
    heard: list[bytes]

    def handle(self) -> None:
        while data := self.request.recv(65_536):
            self.heard.append(data)
            self.request.sendall(data)


class _Pages(BaseHTTPRequestHandler):
    version = 1
    bodies: list[bytes]

    def do_GET(self) -> None:
        body = f"answer {type(self).version} ".encode() * 50
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Connections are cut here on purpose."""


@pytest.fixture
def heard() -> list[bytes]:
    return []


@pytest.fixture
def proxy(heard: list[bytes]) -> Iterator[Proxy]:
    handler = type("Echo", (_Echo,), {"heard": heard})
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        with Proxy(server.server_address) as made:  # type: ignore[arg-type]
            yield made
        server.shutdown()


@pytest.fixture
def pages() -> Iterator[tuple[HttpProxy, type[_Pages]]]:
    handler = type("Pages", (_Pages,), {"bodies": [], "version": 1})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        with HttpProxy(server.server_address) as made:  # type: ignore[arg-type]
            yield made, handler
        server.shutdown()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def read(link: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (data := link.recv(65_536)):
        got += data
    return got


def asked(link: socket.socket, data: bytes = b"hello") -> bytes:
    link.sendall(data)
    return read(link, len(data))


def test_without_a_toxic_what_is_sent_comes_back_and_nothing_is_counted(proxy: Proxy) -> None:
    with connect(proxy) as link:
        assert asked(link, b"x" * BIG) == b"x" * BIG
    assert {name for name in proxy.counts if not name.startswith("bytes")} == {"connections"}
    assert proxy.counts["bytes_upstream"] == proxy.counts["bytes_downstream"] == BIG


def test_latency_delays_each_answer(proxy: Proxy) -> None:
    proxy.toxics = [Latency(ms=80, jitter_ms=20)]
    with connect(proxy) as link:
        begin = time.monotonic()
        assert asked(link) == b"hello"
    assert time.monotonic() - begin >= 0.06
    assert proxy.counts["latency"] == 1


def test_bandwidth_lets_no_more_pass_than_it_says(proxy: Proxy) -> None:
    proxy.toxics = [Bandwidth(kb_per_second=1_000)]
    with connect(proxy) as link:
        begin = time.monotonic()
        assert asked(link, b"x" * BIG) == b"x" * BIG
    assert time.monotonic() - begin >= BIG / 1e6
    assert proxy.counts["bandwidth"] >= 1


def test_slow_close_tells_the_end_late(proxy: Proxy) -> None:
    proxy.toxics = [SlowClose(ms=80)]
    with connect(proxy) as link:
        asked(link)
        link.shutdown(socket.SHUT_WR)
        begin = time.monotonic()
        assert link.recv(1) == b""
    assert time.monotonic() - begin >= 0.08
    assert proxy.counts["slow_close"] == 1


def test_timeout_lets_nothing_pass_and_then_closes(proxy: Proxy) -> None:
    proxy.toxics = [Timeout(ms=50)]
    with connect(proxy) as link:
        assert asked(link) == b""
    assert proxy.counts["timeout"] == 1


def test_a_timeout_without_an_end_holds_until_it_is_taken_away(proxy: Proxy, heard: list[bytes]) -> None:
    proxy.toxics = [Timeout()]
    with connect(proxy) as link:
        link.settimeout(0.1)
        with pytest.raises(TimeoutError):
            asked(link)
        link.settimeout(PATIENCE_S)
        proxy.toxics = []
        assert heard == [b"hello"]
        while proxy.counts["timeout"] and proxy.counts["bytes_downstream"] == 0:  # what was held is dropped
            link.sendall(b"again")
            assert link.recv(64).startswith(b"again")
    assert proxy.counts["timeout"] == 1


def test_reset_peer_resets(proxy: Proxy) -> None:
    proxy.toxics = [ResetPeer()]
    with connect(proxy) as link, pytest.raises(ConnectionResetError):
        asked(link)
    assert proxy.counts["reset_peer"] == 1


def test_the_slicer_cuts_into_pieces(proxy: Proxy) -> None:
    proxy.toxics = [Slicer(size=2, delay_ms=20)]
    with connect(proxy) as link:
        link.sendall(b"hello")
        first = link.recv(64)
        assert first + read(link, 5 - len(first)) == b"hello"
    assert len(first) < 5
    assert proxy.counts["slicer"] == 1


def test_limit_data_closes_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.toxics = [LimitData(size=3)]
    with connect(proxy) as link:
        link.sendall(b"hello")
        assert read(link, 5) == b"hel"
    assert proxy.counts["limit_data"] == 1


def test_down_resets_what_is_open_and_refuses_until_it_is_up(proxy: Proxy) -> None:
    with connect(proxy) as link:
        asked(link)
        proxy.down()
        with pytest.raises(ConnectionError):
            asked(link)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
    proxy.up()
    with connect(proxy) as link:
        assert asked(link) == b"hello"
    assert proxy.counts["down"] == 1


def test_a_dropped_reply_reached_the_server_and_earlier_ones_pass(proxy: Proxy, heard: list[bytes]) -> None:
    with connect(proxy) as link:
        assert asked(link, b"COMMIT") == b"COMMIT"  # before the toxic: it is no matter of it
        proxy.toxics = [DropReply(seen=b"COMMIT", after=2)]
        assert asked(link, b"SELECT") == b"SELECT"
        link.sendall(b"COMMIT")
        assert link.recv(2) == b"CO"
        with pytest.raises(ConnectionResetError):
            link.recv(64)
    assert heard == [b"COMMIT", b"SELECT", b"COMMIT"]
    assert proxy.counts["drop_reply"] == 1


def test_a_reply_is_dropped_to_the_nth_request_and_to_no_other(proxy: Proxy, heard: list[bytes]) -> None:
    proxy.toxics = [lost := DropReply(seen=b"COMMIT", nth=3)]
    with connect(proxy) as link, connect(proxy) as other:
        assert asked(link, b"COMMIT") == asked(other, b"COMMIT") == b"COMMIT"
        link.sendall(b"COMMIT")
        with pytest.raises(ConnectionResetError):
            link.recv(64)
        assert asked(other, b"COMMIT") == b"COMMIT"
    assert (len(heard), proxy.asked(lost), proxy.counts["drop_reply"]) == (4, 4, 1)


def test_a_toxic_befalls_its_share_of_the_connections(proxy: Proxy) -> None:
    proxy.toxics = [LimitData(size=0, toxicity=0.5)]
    ends = []
    for _ in range(40):
        with connect(proxy) as link:
            ends.append(asked(link))
    assert set(ends) == {b"", b"hello"}
    assert proxy.counts["limit_data"] == ends.count(b"")


def test_a_server_that_is_not_there_is_a_reset(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        proxy.upstream = gone.getsockname()
    with pytest.raises(ConnectionError), connect(proxy) as link:  # it may come before the connection is open
        asked(link)


def get(proxy: HttpProxy) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{proxy.port}/page", timeout=PATIENCE_S)


def test_http_passes_requests_and_answers(pages: tuple[HttpProxy, type[_Pages]]) -> None:
    proxy, handler = pages
    assert get(proxy).text == "answer 1 " * 50
    assert httpx.put(f"http://127.0.0.1:{proxy.port}/page", content=b"x" * BIG).status_code == 200
    assert handler.bodies == [b"x" * BIG]


def test_http_answers_with_a_status_so_many_times(pages: tuple[HttpProxy, type[_Pages]]) -> None:
    proxy, _ = pages
    proxy.fault = HttpFault("status", 503, times=2)
    found = [get(proxy) for _ in range(3)]
    assert [one.status_code for one in found] == [503, 503, 200]
    assert "SlowDown" in found[0].text
    assert proxy.counts["status 503"] == 2


def test_http_carries_a_request_out_although_it_says_that_it_failed(pages: tuple[HttpProxy, type[_Pages]]) -> None:
    proxy, handler = pages
    proxy.fault = HttpFault("status", 500, method="PUT", reach=True)
    assert httpx.put(f"http://127.0.0.1:{proxy.port}/page", content=b"x").status_code == 500
    assert handler.bodies == [b"x"]
    assert get(proxy).status_code == 200


@pytest.mark.parametrize("kind", ["reset_body", "truncated", "lost"])
def test_http_cuts_an_answer(kind: str, pages: tuple[HttpProxy, type[_Pages]]) -> None:
    proxy, _ = pages
    proxy.fault = HttpFault(kind)  # type: ignore[arg-type]
    with pytest.raises(httpx.TransportError):
        get(proxy)
    assert proxy.counts[kind] == 1


def test_http_changes_one_bit_and_no_length(pages: tuple[HttpProxy, type[_Pages]]) -> None:
    proxy, _ = pages
    whole = get(proxy).content
    proxy.fault = HttpFault("wrong_bytes")
    spoilt = get(proxy).content
    assert sum(a != b for a, b in zip(whole, spoilt, strict=True)) == 1
    assert proxy.counts["wrong_bytes"] == 1


def test_http_shows_yesterdays_answer(pages: tuple[HttpProxy, type[_Pages]]) -> None:
    proxy, handler = pages
    before = get(proxy).text
    handler.version = 2
    proxy.fault = HttpFault("stale")
    assert get(proxy).text == before
    proxy.fault = None
    assert get(proxy).text != before
    assert proxy.counts["stale"] == 1


def test_http_stalls(pages: tuple[HttpProxy, type[_Pages]]) -> None:
    proxy, _ = pages
    proxy.fault = HttpFault("stall", seconds=0.2)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"http://127.0.0.1:{proxy.port}/page", timeout=0.05)
    assert proxy.counts["stall"] == 1
