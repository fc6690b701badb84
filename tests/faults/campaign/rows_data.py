"""Rows about data: deliveries that come again, and files that are damaged on their way to us."""

from __future__ import annotations

import gzip
import io
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.core.digests import digest_bytes
from ml.core.errors import BidwrightError
from ml.core.settings import load_settings
from ml.features.build import build_days, market_views
from ml.lake.blobs import open_blobs
from ml.lake.lake import Lake
from ml.ledger.database import Database
from ml.ledger.partitions import digests
from ml.market.files import Files, export
from ml.market.ingest import ingest_day
from ml.market.simulator.source import FIRST_DAY, Simulator
from tests.faults.campaign.core import Ask, Row, Tally, Trial
from tests.faults.campaign.rows_existing import tests

AT = datetime(2030, 1, 1, tzinfo=UTC)
DAYS = (FIRST_DAY, FIRST_DAY + timedelta(days=1))
_BOMB_ROWS, _LIMIT_GB = 1_000_000, 0.01
Mutate = Callable[[bytes, random.Random], bytes]


def _flipped(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _bomb(data: bytes, _rng: random.Random) -> bytes:
    """The first row a million times: a few kilobytes."""
    sink, row = io.BytesIO(), pq.read_table(io.BytesIO(data)).slice(0, 1)
    repeated = [
        pa.repeat(column[0] if len(column) else pa.scalar(None, column.type), _BOMB_ROWS) for column in row.columns
    ]
    pq.write_table(pa.table(repeated, names=row.column_names), sink, compression="zstd")
    return sink.getvalue()


MUTATIONS: Mapping[str, Mutate] = {
    "truncated": lambda data, rng: data[: rng.randrange(1, len(data))],
    "of no length": lambda _data, _rng: b"",
    "wrong footer": lambda data, rng: data[:-12] + rng.randbytes(8) + data[-4:],
    "a bit turned over": _flipped,
    "garbage in the middle": lambda data, rng: (
        data[: len(data) // 2] + rng.randbytes(200) + data[len(data) // 2 + 200 :]
    ),
    "gzipped": lambda data, _rng: gzip.compress(data, mtime=0),
    "CSV under Parquet's name": lambda _data, rng: (
        "hotel_id;ä\n".encode("latin-1" if rng.random() < 0.5 else "utf-16") * 9
    ),
    "a million rows in a few kilobytes": _bomb,
    "another table's bytes": lambda _data, _rng: b"PAR1" + b"\0" * 64 + b"PAR1",
}


DELIVERED_AGAIN = tests(
    "features/online/test_contract.py::test_the_same_row_again_changes_nothing",
    "features/online/test_engine.py::test_many_writes_in_any_order_end_with_the_newest_rows",
    "market/test_ingest.py::test_the_same_delivery_again_changes_nothing",
    "market/test_ingest.py::test_a_day_that_returns_to_its_first_form_is_logged_again",
    "market/test_ingest.py::test_repeated_rows_are_quarantined_and_never_reject_a_day",
    "market/test_ingest_faults.py::test_a_file_delivered_twice_under_two_names_lands_once",
    "features/test_materialize.py::test_running_it_again_changes_nothing",
    proof="the second delivery was made, and its rows counted",
)
_SHUFFLED = "days delivered 1 to 5 times, shuffled"
_REPLAYS, _REPLAYED_DAYS = {False: 3, True: 100}, 4


def delivered_again(ask: Ask, tally: Tally) -> None:
    """R12: what tests show of single deliveries, and days of a market delivered 1 to 5 times in any order."""
    DELIVERED_AGAIN(ask, tally)
    settings = load_settings(home=ask.folder, simulator_opportunities_per_day=400, simulator_hotels=40)
    source = Simulator.from_settings(settings)
    days = [FIRST_DAY + timedelta(days=number) for number in range(_REPLAYED_DAYS)]
    expected = _state(ask.folder / "once", source, days)
    first = ask.before.get(_SHUFFLED, 0)
    for number in range(first, first + ask.repeats * _REPLAYS[ask.full]):
        rng = random.Random(number)  # noqa: S311  (an order)
        order = [day for day in days for _ in range(rng.randint(1, 5))]
        rng.shuffle(order)
        with tally.trial(_SHUFFLED) as trial:
            trial.proof("days came again, or out of their order", order != days)
            home = ask.folder / f"again{number}"
            found = _state(home, source, order)
            trial.expect(
                f"the state differs in {sorted(set(found.items()) ^ set(expected.items()))[:2]}", found == expected
            )
            shutil.rmtree(home)


def _state(home: Path, source: Simulator, order: Sequence[date]) -> dict[str, str]:
    """Digests of every partition and of every feature table after these deliveries; features are built after each."""
    lake, db = _stores(home)
    with closing(db):
        for day in order:
            ingest_day(source, lake, db, market="m", day=day, at=AT)
        for day in order:
            build_days(lake, market_views(lake).values(), [day])
        found = {f"{day} {table}": digest for day in order for table, digest in digests(db, "m", day).items()}
    return found | {key: digest_bytes(lake.blobs.get(key)) for key in lake.blobs.list("")}


def corrupt_files(ask: Ask, tally: Tally) -> None:
    """R16."""
    settings = load_settings(home=ask.folder, simulator_opportunities_per_day=400, simulator_hotels=40)
    data = ask.folder / "data"
    export(Simulator.from_settings(settings), list(DAYS), open_blobs(str(data), cache=ask.folder))
    files = sorted(data.rglob(f"*{DAYS[0]}.parquet"))
    whole = {file: file.read_bytes() for file in files}
    expected = _landed(ask.folder / "whole", data)
    for kind, mutate in MUTATIONS.items():
        first = ask.before.get(kind, 0)
        for number in range(first, first + ask.repeats):
            rng = random.Random(f"{kind}{number}")  # noqa: S311  (which byte is damaged)
            file = files[rng.randrange(len(files))]
            with tally.trial(kind) as trial:
                damaged = mutate(whole[file], rng)
                file.write_bytes(damaged)
                trial.proof("the file's bytes are others", file.read_bytes() != whole[file])
                try:
                    _deliver(ask.folder / f"{kind}{number}", data, expected, trial)
                    trial.expect(f"{len(damaged)} bytes are no bomb", mutate is not _bomb or len(damaged) < 100_000)
                finally:
                    file.write_bytes(whole[file])


def _landed(home: Path, data: Path) -> list[Mapping[str, str]]:
    lake, db = _stores(home)
    with closing(db):
        for day in DAYS:
            ingest_day(_source(data), lake, db, market="m", day=day, at=AT)
        return [dict(digests(db, "m", day)) for day in DAYS]


def _deliver(home: Path, data: Path, expected: list[Mapping[str, str]], trial: Trial) -> None:
    lake, db = _stores(home)
    with closing(db):
        try:
            landing = ingest_day(_source(data), lake, db, market="m", day=DAYS[0], at=AT)
        except BidwrightError:
            trial.expect("a day that was refused left something", not digests(db, "m", DAYS[0]))
            trial.expect(
                "a day that was refused left a table",
                not [key for key in lake.blobs.list("") if "quarantine" not in key],
            )
        else:
            trial.expect("more rows were taken than fit", landing.rows_in < _BOMB_ROWS)
            # Parquet checks no sums: a value may change within its type, and is then judged like any value.
            trial.expect("rows went missing", landing.accepted + landing.quarantined == landing.rows_in)
        ingest_day(_source(data), lake, db, market="m", day=DAYS[1], at=AT)
        trial.expect("the other day did not land as ever", dict(digests(db, "m", DAYS[1])) == expected[1])


def _source(data: Path) -> Files:
    return Files(open_blobs(str(data), cache=data), where=str(data), file_gb=_LIMIT_GB)


def _stores(home: Path) -> tuple[Lake, Database]:
    home.mkdir()
    db = Database.open(f"sqlite:///{home / 'ledger.db'}")
    db.migrate()
    return Lake(open_blobs(str(home / "lake"), cache=home / "cache"), "m"), db


ROWS = {
    "R12": Row(
        "Duplicate delivery",
        "the same rows, files and days again, in other orders",
        "the state is that of one delivery, bit for bit",
        "500 cases",
        delivered_again,
        short=1,
        full=5,
    ),
    "R16": Row(
        "A damaged file",
        "truncated, empty, wrong footer, bits turned over, garbage, gzip, other encodings, a million rows in a few kilobytes",
        "the day is refused with an error of ours and leaves nothing, or every row is accepted or quarantined; the other day lands as ever",
        "300",
        corrupt_files,
        short=3,
        full=38,
    ),
}
