"""Ports on the loopback interface: the usual one when it is free, else one that the system picks."""

from __future__ import annotations

import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without this a port whose last connection closed a moment ago would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose_port(usual: int, *, taken: Collection[int] = ()) -> int:
    """The usual port if it is free and not among `taken`, else a free one that the system picks."""
    return usual if usual not in taken and is_free(usual) else free_port(taken=taken)


def free_port(*, taken: Collection[int] = ()) -> int:
    """A free port that the system picks, not among `taken`."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
