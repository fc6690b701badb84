"""Batches of rows for the engine, and the view that they are written into."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A view's own folder, not made yet."""
    return tmp_path / "store" / "view"
