from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from ml.ledger import stages
from ml.ledger.database import Database
from ml.ledger.stages import StageKey

AT = datetime(2026, 1, 6, tzinfo=UTC)
KEY = StageKey("m", "train", AT.date())
per_example = settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@per_example
@given(since=st.timedeltas(timedelta(), timedelta(days=80_000)), offset=offsets)
def test_an_instant_of_any_offset_comes_back_the_same_in_utc_to_the_microsecond(
    db: Database, since: timedelta, offset: timezone
) -> None:
    at = (datetime(1970, 1, 2, tzinfo=UTC) + since).astimezone(offset)
    stages.record(db, KEY, status="done", result={}, at=at)
    record = stages.get(db, KEY)
    assert record is not None
    assert record.recorded_at == at
    assert record.recorded_at.tzinfo is UTC


@per_example
@given(result=st.dictionaries(names, values, max_size=4))
def test_any_json_comes_back_the_same_value(db: Database, result: dict[str, object]) -> None:
    stages.record(db, KEY, status="done", result=result, at=AT)
    record = stages.get(db, KEY)
    assert record is not None
    assert record.result == result


def test_equal_json_is_stored_as_equal_bytes_whatever_the_order_of_its_keys(db: Database) -> None:
    stages.record(db, KEY, status="done", result={"b": [1, {"d": "ü", "c": None}], "a": 0.5}, at=AT)
    with db.reading() as session:
        stored = session.execute(text("SELECT result FROM stages")).scalar_one()
    assert stored == '{"a":0.5,"b":[1,{"c":null,"d":"ü"}]}'


def test_instants_are_stored_in_utc(db: Database) -> None:
    stages.record(db, KEY, status="done", result={}, at=datetime(2026, 1, 6, 2, tzinfo=timezone(timedelta(hours=2))))
    with db.reading() as session:
        stored = session.execute(text("SELECT recorded_at FROM stages")).scalar_one()
    assert stored == ("2026-01-06 00:00:00.000000" if db.kind == "sqlite" else AT)
