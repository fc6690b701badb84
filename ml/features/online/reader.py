"""Reading a view: the newest generation that is whole, found anew when a writer has moved on."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.features.online.manifest import CURRENT, Manifest, OtherFormat, candidates
from ml.features.online.snapshot import Checked, Snapshot

_LOG = logging.getLogger(__name__)
_TRIES = 20
"""How often files may go away between being named and being opened: each time a writer has finished a generation."""
_Seen = tuple[int, int, int]


class Reader:
    """A view as a process reads it. Never waits for a writer; may be shared by threads.

    Attributes:
        damage: what is wrong with the current generation while the one before it is served; None if nothing is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damage: CorruptArtefact | None = None
        self._current = os.fspath(folder / CURRENT)
        self._state: tuple[_Seen | None, Snapshot | None] | None = None

    def snapshot(self) -> Snapshot | None:
        """The newest generation, None where nothing was written yet. Costs one `stat` while nothing has changed.

        Raises:
            CorruptArtefact: no generation is whole, or the files are in another format.
        """
        state, seen = self._state, self._stat()
        if state is not None and state[0] == seen:
            return state[1]
        former = state[1] if state else None
        found, self.damage = newest(self.folder, former=former)
        self._state = seen, found  # in one step, so that another thread sees both or neither
        return found

    def _stat(self) -> _Seen | None:
        try:
            found = os.stat(self._current)  # noqa: PTH116  (a third of the time of Path.stat, at every read)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def newest(folder: Path, *, former: Snapshot | None = None) -> tuple[Snapshot | None, CorruptArtefact | None]:
    """The newest whole generation of a view, and what is wrong with a newer one.

    Raises:
        CorruptArtefact: there are generations and none is whole.
    """
    for _ in range(_TRIES):
        try:
            return _newest(folder, former.checked if former else frozenset())
        except FileNotFoundError:
            continue
    raise StoreUnavailable(f"{folder} changes faster than it can be read", next="try again")


def _newest(folder: Path, checked: frozenset[Checked]) -> tuple[Snapshot | None, CorruptArtefact | None]:
    damage: CorruptArtefact | None = None
    paths = list(candidates(folder))
    for path in paths:
        try:
            snapshot = Snapshot(folder, Manifest.from_bytes(path.read_bytes(), path=path), checked=checked)
        except OtherFormat:
            raise
        except CorruptArtefact as error:
            damage = damage or error
        except FileNotFoundError as error:
            if next(candidates(folder), None) != paths[0]:
                raise  # a writer has moved on
            damage = damage or CorruptArtefact(f"{error.filename} is gone")
        else:
            return snapshot, _told(folder, damage, snapshot) if damage else None
    if damage is None:
        return None, None
    raise CorruptArtefact(
        f"the online features in {folder} are damaged: {damage.what}",
        left="there is no earlier generation to serve",
        next="move the folder away and materialise the view again",
    )


def _told(folder: Path, damage: CorruptArtefact, snapshot: Snapshot) -> CorruptArtefact:
    error = CorruptArtefact(
        f"the online features in {folder} are damaged: {damage.what}",
        left=f"generation {snapshot.manifest.generation}, the one before, is served",
        next="materialise the view again",
    )
    _LOG.error("%s", error)
    return error
