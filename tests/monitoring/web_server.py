"""A real HTTP server on loopback that misbehaves on demand, for webhooks."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """What a client sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class WebServer:
    """Takes one request per connection and answers as it is told, by default with 200.

    Answers: `200`, `429 Retry-After: 30` and the like are sent whole; `hang up` closes without an answer; `half a head`
    closes within the head; `half a body` after a head of 200; `silence` never answers; `dribble` sends the head of 200
    letter by letter, slowly.
    """

    answers: list[str] = field(default_factory=list)
    body: str = "ok"
    seen: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/services/T000SECRET/B000SECRET"

    @property
    def keys(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.seen]

    def stop(self) -> None:
        self._over.set()
        # Wakes the accept.
        with socket.create_connection(self._listener.getsockname()):
            pass
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            line, _ = self._listener.accept()
            if self._over.is_set():
                line.close()
                return
            thread = threading.Thread(target=self._try_to_serve, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _try_to_serve(self, line: socket.socket) -> None:
        # A client that gave up breaks the line.
        with suppress(OSError):
            self._serve(line)

    def _serve(self, line: socket.socket) -> None:
        with line, line.makefile("rb") as reader:
            first = reader.readline().decode().split()
            if len(first) < 2:
                return
            headers = {}
            while (row := reader.readline().decode().strip()) != "":
                name, _, value = row.partition(": ")
                headers[name.lower()] = value
            body = json.loads(reader.read(int(headers["content-length"])))
            self.seen.append(Request(first[1], headers, body))
            answer = self.answers.pop(0) if self.answers else "200"
            self._answer(line, answer)

    def _answer(self, line: socket.socket, answer: str) -> None:
        if answer == "hang up":
            return
        if answer == "silence":
            self._over.wait(30)
        elif answer == "dribble":
            for letter in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                if self._over.wait(0.1):
                    return
                line.sendall(bytes([letter]))
        elif answer == "half a head":
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif answer == "half a body":
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nok")
        else:
            status, _, extra = answer.partition(" ")
            said = self.body.encode()
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(said)}\r\nConnection: close\r\n"
            line.sendall((head + (f"{extra}\r\n" if extra else "") + "\r\n").encode() + said)
