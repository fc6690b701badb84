"""The soak tells by name what a process keeps open, and takes no connection for a file."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.soak_hand import opened

CHILD = """
import os, socket, sys
files = [os.open(name, os.O_CREAT | os.O_RDWR) for name in sys.argv[1:]]
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
other = server.accept()[0]
print(flush=True)
input()
client.shutdown(socket.SHUT_WR)
assert other.recv(1) == b""
print(flush=True)
input()
for one in (client, other, server):
    one.close()
for one in files:
    os.close(one)
print(flush=True)
input()
"""
"""A process of its own, in which nothing else is opened or closed meanwhile."""

NAMES = ("arms-1-0-0-7gfay5ea.i64", "arms-12-0-0-a_7w536z.i64", "0.ab-000001.open")


def test_what_is_opened_is_named_by_its_kind_and_connections_are_no_files(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", CHILD, *(str(tmp_path / name) for name in NAMES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def step() -> tuple[int, Counter[str]]:
            assert child.stdout is not None
            assert child.stdout.readline() == b"\n"
            return opened(child.pid)

        def go() -> None:
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()

        connections, kinds = step()
        assert connections == 2
        assert (kinds["arms-*-*-*-*.i*"], kinds["socket 0A"]) == (2, 1)
        go()
        connections, half = step()
        assert connections == 0
        closing = half - kinds
        # The end that closed waits for the other's acknowledgement (04), or has it (05).
        assert closing.pop("socket 08") == 1, "half closed: a leak of the one who does not notice"
        assert closing.keys() <= {"socket 04", "socket 05"}
        assert closing.total() == 1
        go()
        connections, empty = step()
        assert connections == 0
        assert kinds - empty == Counter({"arms-*-*-*-*.i*": 2, "socket 0A": 1})
        go()
