"""Where open files run out, those who are served stay served, and the others wait."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack

import psutil

from tests.serving.service.conftest import raw, until
from tests.serving.service.parent import Service
from tests.serving.service.stubs import B


def answers(caller: socket.socket) -> bool:
    """Whether a connection that is open is answered on."""
    caller.sendall(raw("/livez", method="GET"))
    return b"200 OK" in caller.recv(4096)


def test_a_worker_that_cannot_be_started_ends_none_that_lives_and_is_started_once_it_can_be(
    start: Callable[..., Service],
) -> None:
    service = start(workers=2)
    gone, lives = service.ready()
    parent = psutil.Process(service.process.pid)
    before = parent.rlimit(psutil.RLIMIT_NOFILE)
    parent.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))  # who has more open keeps it, and opens nothing
    os.kill(gone, signal.SIGKILL)
    until(lambda: "cannot be started (Too many open files)" in service.log.read_text())
    assert service.ask().status_code == 200
    parent.rlimit(psutil.RLIMIT_NOFILE, before)
    assert lives in service.ready(without=gone)


def test_open_files_are_raised_to_what_the_connections_of_a_worker_need(start: Callable[..., Service]) -> None:
    worker = psutil.Process(start(files="300 5000").ready()[0])
    assert worker.rlimit(psutil.RLIMIT_NOFILE) == (1024 + 256, 5000)


def test_connections_leave_a_worker_the_open_files_to_load_a_champion_with(start: Callable[..., Service]) -> None:
    service = start(files="356 356")
    with ExitStack() as stack:
        for _ in range(360):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.states[-1]["port"]), timeout=60))
        worker = psutil.Process(service.ready()[0])
        until(lambda: len(worker.net_connections("tcp")) == 100 + 1)  # and the socket that listens
        service.champion(2, B)
        until(lambda: service.ask().json()["generation"] == 2)
    assert "at most 100 connections instead of 1024" in service.log.read_text()


def test_a_worker_that_has_no_open_file_for_a_caller_asks_for_one_again_later_and_not_all_the_time(
    start: Callable[..., Service],
) -> None:
    service = start()
    port = service.states[-1]["port"]
    worker = psutil.Process(service.ready()[0])
    before = worker.rlimit(psutil.RLIMIT_NOFILE)
    failed = "could not be accepted: Too many open files"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as known:
        assert answers(known)
        worker.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as waits:
            waits.sendall(raw("/livez", method="GET"))
            until(lambda: answers(known) and service.log.read_text().count(failed) >= 2)
            worker.rlimit(psutil.RLIMIT_NOFILE, before)
            assert b"200 OK" in waits.recv(4096)
    assert service.log.read_text().count(failed) < 60  # it asks once a second, and no test waits for longer
