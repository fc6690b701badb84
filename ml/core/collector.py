"""How often Python looks for cycles of garbage while a step works."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS, _YOUNG, _OLD = 50_000, 20, 100


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect cycles rarely for as long as this lasts.

    A step imports libraries and builds tables: objects by the hundred thousand, nearly all of which stay. By default (700, 10, 10)
    they are searched for cycles again and again: a twelfth of the time of a drift check that has yet to import what it needs.
    """
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, _YOUNG, _OLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
