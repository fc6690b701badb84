"""Laying rows and the index into a base's files, in parts, so that memory stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.features.online.files import Appended
from ml.features.online.manifest import Manifest
from ml.features.online.schema import Block, Places, Schema, Source

_PART_ROWS = 1 << 15


def append(
    folder: Path, manifest: Manifest, sources: Sequence[tuple[Source, Places]], *, on_part: Callable[[], None]
) -> Manifest:
    """Write rows behind those that the manifest's files hold; returns it with the new pieces and nulls."""
    schema, nulls = manifest.schema, set(manifest.nulls)
    with _files(folder, manifest) as files:
        for source, rows in sources:
            for begin in range(0, len(rows), _PART_ROWS):
                block = source.block(rows[begin : begin + _PART_ROWS], schema, manifest.width)
                _lay(files, manifest, block)
                nulls |= _with_nulls(schema, block)
                on_part()
        pieces = {name: file.close() for name, file in files.items()}
    former = {name: held for name, held in manifest.pieces.items() if name in pieces}
    found = {name: (*former.get(name, ()), piece) for name, piece in pieces.items()}
    return replace(manifest, pieces=found, nulls=frozenset(nulls))


def write_index(folder: Path, manifest: Manifest, hashes: npt.NDArray[np.uint64], rows: Places) -> Manifest:
    """Write the index of a generation: hashes ascending, and the row of each; returns the manifest that names it."""
    base = f"{manifest.base}."
    pieces = {name: held for name, held in manifest.pieces.items() if name.startswith(base) and not _is_index(name)}
    for name, array in zip(manifest.index, (hashes.astype("<u8"), rows.astype("<u4")), strict=True):
        file = Appended(folder / name, 0)
        file.write(array)
        pieces[name] = (file.close(),)
    return replace(manifest, pieces=pieces)


def _is_index(name: str) -> bool:
    return name.endswith((".hashes", ".rows"))


def file_names(manifest: Manifest) -> list[str]:
    """The files of a base, without those of the index."""
    schema, base = manifest.schema, manifest.base
    names = ["times", "flags", *schema.groups]
    names += ["keys"] if manifest.width > 1 else []
    names += [f"{number}.{part}" for number in range(len(schema.ragged)) for part in ("ends", "data")]
    return [f"{base}.{name}" for name in names]


@contextmanager
def _files(folder: Path, manifest: Manifest) -> Iterator[dict[str, Appended]]:
    files: dict[str, Appended] = {}
    try:
        for name in file_names(manifest):
            files[name] = Appended(folder / name, manifest.size(name))
        yield files
    finally:
        for file in files.values():
            file.close()


def _lay(files: dict[str, Appended], manifest: Manifest, block: Block) -> None:
    base = manifest.base
    files[f"{base}.times"].write(block.times)
    files[f"{base}.flags"].write(block.flags)
    if manifest.width > 1:
        files[f"{base}.keys"].write(block.words)
    for kind, matrix in block.dense.items():
        files[f"{base}.{kind}"].write(matrix)
    for number, column in enumerate(manifest.schema.ragged):
        lengths, data = block.ragged[column.name]
        ends, held = files[f"{base}.{number}.ends"], files[f"{base}.{number}.data"]
        ends.write(np.cumsum(lengths) + held.end)
        held.write(data)


def _with_nulls(schema: Schema, block: Block) -> set[str]:
    """The columns of a block in which there are nulls."""
    everywhere = np.bitwise_and.reduce(block.flags, axis=0)
    valid = np.unpackbits(everywhere, count=len(schema.columns))
    return {column.name for column, has in zip(schema.columns, valid, strict=True) if not has}
