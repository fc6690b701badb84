"""Run under `unshare --mount`: every writer of the platform on a full tmpfs; one line of JSON for each.

Usage: python -m tests.faults.campaign.disk_child FOLDER
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.core.errors import StoreUnavailable
from ml.features.online.keys import words_of
from ml.features.online.reader import Reader
from ml.features.online.schema import Column, Dense, Rows, Schema
from ml.features.online.writer import upsert
from ml.lake.lake import Lake
from ml.lake.local import LocalBlobs
from ml.ledger import incidents, outbox
from ml.ledger.database import Database
from ml.promotion.bundle import read_bundle, write_bundle
from ml.promotion.keyring import Keyring, keep_secret
from ml.promotion.signature import Kind, SecretKey

DAY, AT = date(2026, 3, 2), datetime(2026, 3, 3, tzinfo=UTC)
BIG = 2_000_000
SCHEMA = Schema((("id", "text"),), (Column("a", "f8", "float64"),))


@contextmanager
def full(folder: Path) -> Iterator[bool]:
    """No byte of room, as far as we can tell; whether the file system said so."""
    filler, said = folder / "filler", False
    with filler.open("wb", buffering=0) as out:
        try:
            for size in (1 << 16, 1 << 10, 1):
                try:
                    while True:
                        out.write(b"x" * size)
                except OSError as error:
                    said = error.errno == errno.ENOSPC
            yield said
        finally:
            filler.unlink()


def rows(count: int) -> Rows:
    """Rows for the online store."""
    stamps = np.full(count, 1_767_225_600_000_000 + count)
    ids = words_of(SCHEMA.key_types, [[str(n) for n in range(count)]], names=["id"])
    return Rows(words=ids, event_us=stamps, created_us=stamps, columns={"a": Dense(np.arange(count, dtype=np.float64))})


def writers(folder: Path) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """Name, what it writes, and what may be seen of it while that failed: something true is a partial write."""
    blobs = LocalBlobs(folder / "blobs")
    yield "a blob", lambda: blobs.put("a/b", b"x" * BIG), lambda: blobs.list("")

    lake = Lake(LocalBlobs(folder / "lake"), "m")
    frame = pd.DataFrame({"x": np.random.default_rng(1).random(BIG // 8)})
    yield "a partition of the lake", lambda: lake.write("t", DAY, frame), lambda: lake.blobs.list("")

    secret = SecretKey.generate(Kind.RELEASE)
    keys = Keyring((secret.public,), secret)
    files = {"m/model.txt": b"x\n" * (BIG // 2), "golden.json": b"{}"}
    bundles = LocalBlobs(folder / "bundles")
    yield (
        "a bundle",
        lambda: read_bundle(bundles, write_bundle(bundles, artefacts=files, meta={}, keys=keys), keys),
        lambda: [key for key in bundles.list("") if key.endswith("manifest.json")],
    )

    key = folder / "keys" / "k"
    yield "a key", lambda: keep_secret(key, secret), key.exists

    view = folder / "online" / "v"
    upsert(view, SCHEMA, rows(10))
    yield "the online store", lambda: upsert(view, SCHEMA, rows(60_000)), lambda: _served(view) != 10

    db = Database.open(f"sqlite:///{folder / 'ledger.db'}")
    db.migrate()
    with closing(db):
        yield "the ledger", lambda: _report(db), lambda: incidents.all_incidents(db, "m", 10)


def _served(view: Path) -> int:
    found = Reader(view).snapshot()
    return len(found.live[0]) if found else 0


def _report(db: Database) -> None:
    with db.session() as session:
        found, _ = incidents.raise_incident(
            session, "m", "drift", day=DAY, severity="warning", title="t", details={}, at=AT
        )
        outbox.put(
            session, key="k", to="a", subject="s", text="t", html="h", incident_id=found.id, at=AT,
            attachments=[("report", "text/html", b"x" * BIG)],
        )  # fmt: skip


def tried(name: str, work: Callable[[], object], partial: Callable[[], Any], folder: Path) -> dict[str, Any]:
    """The writer on the full disk, and with room again."""
    error: BaseException | None = None
    with full(folder) as said:
        try:
            work()
        except Exception as raised:  # noqa: BLE001  (told in the result)
            error = raised
    seen = partial()
    again = "ok"
    try:
        work()
    except Exception as raised:  # noqa: BLE001
        again = repr(raised)
    typed = isinstance(error, StoreUnavailable)
    return {
        "writer": name,
        "full": said,
        "typed": typed,
        "error": repr(error)[:200],
        "partial": str(seen or ""),
        "again": again[:200],
    }


def main(folder: Path) -> None:
    """Mount, and try them one after the other; each has the file system for itself."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    for name, work, partial in writers(folder):
        sys.stdout.write(json.dumps(tried(name, work, partial, folder)) + "\n")
        for path in folder.iterdir():
            if path.name not in {"ledger.db", "ledger.db-wal", "ledger.db-shm"}:
                subprocess.run(["rm", "-rf", str(path)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
