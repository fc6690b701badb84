"""Open files: every connection is one, and so is what is loaded, logged and counted."""

from __future__ import annotations

import errno
import logging
import resource
from contextlib import suppress
from typing import Final

log = logging.getLogger("bidwright.serve")

OWN: Final = 256
"""So many are kept for what is no connection: some 30 are open throughout, more while a bundle is loaded."""

SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says when it has no more of them, or no memory for one."""


def room_for(connections: int) -> int:
    """How many connections this process may have, so that it can still load and log.

    Raises the process's own limit of open files as far as that needs and its hard limit allows: systems begin with 1,024.

    Args:
        connections: as many as are wanted; at least 1.

    Returns:
        As many as there is room for, at least 1.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OWN
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    room = max(1, min(connections, soft - OWN))
    if room < connections:
        log.warning(
            "at most %d connections instead of %d: this process may have %d open files; raise the hard limit (ulimit -Hn) to %d",
            *(room, connections, soft, needed),
        )
    return room
