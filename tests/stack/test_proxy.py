"""The proxy of the stack: who asks it hears of no service that ended while it was asked."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local.cluster import places, stores
from local.supervisor import Supervisor
from tests.faults.campaign.stand import wait_for
from tests.ledger.conftest import free_port

ROOT = Path(__file__).parents[2]
BODY = b'{"key": "user-1"}'


class Server(ThreadingHTTPServer):
    """A bid service as the proxy sees one; one that dies ends each connection on which bids are asked for, without a word."""

    def __init__(self, *, dies: bool) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.dies, self.asked = dies, list[bytes]()
        self.begun = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: the proxy may hang up first."""


class Answers(BaseHTTPRequestHandler):
    """Alive and ready, whatever becomes of the bids."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """A check of the proxy's."""
        self._answer(b"ok")

    def do_POST(self) -> None:
        """A request for bids."""
        self.server.begun.set()
        self.server.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.dies:
            self.close_connection = True
            self.connection.close()
        else:
            self._answer(b"bids")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def proxied(folder: Path, first: Server, second: Server) -> Iterator[int]:
    """The proxy in front of two servers; its port."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("no haproxy here (make debian)")
    ports = replace(places.USUAL, proxy=free_port(), bid_1=first.server_port, bid_2=second.server_port)
    started = Supervisor(folder)
    with ExitStack() as ends:
        for server in (first, second):
            ends.enter_context(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            ends.callback(server.shutdown)
        started.start(stores.proxy(Path(program), ports, folder / "log"))
        ends.callback(started.stop)
        wait_for(ports.proxy)
        yield ports.proxy


def ask(port: int, times: int) -> list[tuple[int, bytes]]:
    """Requests on one connection, each in two packets: head and body."""
    link, heard = http.client.HTTPConnection("127.0.0.1", port, timeout=30), []
    for _ in range(times):
        link.request("POST", "/v1/bids", BODY)
        answer = link.getresponse()
        heard.append((answer.status, answer.read()))
    link.close()
    return heard


def test_a_request_whose_service_ended_without_a_word_is_answered_by_the_other(tmp_path: Path) -> None:
    dying, living = Server(dies=True), Server(dies=False)
    with proxied(tmp_path, dying, living) as port:
        heard = ask(port, 20)
    assert heard == [(200, b"bids")] * 20
    assert dying.asked
    assert set(dying.asked) == {BODY}, "some were asked of the one that ended"
    assert len(living.asked) == 20


def test_a_request_whose_body_comes_after_its_head_is_asked_of_nobody_before_it_is_whole(tmp_path: Path) -> None:
    servers = Server(dies=True), Server(dies=False)
    head = f"POST /v1/bids HTTP/1.1\r\nHost: bids\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n\r\n"
    with proxied(tmp_path, *servers) as port:
        for _ in range(2):  # whoever is asked first
            with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
                caller.sendall(head.encode())
                early = [server.begun.wait(0.3) for server in servers]
                caller.sendall(BODY)
                heard = b"".join(iter(lambda caller=caller: caller.recv(4096), b""))  # type: ignore[misc]
            assert early == [False, False], "else it could not be asked again"
            assert heard.startswith(b"HTTP/1.1 200")
            assert heard.endswith(b"bids")
            for server in servers:
                server.begun.clear()


def test_where_every_service_ends_without_a_word_the_caller_hears_so(tmp_path: Path) -> None:
    with proxied(tmp_path, Server(dies=True), Server(dies=True)) as port:
        [(status, _)] = ask(port, 1)
    assert status == http.HTTPStatus.BAD_GATEWAY


def test_the_proxy_of_the_containers_asks_again_as_that_of_the_processes_does() -> None:
    said = [
        re.findall(r"^ +(retries .*|retry-on .*|option (?:redispatch|http-buffer-request))$", file.read_text(), re.M)
        for file in (ROOT / "docker/haproxy/haproxy.cfg", ROOT / "local/cluster/haproxy.cfg")
    ]
    assert said[0] == said[1]
    assert len(said[0]) == 4
