"""A candidate served in a process of its own before any traffic: what it says there, and how fast.

The bundle goes to a fresh interpreter under limits (`ml.promotion.sandbox`), which loads it as a server would, scores the rows
it was sent, and answers with the bytes of its predictions and with the times of single rows. Here the same rows are scored
by the models in hand. A server with a protocol of its own takes the child's place by another `command` that answers alike.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.core.digests import canonical_json
from ml.promotion.evidence_bids import ServingRehearsal
from ml.promotion.sandbox import environment, packed

if TYPE_CHECKING:
    import pandas as pd

    from ml.models.protocol import BidModel
    from ml.promotion.bundle import Bundle

TIMEOUT_S = 120.0
COMMAND = (sys.executable, "-P", "-m", "ml.promotion.rehearsal_child")
TIMED = 200
"""Single rows whose prediction is timed."""


def rehearse_serving(
    bundle: Bundle,
    models: Mapping[str, BidModel],
    rows: Mapping[str, pd.DataFrame],
    *,
    timed: int = TIMED,
    timeout_s: float = TIMEOUT_S,
    command: Sequence[str] = COMMAND,
) -> ServingRehearsal:
    """Score rows in the child and here, and compare bit for bit.

    Args:
        bundle: the candidate's verified bytes.
        models: the same, loaded here.
        rows: for each model that is asked, rows that it can read.
        timed: how many single rows are timed.
        timeout_s: wall time after which the child is killed, in seconds.
        command: the program that does it; another one only in tests, or where a server is asked instead.

    Returns:
        What was found; a child that dies, hangs or answers nonsense is a fault, not an exception.
    """
    from ml.models.golden import plain_rows, read_rows

    sent = {name: plain_rows(frame, models[name]) for name, frame in rows.items()}
    question = canonical_json({"timed": timed, "rows": sent})
    try:
        done = subprocess.run(  # noqa: S603  (a fixed command, no shell)
            list(command),
            input=b"".join([len(question).to_bytes(8, "big"), question, packed(bundle)]),
            capture_output=True, timeout=timeout_s, env=environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ServingRehearsal(fault=f"it did not answer within {timeout_s:g} s")
    answer = _answer(done.stdout)
    if done.returncode != 0 or answer is None:
        return ServingRehearsal(fault=f"it ended with code {done.returncode} and without an answer")
    if answer["fault"]:
        return ServingRehearsal(fault=str(answer["fault"]))
    compared = matched = 0
    for name, columns in answer["said"].items():
        ours = models[name].predict(read_rows(sent[name]))
        for output in models[name].outputs:
            wanted = ours[output].to_numpy(dtype="<f8")
            got = np.frombuffer(base64.b64decode(columns[output]), dtype="<f8")
            compared += len(wanted)
            if len(got) == len(wanted):
                matched += int((got.view("<i8") == wanted.view("<i8")).sum())
    times = np.asarray(answer["times_ms"], dtype=np.float64)
    if set(answer["said"]) != set(rows) or not len(times):
        return ServingRehearsal(fault="it did not answer for every model")
    p50, p99 = np.quantile(times, [0.5, 0.99])
    return ServingRehearsal(
        compared=compared,
        matched_share=matched / compared if compared else None,
        timed=len(times),
        p50_ms=round(float(p50), 3),
        p99_ms=round(float(p99), 3),
        fault="",
    )


def _answer(output: bytes) -> dict[str, Any] | None:
    """The last line of what the child printed."""
    lines = output.strip().splitlines()
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) and "fault" in value else None
