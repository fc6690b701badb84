"""Writing a view: the newest row of each entity is kept, and a reader sees all of a write or nothing.

Rows are appended to the files of the current base, or, where more than a third of these would be replaced rows, all are
written into files of a new base. Only then a new index and manifest are written and CURRENT is swapped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.core.errors import CorruptArtefact, SchemaBreak
from ml.features.online.files import clear_errors, one_writer, sync_files, sync_folder
from ml.features.online.keys import hashed
from ml.features.online.layout import append, write_index
from ml.features.online.manifest import CURRENT, Manifest, candidates
from ml.features.online.reader import newest
from ml.features.online.schema import Batches, Flags, Ints, Places, Rows, Schema, Source, Words, widened
from ml.features.online.snapshot import Snapshot

STEPS: Final = ("locked", "part", "data", "index", "manifest", "synced", "swapped", "cleared")
"""What a write has done when `on_step` is called with the name; `part` comes once for each part of the rows."""
_REPLACED_SHARE = 1 / 3
_PIECES = 64
"""Appended pieces after which everything is written anew."""

Step = Callable[[str], None]


def upsert(
    folder: Path, schema: Schema, rows: Rows | Batches, *, on_step: Step = lambda _name: None
) -> Manifest | None:
    """Keep the newest row of each entity: by event timestamp, then created timestamp, then the order of writing.

    Args:
        folder: the view's own folder; made if missing.
        schema: the view's keys and columns. Where they differ from those in the files, columns of the same name and
            type are kept and others are null in the rows that are not written again.
        rows: any number, an entity more than once too.
        on_step: called with each of STEPS when it is done.

    Returns:
        The generation written; None where no row is newer than what is there.

    Raises:
        SchemaBreak: the files hold other keys.
        CorruptArtefact: the files are in another format, or no generation of them is whole.
        StoreUnavailable: another process is writing, or the disk refuses.
    """
    with _writing(folder, on_step) as (before, whole):
        if before is not None and before.schema.keys != schema.keys:
            raise SchemaBreak(
                f"{folder} is keyed by {_said(before.schema)}, not by {_said(schema)}",
                left="nothing was written, and what was there is served",
                next="move the folder away and materialise the view again",
            )
        chosen = _newest_of_each(rows)
        replaced = np.full(len(chosen), -1, dtype=np.intp)
        if before is not None:
            replaced = before.find(rows.words[chosen])
            newer = _not_older(before, replaced, rows, chosen)
            chosen, replaced = chosen[newer], replaced[newer]
            if not len(chosen):
                return None
        return _write(_Write(folder, schema, before, whole, on_step), rows, chosen, replaced)


def delete(folder: Path, words: Words, *, on_step: Step = lambda _name: None) -> int:
    """Forget entities; returns how many there were. Their bytes go when the files are next written anew."""
    with _writing(folder, on_step) as (before, whole):
        if before is None:
            return 0
        gone = before.find(words)
        hashes, live = before.live
        kept = ~np.isin(live, gone[gone >= 0])
        manifest = replace(before.manifest, generation=_next(folder), live=int(kept.sum()))
        _commit(_Write(folder, before.schema, before, whole, on_step), manifest, hashes[kept], live[kept])
        return len(live) - manifest.live


def compact(folder: Path, *, on_step: Step = lambda _name: None) -> None:
    """Write all live rows into files of a new base."""
    with _writing(folder, on_step) as (before, whole):
        if before is not None:
            write = _Write(folder, before.schema, before, whole, on_step)
            _rewrite(write, before.manifest.width, [(before, before.live[1])])


def drop(folder: Path) -> None:
    """Remove a view; readers that have it open keep what they have."""
    if not folder.is_dir():
        return
    with clear_errors(folder), one_writer(folder):
        gone = folder.with_name(f".{folder.name}.dropped")
        shutil.rmtree(gone, ignore_errors=True)
        folder.replace(gone)  # at once: no reader finds half a view
        shutil.rmtree(gone)


@dataclass(frozen=True)
class _Write:
    """A write under way: where, what it starts from, and whether that is the current generation, undamaged."""

    folder: Path
    schema: Schema
    before: Snapshot | None
    whole: bool
    on_step: Step


@contextmanager
def _writing(folder: Path, on_step: Step) -> Iterator[tuple[Snapshot | None, bool]]:
    with clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with one_writer(folder):
            on_step("locked")
            before, damage = newest(folder)
            yield before, damage is None


def _write(write: _Write, rows: Rows | Batches, chosen: Places, replaced: Places) -> Manifest:
    before = write.before
    if before is None:
        return _rewrite(write, rows.words.shape[1], [(rows, chosen)])
    width = max(rows.words.shape[1], before.manifest.width)
    hashes, live = before.live
    kept = np.ones(before.manifest.rows, dtype=np.bool_)
    kept[replaced[replaced >= 0]] = False
    stays = kept[live]
    entities, total = int(stays.sum()) + len(chosen), before.manifest.rows + len(chosen)
    appends = (
        write.whole  # else a reader may have more of these files mapped than is left of them
        and before.schema == write.schema
        and before.manifest.width == width
        and total - entities <= _REPLACED_SHARE * total
        and len(before.manifest.pieces[f"{before.manifest.base}.times"]) < _PIECES
    )
    if not appends:
        return _rewrite(write, width, [(before, live[stays]), (rows, chosen)])
    manifest = replace(before.manifest, generation=_next(write.folder), live=entities, rows=total)
    manifest = append(write.folder, manifest, [(rows, chosen)], on_part=lambda: write.on_step("part"))
    write.on_step("data")
    fresh = hashed(widened(rows.words[chosen], width))
    order = np.argsort(fresh, kind="stable")
    numbers = np.arange(before.manifest.rows, total)
    at = np.searchsorted(hashes[stays], fresh[order])
    merged = np.insert(hashes[stays], at, fresh[order]), np.insert(live[stays], at, numbers[order])
    return _commit(write, manifest, *merged)


def _rewrite(write: _Write, width: int, sources: Sequence[tuple[Source, Places]]) -> Manifest:
    """Write everything into files of a new base."""
    number, total = _next(write.folder), sum(len(rows) for _, rows in sources)
    empty = Manifest(number, number, write.schema, width, total, total)
    manifest = append(write.folder, empty, sources, on_part=lambda: write.on_step("part"))
    write.on_step("data")
    found = hashed(np.concatenate([widened(source.keys_of(rows), width) for source, rows in sources]))
    order = np.argsort(found, kind="stable")
    return _commit(write, manifest, found[order], order)


def _commit(write: _Write, manifest: Manifest, hashes: npt.NDArray[np.uint64], rows: Places) -> Manifest:
    """Write the index and the manifest, make the manifest current, and remove what no kept generation needs."""
    folder = write.folder
    manifest = write_index(folder, manifest, hashes, rows)
    write.on_step("index")
    fresh = folder / f"{CURRENT}.next"
    (folder / manifest.name).write_bytes(manifest.to_bytes())
    fresh.write_bytes(manifest.name.encode())
    write.on_step("manifest")
    touched = [name for name, pieces in manifest.pieces.items() if pieces[-1][1]]
    sync_files(folder, [*touched, manifest.name, fresh.name])
    write.on_step("synced")
    fresh.replace(folder / CURRENT)
    sync_folder(folder)
    write.on_step("swapped")
    _clear(folder, manifest, write.before.manifest if write.before else None)
    write.on_step("cleared")
    return manifest


def _clear(folder: Path, current: Manifest, before: Manifest | None) -> None:
    """Keep the current generation, the one it was made from, and the newest one of an earlier base; remove all else."""
    kept = [current] if before is None else [current, before]
    if before is not None and before.base == current.base:
        kept += [former for former in _manifests(folder) if former.base < current.base][:1]
    names = {CURRENT, "LOCK"} | {one.name for one in kept} | {name for one in kept for name in one.pieces}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)


def _manifests(folder: Path) -> Iterator[Manifest]:
    """Those that can be read, newest first."""
    for path in candidates(folder):
        try:
            yield Manifest.from_bytes(path.read_bytes(), path=path)
        except (CorruptArtefact, FileNotFoundError):
            continue


def _next(folder: Path) -> int:
    """A generation above every one of which there is a trace, so that no name is written twice."""
    return 1 + max((int(path.name.split(".")[0]) for path in folder.glob("[0-9]*.*")), default=0)


def _newest_of_each(rows: Rows | Batches) -> Places:
    """The places of the newest row of each key in a batch, ascending."""
    found = hashed(rows.words)
    order = np.argsort(found, kind="stable")
    ordered = found[order]
    if not (ordered[1:] == ordered[:-1]).any():
        return np.arange(len(rows))
    order = np.lexsort((rows.created_us, rows.event_us, *rows.words.T))
    words = rows.words[order]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = (words[1:] != words[:-1]).any(axis=1)
    return np.sort(order[last])


def _not_older(before: Snapshot, replaced: Places, rows: Rows | Batches, chosen: Places) -> Flags:
    """Which of the chosen rows are new, or at least as new as the row that they would replace."""
    if not len(before.times):
        return np.ones(len(chosen), dtype=np.bool_)
    times: Ints = before.times[replaced]  # of what is new any row: it is not looked at
    event, created = rows.event_us[chosen], rows.created_us[chosen]
    newer = (event > times[:, 0]) | ((event == times[:, 0]) & (created >= times[:, 1]))
    found: Flags = (replaced < 0) | newer
    return found


def _said(schema: Schema) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in schema.keys)
