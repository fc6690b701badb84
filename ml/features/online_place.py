"""Where a market's online features lie, for whoever reads them directly. Imports nothing of Feast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ml.features.online.direct import DirectReader
from ml.features.online.reader import Reader

PROJECT = "bidwright"
"""The project of feature_repo/feature_store.yaml."""


def view_folder(root: Path, project: str, view: str) -> Path:
    """The folder of a view below the store's own; no name leads out of it."""
    return root / quote(project, safe="").replace(".", "%2E") / quote(view, safe="").replace(".", "%2E")


def direct_reader(home: Path, market: str, view: str, features: Sequence[str]) -> DirectReader:
    """A market's view as matrices of these features, in their order; see `DirectReader.read`."""
    return DirectReader(Reader(view_folder(home / "feast" / f"{market}-online", PROJECT, view)), features)
