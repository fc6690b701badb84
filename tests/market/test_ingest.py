"""A market day lands once, whole, and with an account of every row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pandas as pd
import pytest

from ml.core.digests import Digest
from ml.core.errors import DayRejected, NoData, SchemaBreak
from ml.lake.lake import Lake
from ml.ledger.database import Database
from ml.ledger.partitions import current, digests, history
from ml.market.ingest import Landing, ingest_range
from ml.market.quarantine import QUARANTINE
from ml.market.simulator.source import FIRST_DAY, Simulator
from ml.market.tables import TABLES
from tests.market.conftest import AT, Canned, Ingest

DAY = FIRST_DAY
NEXT = DAY + timedelta(days=1)
DELIVERED = ("hotels", "opportunities", "clicks", "bookings", "booking_events")


def spoil(frame: pd.DataFrame, rows: int, column: str = "hotel_id") -> pd.DataFrame:
    """The first `rows` rows lose the value of a column."""
    values = frame[column].astype(object)
    values.iloc[:rows] = None
    return frame.assign(**{column: values})


def everything(lake: Lake) -> dict[str, Digest | None]:
    """Every partition in the lake with its digest."""
    return {
        key: lake.digest(key.split("/")[1], date.fromisoformat(key.split("=")[1][:10])) for key in lake.blobs.list("")
    }


def test_a_day_lands_with_every_table_and_is_logged(canned: Canned, ingest: Ingest, lake: Lake, db: Database) -> None:
    landing = ingest(canned)
    assert set(landing.tables) == set(DELIVERED)
    assert landing.quarantined == 0
    assert landing.accepted == landing.rows_in == sum(len(frame) for frame in canned.days[DAY].values())
    assert digests(db, "m", DAY) == {name: table.digest for name, table in landing.tables.items()}
    for name, table in landing.tables.items():
        assert lake.digest(name, DAY) == table.digest
        assert not table.unchanged
        assert table.replaced is None
        TABLES[name].schema.validate(lake.read(name, DAY)) if name != "bids" else None
    assert lake.days(QUARANTINE) == []


def test_what_lands_is_what_was_delivered(canned: Canned, ingest: Ingest, lake: Lake) -> None:
    ingest(canned)
    for name in DELIVERED:
        delivered = canned.days[DAY][name][list(TABLES[name].names)]
        pd.testing.assert_frame_equal(lake.read(name, DAY), delivered, check_dtype=False)


def test_the_same_delivery_again_changes_nothing(canned: Canned, ingest: Ingest, lake: Lake, db: Database) -> None:
    canned.days[DAY]["bookings"] = spoil(canned.days[DAY]["bookings"], 2)
    first = ingest(canned)
    before = everything(lake)
    times = {key: lake.blobs.local_path(key).stat().st_mtime_ns for key in before}
    again = ingest(canned)
    assert again.unchanged
    assert not first.unchanged
    assert {name: table.digest for name, table in again.tables.items()} == digests(db, "m", DAY)
    assert everything(lake) == before
    assert {key: lake.blobs.local_path(key).stat().st_mtime_ns for key in before} == times  # no file was rewritten
    assert [len(history(db, "m", name, DAY)) for name in DELIVERED] == [1] * len(DELIVERED)


def test_a_restated_day_overwrites_itself_and_its_former_digest_stays_in_the_log(
    canned: Canned, ingest: Ingest, lake: Lake, db: Database
) -> None:
    first = ingest(canned)
    restated = canned.days[DAY]["clicks"].assign(cpc_micros=70_000)
    canned.days[DAY]["clicks"] = restated
    second = ingest(canned)
    assert {name: table.unchanged for name, table in second.tables.items() if not table.unchanged} == {"clicks": False}
    assert second.tables["clicks"].replaced == first.tables["clicks"].digest
    assert lake.read("clicks", DAY)["cpc_micros"].unique().tolist() == [70_000]
    log = history(db, "m", "clicks", DAY)
    assert [entry.digest for entry in log] == [first.tables["clicks"].digest, second.tables["clicks"].digest]
    assert log[-1].replaced == log[0].digest


def test_a_day_that_returns_to_its_first_form_is_logged_again(canned: Canned, ingest: Ingest, db: Database) -> None:
    original = canned.days[DAY]["clicks"]
    first = ingest(canned)
    canned.days[DAY]["clicks"] = original.assign(cpc_micros=70_000)
    ingest(canned)
    canned.days[DAY]["clicks"] = original
    ingest(canned)
    assert current(db, "m", "clicks", DAY).digest == first.tables["clicks"].digest  # type: ignore[union-attr]
    assert len(history(db, "m", "clicks", DAY)) == 3


def test_bad_rows_go_to_the_quarantine_and_the_rest_lands(
    canned: Canned, ingest: Ingest, lake: Lake, db: Database
) -> None:
    rows = len(canned.days[DAY]["bookings"])
    canned.days[DAY]["bookings"] = spoil(canned.days[DAY]["bookings"], 5)
    canned.days[DAY]["hotels"] = spoil(canned.days[DAY]["hotels"], 1, "city")
    landing = ingest(canned)
    gone = canned.days[DAY]["hotels"]["hotel_id"].iloc[0]
    orphans = int((canned.days[DAY]["bookings"]["hotel_id"] == gone).sum())
    booked = landing.tables["bookings"]
    assert (booked.rows_in, booked.accepted, booked.quarantined) == (rows, rows - 5 - orphans, 5 + orphans)
    assert booked.reasons == {"null:hotel_id": 5} | ({"orphan:hotel_id": orphans} if orphans else {})
    assert gone not in set(lake.read("opportunities", DAY)["hotel_id"])
    quarantine = lake.read(QUARANTINE, DAY)
    assert len(quarantine) == landing.quarantined
    assert list(quarantine.columns) == ["table", "key", "reason", "row", "known_at"]
    logged = current(db, "m", "bookings", DAY)
    assert logged is not None
    assert (logged.accepted, logged.quarantined, dict(logged.reasons)) == (
        booked.accepted,
        booked.quarantined,
        booked.reasons,
    )


def test_a_corrected_day_leaves_no_quarantine_behind(canned: Canned, ingest: Ingest, lake: Lake) -> None:
    whole = canned.days[DAY]["bookings"]
    canned.days[DAY]["bookings"] = spoil(whole, 5)
    ingest(canned)
    assert lake.days(QUARANTINE) == [DAY]
    canned.days[DAY]["bookings"] = whole
    assert ingest(canned).quarantined == 0
    assert lake.days(QUARANTINE) == []


def test_too_many_bad_rows_reject_the_day_and_only_the_quarantine_is_written(
    canned: Canned, ingest: Ingest, lake: Lake, db: Database
) -> None:
    canned.days[DAY]["bookings"] = spoil(canned.days[DAY]["bookings"], 21)
    with pytest.raises(DayRejected, match=r"2025-01-06 was rejected: 21 of \d+ rows of bookings .* null:hotel_id"):
        ingest(canned)
    assert [key.split("/")[1] for key in everything(lake)] == [QUARANTINE]
    assert len(lake.read(QUARANTINE, DAY)) == 21
    assert digests(db, "m", DAY) == {}


def test_a_rejected_restatement_leaves_the_landed_day_as_it_was(
    canned: Canned, ingest: Ingest, lake: Lake, db: Database
) -> None:
    ingest(canned)
    before, logged = everything(lake), digests(db, "m", DAY)
    canned.days[DAY]["bookings"] = spoil(canned.days[DAY]["bookings"], 30)
    with pytest.raises(DayRejected):
        ingest(canned)
    after = everything(lake)
    assert {key: digest for key, digest in after.items() if QUARANTINE not in key} == before
    assert digests(db, "m", DAY) == logged


@pytest.mark.parametrize("bad", [20, 21])
def test_the_limit_is_more_than_twenty_rows_and_more_than_five_per_cent(
    canned: Canned, ingest: Ingest, bad: int
) -> None:
    """21 bad rows of 140 bookings are too many, 20 are not, and 21 of 1,400 opportunities are not either."""
    canned.days[DAY]["opportunities"] = spoil(canned.days[DAY]["opportunities"], 21)
    assert ingest(canned).quarantined == 21
    canned.days[DAY]["bookings"] = spoil(canned.days[DAY]["bookings"], bad)
    if bad == 20:
        assert ingest(canned).quarantined == 41
    else:
        with pytest.raises(DayRejected, match="bookings"):
            ingest(canned)


def test_repeated_rows_are_quarantined_and_never_reject_a_day(canned: Canned, ingest: Ingest) -> None:
    frames = canned.days[DAY]
    alone = ingest(canned)
    canned.days[DAY] = {name: pd.concat([frame, frame]) for name, frame in frames.items()}
    landing = ingest(canned)
    for name, table in landing.tables.items():
        assert table.reasons == {"repeated_row": len(frames[name])}
        assert table.digest == alone.tables[name].digest
    assert landing.unchanged


def test_a_schema_break_lands_nothing_and_names_day_table_and_column(
    canned: Canned, ingest: Ingest, lake: Lake, db: Database
) -> None:
    canned.days[DAY]["clicks"] = canned.days[DAY]["clicks"].rename(columns={"cpc_micros": "cpc_micro"})
    with pytest.raises(SchemaBreak, match=r"2025-01-06: the table clicks lacks the column 'cpc_micros'.*'cpc_micro'"):
        ingest(canned)
    assert everything(lake) == {}
    assert digests(db, "m", DAY) == {}


def test_a_delivery_without_one_of_its_tables_breaks_the_schema(canned: Canned, ingest: Ingest) -> None:
    del canned.days[NEXT]["clicks"]
    with pytest.raises(SchemaBreak, match="the delivery of 2025-01-07 lacks the table clicks"):
        ingest(canned, NEXT)


def test_a_day_that_the_source_does_not_have_is_no_data(canned: Canned, ingest: Ingest) -> None:
    with pytest.raises(NoData, match="2025-02-01"):
        ingest(canned, date(2025, 2, 1))


Range = Callable[..., list[Landing]]


@pytest.fixture
def bring(lake: Lake, db: Database, canned: Canned) -> Range:
    def run(days: list[date], seen: list[date] | None = None) -> list[Landing]:
        progress = None if seen is None else seen.append
        return ingest_range(canned, lake, db, market="m", days=days, at=AT, progress=progress)

    return run


def test_a_range_lands_what_each_day_alone_would_land(canned: Canned, bring: Range, ingest: Ingest) -> None:
    canned.days[NEXT]["bookings"] = spoil(canned.days[NEXT]["bookings"], 3)
    seen: list[date] = []
    landings = bring(sorted(canned.days), seen)
    assert seen == [landing.day for landing in landings] == sorted(canned.days)
    for landing in landings:
        alone = ingest(canned, landing.day)
        assert alone.unchanged
        assert {name: table.reasons for name, table in alone.tables.items()} == {
            name: table.reasons for name, table in landing.tables.items()
        }


def rename(canned: Canned) -> None:
    canned.days[NEXT]["bookings"] = canned.days[NEXT]["bookings"].rename(columns={"meal": "board"})


def overfill(canned: Canned) -> None:
    canned.days[NEXT]["bookings"] = spoil(canned.days[NEXT]["bookings"], 30)


def lose(canned: Canned) -> None:
    del canned.days[NEXT]


@pytest.mark.parametrize(("damage", "error"), [(rename, SchemaBreak), (overfill, DayRejected), (lose, NoData)])
def test_a_range_stops_at_a_bad_day_with_the_days_before_it_landed(
    canned: Canned, bring: Range, db: Database, damage: Callable[[Canned], None], error: type[Exception]
) -> None:
    days = sorted(canned.days)
    damage(canned)
    with pytest.raises(error, match="2025-01-07"):
        bring(days)
    assert [bool(digests(db, "m", day)) for day in days] == [True, False, False]


def test_a_run_that_died_between_files_and_log_is_simply_run_again(
    canned: Canned, ingest: Ingest, lake: Lake, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[int] = []

    def die(*_: object) -> None:
        died.append(1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ml.market.ingest.land", die)
        with pytest.raises(KeyboardInterrupt):
            ingest(canned)
    assert died == [1]
    assert lake.days("clicks") == [DAY]  # the files lie there
    assert digests(db, "m", DAY) == {}  # and nobody was told
    landing = ingest(canned)
    assert digests(db, "m", DAY) == {name: table.digest for name, table in landing.tables.items()}


def test_a_partition_that_was_lost_or_damaged_is_written_again(canned: Canned, ingest: Ingest, lake: Lake) -> None:
    landing = ingest(canned)
    lake.delete("clicks", DAY)
    lake.blobs.put(lake.key("bookings", DAY), b"damaged")
    again = ingest(canned)
    assert {name for name, table in again.tables.items() if not table.unchanged} == {"clicks", "bookings"}
    for name in ("clicks", "bookings"):
        assert lake.digest(name, DAY) == landing.tables[name].digest


def test_a_late_cancellation_never_reaches_yesterdays_partition(simulator: Simulator, lake: Lake, db: Database) -> None:
    """What a day taught is closed with the day: later days add partitions and change none."""
    days = [DAY + timedelta(days=n) for n in range(6)]
    ingest_range(simulator, lake, db, market="m", days=days[:3], at=AT, progress=None)
    before = everything(lake)
    ingest_range(simulator, lake, db, market="m", days=days[3:], at=AT, progress=None)
    after = everything(lake)
    assert {key: after[key] for key in before} == before
    booked = pd.concat([lake.read("bookings", day) for day in days[:3]])
    late = pd.concat([lake.read("booking_events", day) for day in days[3:]])
    late = late[(late["kind"] == "cancelled") & late["booking_id"].isin(booked["booking_id"])]
    assert len(late) > 0  # there are such cancellations
    for day in days:
        for name in DELIVERED:
            assert set(lake.read(name, day)["known_at"].dt.date) <= {day}


def test_a_late_cancellation_delivered_under_an_old_day_is_quarantined(
    canned: Canned, ingest: Ingest, lake: Lake
) -> None:
    late = canned.days[NEXT]["booking_events"].head(3)
    canned.days[DAY]["booking_events"] = pd.concat([canned.days[DAY]["booking_events"], late], ignore_index=True)
    landing = ingest(canned)
    assert landing.tables["booking_events"].reasons == {"known_on_another_day": 3}
    assert not set(lake.read("booking_events", DAY)["event_id"]) & set(late["event_id"])
