"""The plan that the bid service follows between two publications: what of a value stays, what share of it is bid, caps.

A plan is one JSON file named by its digest, made from the bids that stand at every partner: for a cell whose searches are
average, `worth x shading` is the bid that stands there. A cell that was not published takes the figures of the nearest
coarser one, which are worked out here once, so that a lookup is one dict hit per cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from ml.bidding.day_budget import DayBudget
from ml.bidding.worth import CLICK_LEVELS, retained_share
from ml.core.digests import Digest, digest_bytes
from ml.core.errors import CorruptArtefact

if TYPE_CHECKING:
    import pandas as pd

    from ml.lake.blobs import BlobStore

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = tuple[str, ...]
Kept = Callable[[Labels], Labels]
"""The part of a full key that a level of `FALLBACKS` keeps."""

FORMATS = (1, 2)
"""Without and with the budgets of days."""
NOT_PUBLISHED = -1

FALLBACKS: tuple[tuple[str, ...], ...] = (
    CLICK_LEVELS,
    ("partner", "market", "device", "lead_bucket", "los_bucket"),
    ("partner", "market", "lead_bucket", "los_bucket"),
    ("partner", "market"),
    ("partner",),
    ("market",),
    (),
)
"""Where a cell's figures are looked for, in this order: the hotel is dropped first, the point of sale and the partner last,
because kill switches stop those."""

RETENTION_KEYS = ("lead_bucket", "los_bucket", "hotel_id")
ANY = ""
"""In a retention key: whatever stands there; the last keys are dropped first."""


@dataclass(frozen=True)
class PlanRows:
    """What the plan says of cells, one entry each; shape (n,) every array.

    Attributes:
        retained: share of a booking's gross value (price x nights) that stays after cancellations; 0 or more.
        shading: share of a click's worth that is bid, 0 to 1; 0 where nothing is.
        last_bid_micros: the bid per click that stands published; `NOT_PUBLISHED` where the cell has none.
        cap_micros: no bid may exceed this: the policy's cap; where a kill switch keeps bids, the bid that it keeps; 0 where
            one has stopped them.
    """

    retained: Floats
    shading: Floats
    last_bid_micros: Ints
    cap_micros: Ints


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The bytes of a plan. `labels` are the values of each column; rows name them by their number, -1 where dropped."""

    format_version: int
    market: str
    day: date
    generation: int
    take_share: float
    max_bid_micros: int
    labels: dict[str, list[str]]
    cells: dict[str, list[int]]
    shading: list[float]
    last_bid_micros: list[int]
    cap_micros: list[int]
    retention: dict[str, list[str]]
    retained: list[float]
    budgets: dict[str, DayBudget] = {}


@dataclass(frozen=True)
class ServingPlan:
    """A plan, ready to be asked; immutable, shared by every request.

    Attributes:
        digest: of its bytes, its name.
        market: whose plan it is.
        day: the market day whose publication it comes from.
        generation: of the champion that published.
        take_share: what a booking earns of its net value: `worth of a click = p_book x gross value x retained x take_share`.
        max_bid_micros: no bid exceeds it.
        budgets: by partner, what a day may cost; a partner that is not there is not paced.
    """

    digest: Digest
    market: str
    day: date
    generation: int
    take_share: float
    max_bid_micros: int
    _places: tuple[tuple[Kept, dict[Labels, int]], ...] = field(repr=False)
    _retention: dict[Labels, float] = field(repr=False)
    _rows: PlanRows = field(repr=False)
    budgets: Mapping[str, DayBudget] = field(default_factory=dict)

    @property
    def has_cells(self) -> bool:
        """Whether bids are published that it was made from."""
        return bool(self._places[0][1])

    def of(self, cells: Mapping[str, npt.NDArray[Any]]) -> PlanRows:
        """What the plan says of these cells; a cell that it does not know has the figures of the nearest coarser one.

        Args:
            cells: text of each column of `CLICK_LEVELS`, shape (n,); n at least 1. An unknown or empty text is dropped like
                one that was never published.
        """
        columns = [cells[name].tolist() for name in CLICK_LEVELS]
        known = self._places[0][1]
        keys = list(zip(*columns, strict=True))
        places = [known.get(key, -1) for key in keys]
        rows = self._rows
        if -1 not in places:
            at = np.array(places)
            return PlanRows(rows.retained[at], rows.shading[at], rows.last_bid_micros[at], rows.cap_micros[at])
        unknown = [number for number, place in enumerate(places) if place < 0]
        for number in unknown:
            places[number] = self._coarser(keys[number])
        at = np.array(places)
        retained = rows.retained[at]
        # What stays hangs on the hotel more than on where it is sold: a hotel may be known that was not published there.
        retained[unknown] = [_retained(self._retention, *_KEPT_BY_RETENTION(keys[number])) for number in unknown]
        return PlanRows(retained, rows.shading[at], rows.last_bid_micros[at], rows.cap_micros[at])

    def _coarser(self, key: Labels) -> int:
        """The row of the nearest coarser cell; the last level has one row, that of everything."""
        for kept, known in self._places[1:]:
            place = known.get(kept(key))
            if place is not None:
                return place
        raise CorruptArtefact(f"the plan {self.digest[:12]} has no row for everything", next="publish the day again")


def retention_table(bookings: pd.DataFrame) -> pd.DataFrame:
    """What of a booking's gross value stays, as `ml.bidding.worth.retained_share` has it, at every key that can be asked.

    Args:
        bookings: scored bookings, as of `ml.bidding.worth.click_cells`.

    Returns:
        `lead_bucket`, `los_bucket`, `hotel_id` (the last of them `ANY` where it is unknown) and `retained`, one row per key.

    Raises:
        NoData: no booking has a value.
    """
    import pandas as pd

    keys = bookings[list(RETENTION_KEYS)].drop_duplicates()
    coarser = [keys.assign(**dict.fromkeys(RETENTION_KEYS[depth:], ANY)) for depth in (2, 1, 0)]
    asked = pd.concat([keys, *coarser]).drop_duplicates().sort_values(list(RETENTION_KEYS), ignore_index=True)
    return asked.assign(retained=retained_share(bookings, asked))


def make_plan(
    tables: Sequence[pd.DataFrame],
    *,
    held: Sequence[npt.NDArray[np.bool_]],
    held_scopes: Iterable[tuple[str, str]],
    retention: pd.DataFrame,
    market: str,
    day: date,
    generation: int,
    take_share: float,
    max_bid_micros: int,
    budgets: Mapping[str, DayBudget] | None = None,
) -> bytes:
    """The bytes of the plan for the bids that stand; equal arguments, equal bytes.

    A coarser cell's shading is the bids of its cells over their worth, weighted by the clicks seen. Its cap is the
    policy's; 0 where every one of its cells is held by a kill switch, which keeps bids that stand and starts none.

    Args:
        tables: the bids that stand at each partner: the columns of `CLICK_LEVELS`, `clicks_seen`, `p_book`,
            `net_value_micros` and `bid_micros`; at least one row in all.
        held: of each table, the rows that a kill switch keeps as they are; shape (n,).
        held_scopes: partner and point of sale of each kill switch that stands, empty text for all.
        retention: from `retention_table`.
        market, day, generation: of the publication.
        take_share: what a booking earns of its net value.
        max_bid_micros: the policy's cap.
        budgets: by partner; None: nobody's day has one.
    """
    import pandas as pd

    cells = pd.concat([one.assign(held=kept) for one, kept in zip(tables, held, strict=True)], ignore_index=True)
    bid = cells["bid_micros"].to_numpy(dtype=np.int64)
    worth = cells["p_book"].to_numpy(dtype=float) * cells["net_value_micros"].to_numpy(dtype=float) * take_share
    weight = cells["clicks_seen"].to_numpy(dtype=float)
    if not (np.isfinite(worth).all() and np.isfinite(weight).all() and (bid >= 0).all()):
        raise ValueError("a cell has no finite worth, or its bid is no amount of money")
    cells = cells.assign(
        last_bid_micros=bid,
        shading=_share(bid, worth),
        cap_micros=np.where(cells["held"], np.minimum(bid, max_bid_micros), max_bid_micros),
        bids=weight * bid,
        worth=weight * worth,
    )
    levels = [cells, *(_coarser(cells, keys, max_bid_micros) for keys in FALLBACKS[1:])]
    levels.append(_nothing_out(levels, held_scopes))
    columns = [*CLICK_LEVELS, "shading", "last_bid_micros", "cap_micros"]
    rows = pd.concat([level[columns] for level in levels], ignore_index=True)
    labels = {name: sorted({*rows[name]} - {None}) for name in CLICK_LEVELS}
    coded = {name: pd.Index(labels[name]).get_indexer(rows[name]) for name in CLICK_LEVELS}
    file = PlanFile(
        format_version=FORMATS[bool(budgets)],
        market=market,
        day=day,
        generation=generation,
        take_share=take_share,
        max_bid_micros=max_bid_micros,
        labels=labels,
        cells={name: codes.tolist() for name, codes in coded.items()},
        shading=rows["shading"].tolist(),
        last_bid_micros=rows["last_bid_micros"].tolist(),
        cap_micros=rows["cap_micros"].tolist(),
        retention={name: retention[name].tolist() for name in RETENTION_KEYS},
        retained=retention["retained"].tolist(),
        budgets=dict(budgets or {}),
    )
    return msgspec.json.encode(file)


def write_plan(blobs: BlobStore, market: str, data: bytes) -> tuple[Digest, str]:
    """Store a plan under its digest; the same bytes again change nothing. Its digest and its key."""
    digest = digest_bytes(data)
    blobs.put(_key(market, digest), data)
    return digest, _key(market, digest)


def read_plan(blobs: BlobStore, market: str, digest: str) -> ServingPlan:
    """The plan of a digest, once its bytes were found to have it.

    Raises:
        NoData: there is none of this digest.
        CorruptArtefact: its bytes have another digest, or are no plan of a format that this version reads.
    """
    return load_plan(blobs.get(_key(market, digest)), digest)


def load_plan(data: bytes, digest: str) -> ServingPlan:
    """A plan from its bytes; raises CorruptArtefact as `read_plan`."""
    got = digest_bytes(data)
    again = "publish the day again: bidwright publish-bids --help"
    if got != digest:
        raise CorruptArtefact(f"the plan {digest[:12]} has the digest {got[:12]}", left="it was not used", next=again)
    try:
        file = msgspec.json.decode(data, type=PlanFile)
        return _ready(file, got)
    except (msgspec.DecodeError, IndexError, KeyError, ValueError) as error:
        raise CorruptArtefact(f"the plan {digest[:12]} cannot be read: {error}", next=again) from error


def no_plan(*, market: str, take_share: float, max_bid_micros: int) -> ServingPlan:
    """The plan of a market that publishes no bids, such as an auction of listings: the policy's cap, and no cell.

    Its digest is empty, so that a log says that there was none. What it says of any cell is the shading 0.
    """
    return ServingPlan(
        digest=Digest(""),
        market=market,
        day=date.min,
        generation=0,
        take_share=take_share,
        max_bid_micros=max_bid_micros,
        _places=tuple((_kept(tuple(map(CLICK_LEVELS.index, keys))), {} if keys else {(): 0}) for keys in FALLBACKS),
        _retention={(ANY, ANY, ANY): 1.0},
        _rows=PlanRows(np.ones(1), np.zeros(1), np.full(1, NOT_PUBLISHED), np.full(1, max_bid_micros)),
    )


def retention_of(data: bytes) -> pd.DataFrame:
    """The retention table that a plan's bytes were made with, for the next plan."""
    import pandas as pd

    file = msgspec.json.decode(data, type=PlanFile)
    return pd.DataFrame({**file.retention, "retained": file.retained})


def _key(market: str, digest: str) -> str:
    return f"bids/{market}/serving/{digest}.json"


def _ready(file: PlanFile, digest: Digest) -> ServingPlan:
    if file.format_version not in FORMATS:
        raise ValueError(f"its format is {file.format_version}, this version reads {FORMATS}")
    names = [[*file.labels[column], None] for column in CLICK_LEVELS]  # the code -1 is the last
    columns = [[name[code] for code in file.cells[column]] for name, column in zip(names, CLICK_LEVELS, strict=True)]
    places: dict[tuple[int, ...], dict[Labels, int]] = {
        tuple(CLICK_LEVELS.index(name) for name in keys): {} for keys in FALLBACKS
    }
    retention = dict(
        zip(zip(*(file.retention[name] for name in RETENTION_KEYS), strict=True), file.retained, strict=True)
    )
    retained = []
    for place, row in enumerate(zip(*columns, strict=True)):
        kept = tuple(number for number, label in enumerate(row) if label is not None)
        places[kept][tuple([row[number] for number in kept])] = place
        _, _, hotel, _, lead, los = row
        retained.append(_retained(retention, lead or ANY, los or ANY, hotel or ANY))
    if () not in places[()]:
        raise ValueError("it has no row for everything")
    rows = PlanRows(
        np.array(retained, dtype=np.float64),
        np.array(file.shading, dtype=np.float64),
        np.array(file.last_bid_micros, dtype=np.int64),
        np.array(file.cap_micros, dtype=np.int64),
    )
    if {len(rows.retained)} != {len(rows.shading), len(rows.last_bid_micros), len(rows.cap_micros)}:
        raise ValueError("its columns have not one length")
    return ServingPlan(
        digest=digest,
        market=file.market,
        day=file.day,
        generation=file.generation,
        take_share=file.take_share,
        max_bid_micros=file.max_bid_micros,
        _places=tuple((_kept(numbers), known) for numbers, known in places.items()),
        _retention=retention,
        _rows=rows,
        budgets=file.budgets,
    )


def _kept(numbers: tuple[int, ...]) -> Kept:
    """What takes these parts of a key."""
    if len(numbers) > 1:
        return itemgetter(*numbers)
    return lambda key: tuple([key[number] for number in numbers])


_KEPT_BY_RETENTION = _kept(tuple(CLICK_LEVELS.index(name) for name in RETENTION_KEYS))


def _retained(known: Mapping[Labels, float], lead: str, los: str, hotel: str) -> float:
    """The share at the finest key that is known; the last, of everything, is always there."""
    found = known.get((lead, los, hotel))
    if found is None:
        found = known.get((lead, los, ANY))
    if found is None:
        found = known.get((lead, ANY, ANY))
    return known[ANY, ANY, ANY] if found is None else found


def _share(bids: npt.NDArray[Any], worth: Floats) -> Floats:
    """Bid over worth, 0 to 1; 0 of what is worth nothing."""
    share: Floats = np.divide(bids, worth, out=np.zeros(len(worth)), where=worth > 0)
    return np.clip(share, 0.0, 1.0)


def _coarser(cells: pd.DataFrame, keys: Sequence[str], max_bid_micros: int) -> pd.DataFrame:
    """One row per coarser cell, its other columns None."""
    grouped = cells.assign(all="").groupby([*keys, "all"], observed=True, sort=True)
    found = grouped.agg({"bids": "sum", "worth": "sum", "held": "all"}).reset_index()
    return found.assign(
        **{name: None for name in CLICK_LEVELS if name not in keys},
        shading=_share(found["bids"].to_numpy(dtype=float), found["worth"].to_numpy(dtype=float)),
        last_bid_micros=NOT_PUBLISHED,
        cap_micros=np.where(found["held"], 0, max_bid_micros),
    )


def _nothing_out(levels: Sequence[pd.DataFrame], held_scopes: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """A row with the cap 0 for what a kill switch is about and where no bids are out, at each partner in turn."""
    import pandas as pd

    partners = sorted({*levels[0]["partner"]})
    asked: set[tuple[str | None, str | None]] = set()
    for partner, point_of_sale in held_scopes:
        asked.add((partner or None, point_of_sale or None))
        if point_of_sale and not partner:
            asked |= {(one, point_of_sale) for one in partners}
    known = {(row[0], row[1]) for level in levels[3:] for row in level[["partner", "market"]].itertuples(index=False)}
    missing = sorted(asked - known, key=lambda scope: (scope[0] or "", scope[1] or ""))
    rows = pd.DataFrame(missing, columns=["partner", "market"], dtype=object)
    absent = [name for name in CLICK_LEVELS if name not in {"partner", "market"}]
    return rows.assign(**dict.fromkeys(absent), shading=0.0, last_bid_micros=NOT_PUBLISHED, cap_micros=0)
