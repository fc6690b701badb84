"""The contract itself: complete, consistent, and the same in pandera, Arrow and the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.lake.parquet import to_arrow
from ml.market.contract import Table
from ml.market.tables import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "bring-your-own-market.md"


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
class TestEveryTable:
    def test_says_unit_and_meaning_of_each_column(self, table: Table) -> None:
        assert table.meaning
        assert all(column.unit and column.meaning for column in table)

    def test_has_a_key_an_event_time_and_known_at_that_are_never_null(self, table: Table) -> None:
        columns = {column.name: column for column in table}
        for name in (*table.key, table.event_time, "known_at"):
            assert not columns[name].nullable
        assert columns[table.event_time].kind == columns["known_at"].kind == "time"

    def test_names_are_unique_and_money_is_whole_micros(self, table: Table) -> None:
        assert len(set(table.names)) == len(table.names)
        for column in table:
            assert (column.unit == "micros") == column.name.endswith("_micros")
            assert column.unit != "micros" or column.kind == "int"

    def test_an_empty_frame_keeps_the_pandera_and_the_arrow_schema(self, table: Table) -> None:
        empty = table.empty()
        table.schema.validate(empty)
        assert to_arrow(empty).schema.names == table.arrow.names
        assert to_arrow(empty).schema.types == table.arrow.types

    def test_is_in_the_documentation_with_every_column(self, table: Table) -> None:
        lines = PAGE.read_text().splitlines()
        row = next(line for line in lines if line.startswith(f"| `{table.name}` |"))
        assert [name for name in table.names if f"`{name}`" not in row] == []
