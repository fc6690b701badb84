"""Worker processes and their parent: drain, kill, hang, rolling restart, orphans, and a swap under load."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from typing import Any

import httpx
import psutil

from ml.serving.workers import _waited as waited
from tests.serving.service.conftest import body, raw, until
from tests.serving.service.parent import HEADERS, Service
from tests.serving.service.stubs import A, B


class Load:
    """Callers that ask again and again, each on its own connection; what they heard and what they lost."""

    def __init__(self, service: Service, *, callers: int = 4) -> None:
        self.answers: list[dict[str, Any]] = []
        self.lost: list[str] = []
        self._end = threading.Event()
        self._service = service
        self._threads = [threading.Thread(target=self._ask) for _ in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.answers) > 20)
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)

    def more(self) -> None:
        """Wait for answers to questions that were asked after now."""
        so_far = len(self.answers) + 2 * len(self._threads)
        until(lambda: len(self.answers) > so_far)

    def _ask(self) -> None:
        with httpx.Client(headers=HEADERS, timeout=20) as client:
            while not self._end.is_set():
                try:
                    found = client.post(f"{self._service.url}/v1/bids", json=body("x"))
                except httpx.HTTPError as error:
                    self.lost.append(repr(error))
                    continue
                if found.status_code == 200:
                    self.answers.append(found.json())
                else:
                    self.lost.append(found.text)


def test_a_swap_under_load_drops_no_request_and_every_answer_names_one_version_or_the_other(
    start: Callable[..., Service],
) -> None:
    service = start()
    with Load(service) as load:
        for generation in range(2, 12):
            service.champion(generation, (A, B)[generation % 2])
            until(lambda generation=generation: load.answers[-1]["generation"] == generation)
        load.more()
    assert load.lost == []
    assert {(answer["version"], answer["generation"] % 2) for answer in load.answers} == {
        (A[:12], 0),
        (A[:12], 1),
        (B[:12], 1),
    }
    assert {answer["step"] for answer in load.answers} == {"model"}


def test_a_worker_that_is_killed_is_replaced_and_only_its_own_requests_are_lost(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    killed = service.ready()[0]
    with Load(service, callers=4) as load:
        os.kill(killed, signal.SIGKILL)
        service.ready(without=killed)
        load.more()
    assert len(load.lost) <= 4, load.lost
    assert service.ask().status_code == 200


def test_a_new_worker_takes_no_caller_before_it_can_bid_while_another_can(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    first, second = service.ready()
    (service.home / "champion.json").write_text("{half")
    (service.home / "serving" / "simulator.json").unlink()
    os.kill(first, signal.SIGKILL)
    service.up(without=first)
    assert not service.states[-1]["ready"], "the new worker has nothing to bid with"
    assert [service.ask().json()["step"] for _ in range(30)] == ["model"] * 30
    text = service.metrics()
    ready = {line.rsplit(" ", 1)[1] for line in text.splitlines() if 'what="ready"' in line}
    assert ready == {"0", "1"}, "each says for itself whether it can bid"

    os.kill(second, signal.SIGKILL)
    assert service.ask().json()["step"] == "no_bid", "where nobody can bid, callers hear so"
    service.champion(2, B)
    service.ready(without=second)
    assert service.ask().json()["step"] == "model"


def test_a_worker_that_is_dead_has_no_numbers(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    first, _ = service.ready()
    until(lambda: service.metrics().count('what="ready"') == 2)
    os.kill(first, signal.SIGKILL)
    until(lambda: service.metrics().count('what="ready"') == 1)
    service.ready(without=first)
    until(lambda: service.metrics().count('what="ready"') == 2)


def test_a_worker_that_hangs_is_killed_and_replaced(start: Callable[..., Service]) -> None:
    service = start(hung_s=1.5)
    [hung] = service.ready()
    os.kill(hung, signal.SIGSTOP)
    service.ready(without=hung)
    assert service.ask().status_code == 200
    assert "gives no sign of life" in service.log.read_text()


def test_a_worker_that_waits_for_a_processor_is_given_more_time_but_not_for_ever(start: Callable[..., Service]) -> None:
    service = start(hung_s=1.0, starved=True)
    [silent] = service.ready()
    os.kill(silent, signal.SIGSTOP)
    stopped = monotonic()
    service.ready(without=silent)
    assert monotonic() - stopped > 4.0, "several times its patience"
    assert "gives no sign of life" in service.log.read_text()


def test_the_time_for_which_a_process_waits_for_a_processor_is_what_the_system_says() -> None:
    [core, *_] = os.sched_getaffinity(0)
    command = [sys.executable, "-S", "-c", f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        until(lambda: waited(one.pid) > 0.2 and waited(other.pid) > 0.2)
        one.kill()
        other.kill()
    assert waited(one.pid) == 0.0, "of nobody"


def test_a_pause_of_the_whole_service_is_no_hang_of_its_workers(start: Callable[..., Service]) -> None:
    service = start(hung_s=1.5)
    [worker] = service.ready()
    both = [service.process.pid, worker]
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    stopped = monotonic()
    until(lambda: monotonic() > stopped + 3.0)
    paused = {psutil.Process(pid).status() for pid in both}
    for pid in both:
        os.kill(pid, signal.SIGCONT)
    assert paused == {psutil.STATUS_STOPPED}
    service.champion(2, B)
    until(lambda: service.ask().json()["generation"] == 2)
    assert service.ready() == [worker]
    assert "gives no sign of life" not in service.log.read_text()


def test_sigterm_answers_everything_that_was_accepted(start: Callable[..., Service]) -> None:
    service = start(slow_s=0.3)
    [worker] = service.ready()
    content = json.dumps(body("x")).encode()
    with ExitStack() as stack:
        callers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service.states[-1]["port"]), timeout=30))
            for _ in range(8)
        ]
        for caller in callers:
            caller.sendall(raw("/livez", method="GET"))
        for caller in callers:
            assert caller.recv(4096).startswith(b"HTTP/1.1 200")
        for caller in callers:
            caller.sendall(raw(content=content))
        service.process.terminate()
        answers = [b"".join(iter(lambda caller=caller: caller.recv(65_536), b"")) for caller in callers]
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 8
    assert service.process.wait(30) == 0
    assert not psutil.pid_exists(worker)


def test_sighup_replaces_the_workers_one_by_one_and_no_request_is_lost(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    before = set(service.ready())
    with Load(service) as load:
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.states[-1]["ready"] and not before & set(service.states[-1]["pids"]))
        until(lambda: not any(psutil.pid_exists(pid) for pid in before))
        load.more()
    assert load.lost == []


def test_a_new_worker_that_cannot_bid_takes_nobodys_place(start: Callable[..., Service]) -> None:
    service = start(ready_s=1.0)
    [before] = service.ready()
    (service.home / "champion.json").write_text("{half")
    (service.home / "serving" / "simulator.json").unlink()
    service.process.send_signal(signal.SIGHUP)
    until(lambda: "the old one stays" in service.log.read_text())
    assert service.states[-1]["pids"] == [before]
    assert service.ask().json()["step"] == "model"


def test_workers_whose_parent_is_gone_end(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    workers = service.ready()
    service.process.kill()
    until(lambda: not any(_alive(pid) for pid in workers))


def test_any_worker_answers_for_the_numbers_of_all(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    for _ in range(5):
        assert service.ask().status_code == 200

    def decided() -> bool:
        text = httpx.get(f"{service.url}/metrics", headers=HEADERS).text
        lines = [
            line
            for line in text.splitlines()
            if line.startswith("bidwright_decisions_total") and 'step="model"' in line
        ]
        return len(lines) == 2 and sum(int(line.split()[-1]) for line in lines) == 5

    until(decided)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


logging.getLogger("httpx").setLevel(logging.WARNING)
