from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from ml.core.digests import Digest
from ml.ledger import partitions
from ml.ledger.database import Database
from ml.ledger.partitions import PartitionEntry

AT = datetime(2026, 1, 6, 3, 4, 5, 678901, tzinfo=UTC)
DAY = date(2026, 1, 5)
FIRST = PartitionEntry("clicks", Digest("a" * 64), 10, 8, 2, {"null:hotel_id": 1, "range:cpc_micros": 1})
RESTATED = PartitionEntry("clicks", Digest("b" * 64), 11, 11, 0, {})


def test_what_was_landed_comes_back_whole_with_its_instant_in_utc(db: Database) -> None:
    partitions.land(db, "m", DAY, [FIRST], AT)
    landed = partitions.current(db, "m", "clicks", DAY)
    assert landed is not None
    assert (landed.market, landed.table, landed.day, landed.revision, landed.replaced) == ("m", "clicks", DAY, 1, None)
    assert (landed.rows_in, landed.accepted, landed.quarantined) == (10, 8, 2)
    assert landed.reasons == FIRST.reasons
    assert landed.landed_at == AT
    assert landed.landed_at.tzinfo is UTC


def test_a_day_that_never_landed_has_no_partition(db: Database) -> None:
    assert partitions.current(db, "m", "clicks", DAY) is None
    assert partitions.history(db, "m", "clicks", DAY) == []
    assert partitions.digests(db, "m", DAY) == {}


def test_the_same_delivery_again_adds_nothing_to_the_log(db: Database) -> None:
    partitions.land(db, "m", DAY, [FIRST], AT)
    partitions.land(db, "m", DAY, [FIRST], AT + timedelta(hours=1))
    assert [landing.landed_at for landing in partitions.history(db, "m", "clicks", DAY)] == [AT]


def test_a_restated_day_keeps_its_former_digest_in_the_log(db: Database) -> None:
    for hour, entry in enumerate((FIRST, RESTATED, FIRST)):
        partitions.land(db, "m", DAY, [entry], AT + timedelta(hours=hour))
    log = partitions.history(db, "m", "clicks", DAY)
    assert [(landing.revision, landing.digest, landing.replaced) for landing in log] == [
        (1, FIRST.digest, None),
        (2, RESTATED.digest, FIRST.digest),
        (3, FIRST.digest, RESTATED.digest),
    ]
    assert partitions.current(db, "m", "clicks", DAY) == log[-1]


def test_other_quarantine_counts_for_the_same_accepted_rows_are_a_new_landing(db: Database) -> None:
    partitions.land(db, "m", DAY, [FIRST], AT)
    partitions.land(db, "m", DAY, [replace(FIRST, rows_in=9, quarantined=1, reasons={"null:hotel_id": 1})], AT)
    assert [landing.quarantined for landing in partitions.history(db, "m", "clicks", DAY)] == [2, 1]


def test_rows_that_do_not_add_up_are_refused_and_the_whole_day_with_them(db: Database) -> None:
    wrong = replace(RESTATED, table="bookings", rows_in=12)
    with pytest.raises(IntegrityError, match="rows_add_up"):
        partitions.land(db, "m", DAY, [FIRST, wrong], AT)
    assert partitions.digests(db, "m", DAY) == {}


def test_the_digests_of_a_day_are_the_current_ones_of_that_market_and_day(db: Database) -> None:
    partitions.land(db, "m", DAY, [FIRST, replace(RESTATED, table="bookings")], AT)
    partitions.land(db, "m", DAY, [RESTATED], AT)
    partitions.land(db, "other", DAY, [FIRST], AT)
    partitions.land(db, "m", DAY + timedelta(days=1), [FIRST], AT)
    assert partitions.digests(db, "m", DAY) == {"clicks": RESTATED.digest, "bookings": RESTATED.digest}


def test_the_data_digest_sees_every_current_partition_up_to_its_day_and_nothing_else(db: Database) -> None:
    partitions.land(db, "m", DAY, [FIRST], AT)
    one_day = partitions.data_digest(db, "m", last=DAY)
    partitions.land(db, "m", DAY + timedelta(days=1), [RESTATED], AT)
    partitions.land(db, "other", DAY, [RESTATED], AT)
    assert partitions.data_digest(db, "m", last=DAY) == one_day
    two_days = partitions.data_digest(db, "m", last=DAY + timedelta(days=1))
    assert two_days != one_day
    partitions.land(db, "m", DAY, [RESTATED], AT)
    assert partitions.data_digest(db, "m", last=DAY) != one_day
    partitions.land(db, "m", DAY, [FIRST], AT)
    assert partitions.data_digest(db, "m", last=DAY) == one_day
    assert partitions.data_digest(db, "m", last=DAY + timedelta(days=1)) == two_days


def test_landings_that_race_make_one_log_without_a_gap(
    db: Database, together: Callable[[Callable[[int], None], int], list[None]]
) -> None:
    def land(me: int) -> None:
        for n in range(6):
            partitions.land(db, "m", DAY, [replace(FIRST, digest=Digest(f"{me}-{n}"))], AT)

    together(land, 4)
    log = partitions.history(db, "m", "clicks", DAY)
    assert [landing.revision for landing in log] == list(range(1, 25))
    assert [landing.replaced for landing in log[1:]] == [landing.digest for landing in log[:-1]]


@settings(max_examples=25, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reasons=st.dictionaries(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), st.integers(0, 2**40)
    )
)
def test_any_reasons_come_back_as_they_were_given(db: Database, reasons: dict[str, int]) -> None:
    partitions.land(db, "m", DAY, [replace(FIRST, reasons=reasons)], AT)
    landed = partitions.current(db, "m", "clicks", DAY)
    assert landed is not None
    assert landed.reasons == reasons


def test_accepted_rows_per_day_are_those_of_the_last_landing(db: Database) -> None:
    partitions.land(db, "m", DAY, [FIRST], AT)
    partitions.land(db, "m", DAY, [RESTATED], AT + timedelta(hours=1))
    partitions.land(db, "m", DAY + timedelta(days=2), [FIRST], AT)
    partitions.land(db, "m", DAY + timedelta(days=3), [FIRST], AT)
    rows = partitions.accepted(db, "m", "clicks", first=DAY, last=DAY + timedelta(days=2))
    assert rows == {DAY: 11, DAY + timedelta(days=2): 8}
