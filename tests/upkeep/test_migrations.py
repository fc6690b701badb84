"""Each migration goes down and up again over data, on both databases, and no row of a table that both revisions have is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from ml.ledger import schema
from ml.ledger.database import Database
from ml.ledger.tables import Base
from tests.ledger.conftest import empty_url  # noqa: F401  (fixture)
from tests.upkeep.rows import fill

STEPS = list(zip(schema.REVISIONS, schema.REVISIONS[1:], strict=False))
"""Each step by the revisions before and after it."""

Rows = Mapping[str, list[dict[str, Any]]]


@pytest.fixture
def filled(empty_url: str) -> Iterator[Database]:  # noqa: F811
    """A database of this code with two rows in every table."""
    with closing(Database.open(empty_url)) as db:
        db.migrate()
        fill(db)
        yield db


def go(db: Database, revision: str) -> Rows:
    """Take a database to a revision, up or down, and read every table as it then is."""
    with db.session() as session:
        connection = session.connection()
        at = schema.revision(connection)
        assert at is not None
        if at != revision:
            (schema.upgrade if revision > at else schema.downgrade)(connection, revision)
    return read(db, revision)


def read(db: Database, revision: str = schema.HEAD) -> Rows:
    """Every table of a database, which is at a revision."""
    with db.reading() as session:
        connection = session.connection()
        assert schema.revision(connection) == revision
        metadata = sa.MetaData()
        metadata.reflect(connection)
        ordered = {table.name: table.select().order_by(*table.primary_key) for table in metadata.sorted_tables}
        del ordered["alembic_version"]
        return {name: [dict(row) for row in connection.execute(query).mappings()] for name, query in ordered.items()}


def only(rows: list[dict[str, Any]], columns: set[str]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name in columns} for row in rows]


def same_where_both_have_it(one: Rows, other: Rows) -> int:
    """Compare the tables and columns that both have; how many tables these are."""
    both = sorted(set(one) & set(other))
    for table in both:
        assert len(one[table]) == len(other[table]) == 2, table
        columns = {*one[table][0]} & {*other[table][0]}
        assert only(one[table], columns) == only(other[table], columns), table
    return len(both)


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_a_step_down_and_up_again_keeps_every_row_of_every_table_that_both_revisions_have(
    before: str, after: str, filled: Database
) -> None:
    start = go(filled, after)
    down = go(filled, before)
    again = go(filled, after)
    assert same_where_both_have_it(start, down) == len(down) > 0
    assert same_where_both_have_it(down, again) == len(down)
    assert set(again) == set(start)
    for table in set(start) & set(again):
        if again[table]:
            assert {*again[table][0]} == {*start[table][0]}


def test_all_steps_down_and_up_again_keep_the_rows_of_the_first_tables_and_the_ledger_is_this_code_s(
    filled: Database,
) -> None:
    start = read(filled)
    first = go(filled, schema.REVISIONS[0])
    assert same_where_both_have_it(start, first) == len(first) > 5
    filled.migrate()
    filled.check()
    end = read(filled)
    assert set(end) == set(Base.metadata.tables)
    assert same_where_both_have_it(first, end) == len(first)
