"""What was asked of an engine, kept as text: the queries that made a training set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_KEPT: ContextVar[list[str] | None] = ContextVar("queries", default=None)
_MADE_UP = re.compile(r"ibis_\w*memtable_\w+")


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Every statement that an engine is given within the block, in their order; equal questions are equal texts."""
    kept: list[str] = []
    token = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(token)


def record(statement: Callable[[], str]) -> None:
    """Keep a statement where somebody wants to know; names that Ibis makes up are replaced by `memtable`."""
    kept = _KEPT.get()
    if kept is not None:
        kept.append(_MADE_UP.sub("memtable", statement()))
