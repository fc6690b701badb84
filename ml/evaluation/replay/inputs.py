"""The auction log and the campaign's train totals: read, checked, refused in one sentence."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.core.errors import NoData, PermanentError, SchemaBreak

Array: TypeAlias = npt.NDArray[Any]

AUCTION_COLUMNS = ("click", "market_price", "pctr")
STATS_COLUMNS = ("campaign", "clk_train", "imp_train", "cost_train")
OPTIONAL_COLUMNS = ("campaign", "split", "seq")

HIGHEST_PRICE = 2**31 - 1
"""A larger market price is taken for a mistake; none above 300 is ever won."""


@dataclass(frozen=True)
class Auctions:
    """Auctions of one campaign in log order, shape (auctions,) each.

    Attributes:
        click: 0 or 1, int64: whether the impression was clicked, if won.
        market_price: integer price units (iPinYou: fen per 1000 impressions), 0 or more, int64.
        pctr: predicted click probability, 0 to 1, float64.
    """

    click: npt.NDArray[np.int64]
    market_price: npt.NDArray[np.int64]
    pctr: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.click)


@dataclass(frozen=True)
class CampaignStats:
    """Totals of all train rows of a campaign; cost is the plain sum of market prices."""

    campaign: str
    clk_train: int
    imp_train: int
    cost_train: int

    @property
    def cpm(self) -> float:
        """Mean price of an impression, in price units."""
        return self.cost_train / self.imp_train

    @property
    def cpc(self) -> float:
        """Mean cost of a click, in price units."""
        return self.cost_train / self.clk_train

    @property
    def ctr(self) -> float:
        """Clicks per impression."""
        return self.clk_train / self.imp_train


def has_splits(path: Path) -> bool:
    """Whether the rows of an auction file say which split they are of. Raises as `read_auctions`."""
    with _opened(path) as opened:
        return "split" in opened.schema_arrow.names


def read_auctions(path: Path, campaign: str, *, split: str) -> Auctions:
    """Read the auctions of a campaign.

    Args:
        path: a Parquet file with the columns click, market_price and pctr, and where they are there: campaign, to
            select by (else all rows are the campaign's); split, to select by; seq, the number in the log.
        campaign: which campaign.
        split: which split, where the file has that column; "all" for every row.

    Raises:
        NoData: no file, or no row of that campaign and split.
        SchemaBreak: no Parquet file, or a column is missing.
        PermanentError: a value that cannot be; the sentence names the row of the file, counted from 0.
    """
    with _opened(path) as opened:
        present = set(opened.schema_arrow.names)
        missing = [name for name in AUCTION_COLUMNS if name not in present]
        if missing:
            raise SchemaBreak(
                f"{path.name} has no column {', '.join(missing)}",
                next=f"auctions need the columns {', '.join(AUCTION_COLUMNS)}",
            )
        table = opened.read(columns=[*AUCTION_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in present)])
    if not table.num_rows:
        raise NoData(f"{path.name} has no rows", next="give a file with auctions")
    rows = _chosen(table, path.name, campaign, split)
    if "seq" in present:
        _check_order(_numbers(table["seq"], rows, "seq", path.name), rows, path.name)
    click = _numbers(table["click"], rows, "click", path.name)
    price = _numbers(table["market_price"], rows, "market_price", path.name)
    pctr = _numbers(table["pctr"], rows, "pctr", path.name)
    _refuse((click != 0) & (click != 1), click, rows, path.name, "click", "0 or 1")
    _refuse(price < 0, price, rows, path.name, "market_price", "0 or more")
    whole = np.floor(price) == price
    _refuse(~whole | (price > HIGHEST_PRICE), price, rows, path.name, "market_price", "an integer")
    _refuse((pctr < 0) | (pctr > 1), pctr, rows, path.name, "pctr", "between 0 and 1")
    return Auctions(click.astype(np.int64), price.astype(np.int64), pctr)


def read_stats(path: Path, campaign: str) -> CampaignStats:
    """Read the train totals of a campaign from a CSV file with the columns of `STATS_COLUMNS`.

    Raises:
        NoData: no file, or no row of that campaign.
        SchemaBreak: a column is missing, or the file is no CSV text.
        PermanentError: a total that cannot be, or the campaign twice.
    """
    if not path.is_file():
        raise NoData(f"there is no file of campaign statistics {path}", next="give the path of a CSV file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            names = reader.fieldnames or []
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SchemaBreak(f"{path.name} is not a CSV file: {_first_line(error)}", next="write it as CSV") from error
    missing = [name for name in STATS_COLUMNS if name not in names]
    if missing:
        raise SchemaBreak(
            f"{path.name} has no column {', '.join(missing)}",
            next=f"campaign statistics need the columns {', '.join(STATS_COLUMNS)}",
        )
    found = [row for row in rows if row["campaign"] == campaign]
    if not found:
        raise NoData(
            f"campaign {campaign} is not in {path.name}", next=f"it has {_some(row['campaign'] for row in rows)}"
        )
    if len(found) > 1:
        raise PermanentError(f"campaign {campaign} is {len(found)} times in {path.name}", next="keep one row of it")
    clicks, impressions, cost = (_total(found[0][name], name, path.name) for name in STATS_COLUMNS[1:])
    if impressions < 1:
        raise PermanentError(
            f"campaign {campaign} has imp_train {impressions} in {path.name}, so its CPM cannot be known",
            next="give the totals of its train rows",
        )
    return CampaignStats(campaign, clicks, impressions, cost)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file as Parquet; whatever is wrong with its bytes is one sentence."""
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise NoData(f"there is no auction file {path}", next="give the path of a Parquet file")
    try:
        with parquet.ParquetFile(path) as opened:
            yield opened
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise SchemaBreak(
            f"{path.name} cannot be read as Parquet: {_first_line(error)}", next="write the auctions as a Parquet file"
        ) from error


def _chosen(table: Any, name: str, campaign: str, split: str) -> Array:
    """Row numbers of the campaign and the split, in the order of the file."""
    keep = np.ones(table.num_rows, dtype=bool)
    if "campaign" in table.column_names:
        ours = _as_text(table["campaign"])
        keep &= ours == campaign
        if not keep.any():
            raise NoData(f"campaign {campaign} is not in {name}", next=f"it has {_some(ours)}")
    if "split" in table.column_names and split != "all":
        splits = _as_text(table["split"])
        there = splits[keep]
        keep &= splits == split
        if not keep.any():
            raise NoData(
                f"campaign {campaign} has no row of the split {split} in {name}",
                next=f"it has {_some(there)}; choose one with --split, or all",
            )
    return np.flatnonzero(keep)


def _as_text(column: Any) -> Array:
    """The column as an array of str; a campaign may be a number or a text."""
    import pyarrow
    import pyarrow.compute as compute

    plain = column.cast(pyarrow.string()) if pyarrow.types.is_dictionary(column.type) else column
    encoded = compute.dictionary_encode(plain, null_encoding="encode").combine_chunks()
    words = np.array([_word(value) for value in encoded.dictionary.to_pylist()], dtype=object)
    return np.asarray(words[np.from_dlpack(encoded.indices)])


def _word(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _numbers(column: Any, rows: Array, what: str, name: str) -> Array:
    """The column as float64, with every value there and finite in the chosen rows."""
    import pyarrow

    kind = column.type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)):
        raise SchemaBreak(f"the column {what} of {name} is {kind}, not a number", next="write it as a number")
    if pyarrow.types.is_boolean(kind):
        column = column.cast(pyarrow.int8())
    array = column.cast(pyarrow.float64(), safe=False).combine_chunks()
    # Not to_numpy: it would import pandas, which costs more than all the rest.
    values = np.frombuffer(array.buffers()[1], np.float64, len(array), array.offset * 8).copy()
    if array.null_count:
        values[np.from_dlpack(array.is_valid().cast(pyarrow.int8())) == 0] = np.nan
    values = values[rows]
    missing = ~np.isfinite(values)
    if missing.any():
        at = int(np.flatnonzero(missing)[0])
        raise PermanentError(
            f"row {rows[at]} of {name} has no {what} ({int(missing.sum())} such rows)", next="correct or remove the row"
        )
    return values


def _refuse(wrong: Array, values: Array, rows: Array, name: str, what: str, allowed: str) -> None:
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise PermanentError(
            f"row {rows[at]} of {name} has the {what} {values[at]:g}, which is not {allowed} "
            f"({int(wrong.sum())} such rows)",
            next="correct or remove the row",
        )


def _check_order(seq: Array, rows: Array, name: str) -> None:
    falls = np.flatnonzero(np.diff(seq) < 0)
    if len(falls):
        at = int(falls[0]) + 1
        raise PermanentError(
            f"{name} is not in log order: seq falls from {seq[at - 1]:g} to {seq[at]:g} at row {rows[at]}",
            next="sort the auctions by seq, or choose one --split",
        )


def _total(text: str | None, what: str, name: str) -> int:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (value >= 0 and value.is_integer()):
        raise PermanentError(f"{name} has the {what} {text!r}, which is not a count of 0 or more", next="correct it")
    return int(value)


def _some(values: Any, most: int = 12) -> str:
    names = sorted({str(value) for value in values})
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "no rows"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
