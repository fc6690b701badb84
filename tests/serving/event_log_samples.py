"""Decisions and segments for the tests of the event log."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.serving.event_log_frames import encode_event, footer, header, record
from ml.serving.messages import Scored

NOON = 1_772_798_400_000_000
"""2026-03-06 12:00 UTC."""
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Decision:
    trace_id: str = "0" * 32
    at_us: int = NOON
    body: bytes = b'{"key":"k","candidates":[{"id":"a","value_micros":1000},{"id":"b"}]}'
    digest: str = "d" * 64
    plan: str = "p" * 64
    generation: int = 3
    arm: int = 1
    arm_name: str = "baseline"
    share: float = 0.05
    step: int = 0
    pacing: float = 0.875
    shadow: bool = False
    scored: Scored = field(
        default_factory=lambda: Scored([250_000, 0], [0.1 + 0.2, 1e-300], [0, 2], 1, b"\x00\x01\xff")
    )


def segment(path: Path, decided: Sequence[Decision], *, sealed: bool = True) -> bytes:
    """Write a segment; its bytes."""
    data = header("m", path.stem.rpartition("-")[0], 1, 0) + b"".join(record(encode_event(one)) for one in decided)
    if sealed:
        data += footer(len(decided), hashlib.sha256(data).digest())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data
