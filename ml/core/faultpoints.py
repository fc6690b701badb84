"""Named places at which a test kills or stops the process; elsewhere they do nothing.

`BIDWRIGHT_FAULTPOINT=promote.in_move` kills the process with SIGKILL when it comes to that place, as a failing machine
would; `BIDWRIGHT_FAULTPOINT=stop:promote.before_move` stops it with SIGSTOP, so that it wakes later as a zombie whose work
somebody else has done. Places named `.in_` lie within a transaction.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "BIDWRIGHT_FAULTPOINT"
STOP: Final = "stop:"

POINTS: Final = (
    "promote.before_decision",
    "promote.after_decision",
    "promote.before_move",
    "promote.in_move",
    "promote.after_move",
    "rollout.before_enqueue",
    "rollout.in_enqueue",
    "rollout.after_enqueue",
    "rollout.before_start",
    "rollout.in_start",
    "rollout.before_judge",
    "rollout.before_step",
    "rollout.in_step",
    "rollout.before_promote",
    "rollout.in_promote",
    "rollout.after_promote",
    "rollout.before_stop",
    "rollout.in_stop",
    "rollout.after_stop",
    "rollback.before",
    "rollback.in_decision",
    "rollback.in_move",
    "rollback.in_bar",
    "rollback.after",
)
"""Every place there is, in the order of the work."""


def faultpoint(name: str) -> None:
    """Do nothing, unless the environment names this place."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    if wanted == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == STOP + name:
        # Once: who wakes and comes by again, because it begins anew, goes on.
        del os.environ[VARIABLE]
        os.kill(os.getpid(), signal.SIGSTOP)
