"""A server that a test scripts: it reads requests off each connection and says what each one is answered with."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.load_wire import Address

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
Answer = Callable[[int, bytes], bytes | None]
"""Of the number of the request over all connections, and its body: the bytes to send; None closes the connection."""


def refusal(status: int) -> bytes:
    return b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status


@contextmanager
def serving(answer: Answer) -> Iterator[Address]:
    listening = socket.create_server(("127.0.0.1", 0))
    numbers, lock = iter(range(10**9)), threading.Lock()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            got = b""
            while True:
                head = got.find(b"\r\n\r\n")
                size = int(got[:head].lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if head >= 0 else 0
                if head < 0 or len(got) < head + 4 + size:
                    try:
                        data = connection.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    got += data
                    continue
                body, got = got[head + 4 : head + 4 + size], got[head + 4 + size :]
                with lock:
                    number = next(numbers)
                said = answer(number, body)
                if said is None:
                    return
                try:
                    connection.sendall(said)
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listening.getsockname()[:2]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for thread in threads:
            thread.join()
