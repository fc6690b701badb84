"""Publication: a partner's bids for a day as Parquet and CSV, and a manifest that makes them count.

The manifest is written last: files without one are a publication that did not happen. A repeat of the
same day overwrites the same keys with the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING

from ml.core.digests import Digest, canonical_json, digest_bytes

if TYPE_CHECKING:
    import pandas as pd

    from ml.lake.blobs import BlobStore

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What a published table is, and which bytes it has.

    `expected` is what its bids are expected to do on a day, `daily_budget_micros` what the partner may charge on one; both
    are left out where they are not known.
    """

    market: str
    partner: str
    day: str
    version: str
    generation: int
    policy: str
    rows: int
    files: dict[str, str]
    expected: dict[str, float] | None = None
    daily_budget_micros: int | None = None
    format_version: int = FORMAT_VERSION

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json({name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class Published:
    """A publication: where it lies, its digest and its size."""

    partner: str
    uri: str
    digest: Digest
    rows: int


def publish_table(
    blobs: BlobStore,
    table: pd.DataFrame,
    *,
    market: str,
    partner: str,
    day: date,
    version: str,
    generation: int,
    policy: str,
    files: Mapping[str, bytes] | None = None,
    expected: Mapping[str, float] | None = None,
    daily_budget_micros: int | None = None,
) -> Published:
    """Write one partner's table, and its own `files`, for one market day; the same call again leaves the same bytes.

    The digest is that of the manifest, which holds the digests of the files.
    """
    prefix = f"bids/{market}/{partner}/{day.isoformat()}"
    written = {"bids.parquet": _parquet(table), "bids.csv": table.to_csv(index=False, lineterminator="\n").encode()}
    written |= {f"partner/{name}": data for name, data in (files or {}).items()}
    for name, data in written.items():
        blobs.put(f"{prefix}/{name}", data)
    manifest = Manifest(
        market=market,
        partner=partner,
        day=day.isoformat(),
        version=version,
        generation=generation,
        policy=policy,
        rows=len(table),
        files={name: digest_bytes(data) for name, data in written.items()},
        expected=None if expected is None else dict(expected),
        daily_budget_micros=daily_budget_micros,
    ).to_bytes()
    blobs.put(f"{prefix}/manifest.json", manifest)
    return Published(partner=partner, uri=prefix, digest=digest_bytes(manifest), rows=len(table))


def read_table(blobs: BlobStore, uri: str, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A published table, after its bytes were checked against its manifest; of `columns` those that it has."""
    import json

    import pyarrow.parquet as pq

    from ml.core.errors import CorruptArtefact

    manifest = json.loads(blobs.get(f"{uri}/manifest.json"))
    data = blobs.get(f"{uri}/bids.parquet")
    want, got = manifest["files"]["bids.parquet"], digest_bytes(data)
    if want != got:
        raise CorruptArtefact(
            f"the published bids {uri}/bids.parquet have digest {got[:12]}, their manifest says {want[:12]}",
            left="the bids were not used",
            next="publish the day again: bidwright publish-bids --day " + manifest["day"],
        )
    file = pq.ParquetFile(io.BytesIO(data))
    wanted = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
    table: pd.DataFrame = file.read(columns=wanted).to_pandas()
    return table


def read_budget(blobs: BlobStore, uri: str) -> int | None:
    """The daily budget of a publication, in micros; None where it has none."""
    import json

    found: int | None = json.loads(blobs.get(f"{uri}/manifest.json")).get("daily_budget_micros")
    return found


def read_files(blobs: BlobStore, uri: str) -> dict[str, bytes]:
    """The partner's own files of a publication by name, each checked against the manifest."""
    import json

    from ml.core.errors import CorruptArtefact

    listed = json.loads(blobs.get(f"{uri}/manifest.json"))["files"]
    found = {}
    for name, want in listed.items():
        folder, _, file = name.rpartition("/")
        if folder != "partner":
            continue
        found[file] = blobs.get(f"{uri}/{name}")
        if digest_bytes(found[file]) != want:
            raise CorruptArtefact(
                f"the published file {uri}/{name} is not the one in its manifest",
                left="the file was not used",
                next="publish the day again",
            )
    return found


def keep_aside(blobs: BlobStore, uri: str) -> None:
    """Copy a publication to `aside(uri)`, its manifest last, before something else is published in its place."""
    import json

    manifest = blobs.get(f"{uri}/manifest.json")
    for name in json.loads(manifest)["files"]:
        blobs.put(f"{aside(uri)}/{name}", blobs.get(f"{uri}/{name}"))
    blobs.put(f"{aside(uri)}/manifest.json", manifest)


def kept_aside(blobs: BlobStore, uri: str, *, version: str) -> str | None:
    """Where the publication of this version lies that a kill switch replaced; None where none was kept."""
    import json

    manifest = f"{aside(uri)}/manifest.json"
    found = blobs.exists(manifest) and json.loads(blobs.get(manifest))["version"] == version
    return aside(uri) if found else None


def aside(uri: str) -> str:
    """Where a publication is kept that a kill switch replaced; nobody who reads bids looks there.

    >>> aside("bids/simulator/google/2026-03-02")
    'replaced/simulator/google/2026-03-02'
    """
    return "replaced/" + uri.removeprefix("bids/")


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
