"""The usual port when it is free, another one when it is not."""

from __future__ import annotations

import socket

from local.ports import LOOPBACK, choose_port, free_port, is_free


def test_the_usual_port_is_kept_while_it_is_free() -> None:
    free = free_port()
    assert is_free(free)
    assert choose_port(free) == free


def test_a_port_in_use_or_spoken_for_is_not_chosen() -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        used = holder.getsockname()[1]
        assert not is_free(used)
        chosen = choose_port(used)
        assert chosen != used
    assert choose_port(chosen, taken=[chosen]) != chosen
