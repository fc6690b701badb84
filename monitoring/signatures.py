"""What each cause does to what is watched, as auctions work: the table that a diagnosis rests on.

Each row is one way in which a cause shows. A cell says what becomes of a symptom under it:

    +  -    it moves up, down          (+) (-)   it may
    *       it moves, either way       (*)       it may, either way
    (blank) it stays

Why, in a few sentences. Whose prices moved is told by prices of the same stays; the gap alone does not say it. An auction
ranks by bid and price, so at the same bid and the same gap a place is won less often only if somebody else bids more. The
price rule takes no part in the ranking: where a partner charges in another way, places stay and the cost of a click moves.
Bookings that are lost to a tag and not to the guest turn up without a click. A wrong price spreads our prices
out, and guests pay another rate than they were shown; a price that we mean to ask moves all prices alike, and is kept. A model that
is wrong moves nothing in the market but what comes over what was promised. Where guests stop booking with us, partners that rank by what
becomes of a click show us lower after some days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SYMPTOMS: Mapping[str, str] = {
    "eligible": "auctions, against the season",
    "new_hotels": "auctions of new hotels",
    "own_price": "our prices",
    "rival_price": "the rivals' prices",
    "spread": "the spread of our prices around the rivals'",
    "wrong_rates": "bookings at another rate than shown",
    "places": "places at the same bids and prices",
    "cost": "the cost of a click over our bid",
    "pays_bid": "the cost of a click has become our bid",
    "above_bid": "clicks cost more than was bid",
    "free": "clicks cost next to nothing",
    "click_rate": "clicks of the same places and prices",
    "bookings": "bookings per click",
    "stopped": "hardly any booking is credited to a click",
    "uncredited": "bookings without a click",
    "cancels": "early cancellations",
    "predicted": "predictions on eligible traffic",
    "calibration": "bookings over what the champion expects",
    "repeated": "rows delivered twice",
    "stale": "deliveries that end early",
    "own_bid": "our own bids as they were charged",
    "velocity": "the dearest hour",
}
"""Every symptom, in words; in the order of the columns below."""

_ROWS = """
cause         | way                          |elig|new |own |rival|sprd|wrong|place|cost|=bid|>bid|free|click|book|stop|uncr|canc|pred|cal |rep |stale|own |vel
demand        | more or fewer searches       | *  |(+) |    |(*)  |    |     |(*)  |(*) |    |    |    |(*)  |(*) |    |(*) |(*) |(*) |(*) |    |     |(*) |(+)
demand        | new hotels                   |(+) | +  |    |(*)  |(+) |     |(*)  |(*) |    |    |    |(*)  |(*) |    |(*) |(*) |(*) |(*) |    |     |(*) |(+)
rivals        | their prices                 |    |    |(*) | *   |(*) |     |(*)  |(*) |    |    |    |(*)  |(*) |    |(*) |    |(*) |(*) |    |     |(*) |
rivals        | they bid more                |    |    |    |     |    |     | -   |(+) |    |    |    |(*)  |(*) |    |    |    |    |(*) |    |     |(*) |
rivals        | they bid less                |    |    |    |     |    |     | +   |(-) |    |    |    |(*)  |(*) |    |    |    |    |(*) |    |     |(*) |(+)
parity        | our prices, all alike        |    |    | *  |     |    |     |(*)  |(*) |    |    |    |(*)  |(*) |    |(*) |    |(*) |(*) |    |     |(*) |
tracking      | all conversions are lost     |    |    |    |     |    |     |     |    |    |    |    |     | -  | +  |(+) |(-) |    |(-) |    |     |(*) |
tracking      | a part of them is lost       |    |    |    |     |    |     |     |    |    |    |    |     | -  |    |(+) |(-) |    |(-) |    |     |(*) |
feed          | prices too low               |    |    |(-) |     | +  |(+)  |(*)  |(*) |    |    |    |(*)  |(-) |    |(*) |    |(*) |(-) |    |     |(*) |(+)
feed          | rates differ from prices     |    |    |(*) |     |(+) | +   |(*)  |(*) |    |    |    |(*)  |(-) |    |(*) |    |(*) |(-) |    |     |(*) |
feed          | reports late                 |(-) |    |    |     |    |     |     |    |    |    |    |     |(-) |(+) |    |    |    |(-) |(+) | +   |(*) |
feed          | reports twice                |    |    |    |     |    |     |     |    |    |    |    |     |(-) |(+) |    |    |    |(-) | +  |     |(*) |
cancellations | bookings do not last         |    |    |    |     |    |     |(*)  |(*) |    |    |    |     |    |    |    | +  |    |    |    |     |(*) |
auction       | what is bid is paid          |    |    |    |     |    |     |(*)  | +  | +  |    |    |     |    |    |    |    |    |    |    |     |(*) |(+)
auction       | more than is bid is paid     |    |    |    |     |    |     |(*)  | +  |    | +  |    |     |    |    |    |    |    |    |    |     |(*) |(+)
auction       | bids are read in another unit|    |    |    |     |    |     |(*)  |(*) |    |    |    |(*)  |    |    |    |    |    |    |    |     | +  |(+)
auction       | clicks are not what is paid  |    |    |    |     |    |     |(*)  | -  |    |    | +  |(*)  |(*) |    |    |    |    |(*) |    |     |(*) |
auction       | another price rule           |    |    |    |     |    |     |     | *  |    |    |    |(*)  |    |    |    |    |    |    |    |     |(*) |(+)
auction       | another list                 |    |    |    |     |    |     |     |(*) |    |    |    | *   |(*) |    |    |    |    |(*) |    |     |(*) |(+)
model         | conversions, nothing else    |    |    |    |     |    |     |     |    |    |    |    |     | -  |    |    |    |(*) |(-) |    |     |(*) |
model         | conversions, and rank by them|    |    |    |     |    |     | -   |(+) |    |    |    |(*)  | -  |    |    |    |(*) |(-) |    |     |(*) |
model         | promises, nothing else       |    |    |    |     |    |     |     |    |    |    |    |     |(*) |    |    |    |(*) | *  |    |     |(*) |
model         | predictions, nothing else    |    |    |    |     |    |     |     |    |    |    |    |     |    |    |    |    | *  |(*) |    |     |(*) |
"""

CELLS: Mapping[str, tuple[float, float]] = {
    "+": (0.80, 0.02),
    "-": (0.02, 0.80),
    "*": (0.42, 0.42),
    "(+)": (0.35, 0.03),
    "(-)": (0.03, 0.35),
    "(*)": (0.08, 0.08),
    "": (0.015, 0.015),
}
"""Probability that a symptom is seen to move up, and down, by the cell. None is 0: watchers err."""

ANYTHING = (0.10, 0.10)
"""The same of every symptom where the cause is none of these."""


@dataclass(frozen=True)
class Signature:
    """One way in which a cause shows: for each symptom the probability that it moves up, and down."""

    cause: str
    way: str
    moves: Mapping[str, tuple[float, float]]


def _read(table: str) -> tuple[Signature, ...]:
    lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]
    return tuple(
        Signature(cause, way, {name: CELLS[cell] for name, cell in zip(SYMPTOMS, cells, strict=True)})
        for cause, way, *cells in lines
    )


SIGNATURES: Sequence[Signature] = (
    *_read(_ROWS),
    Signature("unknown", "none of these", dict.fromkeys(SYMPTOMS, ANYTHING)),
)
"""Every way of every cause."""
