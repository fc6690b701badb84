"""The workers of a service show each other their numbers, so that any of them can answer for all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class Peers:
    """The numbers of the workers in a folder of their own, one small file each, replaced as a whole.

    Args:
        folder: which the workers share.
        name: of this worker.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def tell(self, state: Mapping[str, Any]) -> None:
        """Show this worker's numbers; a full disk only means that the others see old ones."""
        with contextlib.suppress(OSError):
            new = self._folder / f".{self._name}"
            new.write_bytes(msgspec.json.encode(state))
            new.replace(self._folder / f"{self._name}.json")

    def forget(self) -> None:
        """Show no numbers of this worker any more: it has ended."""
        with contextlib.suppress(OSError):
            (self._folder / f"{self._name}.json").unlink()

    def others(self) -> dict[str, dict[str, Any]]:
        """What the others showed last, by name."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self._folder.glob("*.json")):
            if path.stem != self._name:
                with contextlib.suppress(OSError, msgspec.DecodeError):
                    found[path.stem] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return found
