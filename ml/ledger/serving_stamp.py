"""A cheap answer to what a bid service asks twice a second: has anything changed of what it has to serve?"""

from __future__ import annotations

from sqlalchemy import func, select

from ml.ledger.database import Store, reading
from ml.ledger.publications import SERVING
from ml.ledger.rollout_tables import BarRow, RolloutRow
from ml.ledger.tables import ChampionRow, PublicationRow

Stamp = tuple[object, ...]


def serving_stamp(store: Store, market: str) -> Stamp:
    """Differs whenever champion, rollouts, bars or the published plan of a market do; one query, and no row of history."""

    live = select(func.max(ChampionRow.generation)).where(ChampionRow.market == market)
    begun = select(func.count(RolloutRow.id)).where(RolloutRow.market == market)
    moved = select(func.sum(RolloutRow.revision)).where(RolloutRow.market == market)
    barred = select(func.count(BarRow.id)).where(BarRow.market == market)
    lifted = select(func.count(BarRow.lifted_at)).where(BarRow.market == market)
    published = select(func.max(PublicationRow.published_at)).where(
        PublicationRow.market == market, PublicationRow.partner == SERVING
    )
    parts = (live, begun, moved, barred, lifted, published)
    query = select(*(part.scalar_subquery() for part in parts))
    with reading(store) as session:
        return tuple(session.execute(query).one())
