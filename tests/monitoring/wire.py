"""An SMTP server on a bare socket that misbehaves at the stage it is told to, and remembers every byte it took."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

STAGES = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "QUIT")
GOOD = {
    "greeting": b"220 ready\r\n",
    "EHLO": b"250 hello\r\n",
    "MAIL": b"250 OK\r\n",
    "RCPT": b"250 OK\r\n",
    "DATA": b"354 go on\r\n",
    "BODY": b"250 taken\r\n",
    "QUIT": b"221 bye\r\n",
}
FAULTS = ("close", "reset", "silent", "drip", "garbage", "endless", "refuse", "refuse for now")


@dataclass
class Wire:
    """The server. Each connection uses up one of `faults`: a stage and what goes wrong there; without one it behaves.

    `taken` are the messages that it answered for, or took and died over ("take and die" at BODY).
    """

    faults: list[tuple[str, str]] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def talk(self, line: socket.socket) -> None:
        """One connection, until somebody ends it."""
        self.connections += 1
        stage, fault = self.faults.pop(0) if self.faults else ("", "")
        file = line.makefile("rb")
        if not self._answer(line, "greeting", fault if stage == "greeting" else ""):
            return
        while (command := file.readline(2_000)) and not self.over.is_set():
            name = command[:4].decode("ascii", "replace").upper()
            if name not in GOOD:
                line.sendall(b"500 what?\r\n")
                continue
            if not self._answer(line, name, fault if stage == name else ""):
                return
            if name == "QUIT":
                return
            if name == "DATA":
                body = self._body(file)
                if body is None:
                    return
                here = fault if stage == "BODY" else ""
                if here == "take and die":
                    self.taken.append(body)
                    return
                if not self._answer(line, "BODY", here):
                    return
                if not here:
                    self.taken.append(body)

    @staticmethod
    def _body(file: object) -> bytes | None:
        lines: list[bytes] = []
        for row in file:  # type: ignore[attr-defined]
            if row == b".\r\n":
                return b"".join(lines)
            lines.append(row)
        return None

    def _answer(self, line: socket.socket, stage: str, fault: str) -> bool:
        """Answer; False where that is the end of the connection."""
        match fault:
            case "":
                line.sendall(GOOD[stage])
            case "close":
                return False
            case "reset":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                return False
            case "silent":
                self.over.wait(30)
                return False
            case "drip":
                while not self.over.wait(0.02):
                    line.sendall(b"2")
            case "garbage":
                line.sendall(b"\x00\xff\xfe<html>\x1b[31m teapot\r\n")
            case "endless":
                while not self.over.wait(0.01):
                    line.sendall(b"250-and more\r\n" * 50)
            case "refuse":
                line.sendall(b"550 never\r\n")
            case "refuse for now":
                line.sendall(b"451 later\r\n")
            case _:
                raise AssertionError(fault)
        return True


@contextmanager
def wire() -> Iterator[Wire]:
    """A server on a port that the system chose, each connection in a thread of its own."""
    server = Wire()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]

        def one(line: socket.socket) -> None:
            with line, suppress(OSError):
                server.talk(line)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    threading.Thread(target=one, args=(line,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()
