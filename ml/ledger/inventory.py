"""What the ledger names in the stores: bundles, the bids that stand, and the digests of what was landed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from ml.core.digests import Digest
from ml.ledger import champion, publications
from ml.ledger.champion import Champion
from ml.ledger.database import Store, reading
from ml.ledger.publications import Publication
from ml.ledger.tables import ChampionRow, PartitionRow, VersionRow


@dataclass(frozen=True)
class Inventory:
    """What is to be found in the stores, of every market.

    Attributes:
        champions: by market.
        bundles: of every registered version, whatever became of it.
        standing: the newest publication of each market's partners, and of its serving plan.
        landed: digest of the current landing by market, table and day.
    """

    champions: Mapping[str, Champion]
    bundles: tuple[Digest, ...]
    standing: tuple[Publication, ...]
    landed: Mapping[tuple[str, str, date], Digest]


def inventory(store: Store) -> Inventory:
    """What the ledger names, all from one transaction."""
    with reading(store) as session:
        markets = list(session.scalars(select(ChampionRow.market).order_by(ChampionRow.market)))
        found = {market: champion.current(session, market) for market in markets}
        bundles = session.scalars(select(VersionRow.digest).distinct().order_by(VersionRow.digest))
        landed = session.execute(
            select(PartitionRow.market, PartitionRow.table_name, PartitionRow.day, PartitionRow.digest).order_by(
                PartitionRow.revision
            )
        )
        return Inventory(
            champions={market: one for market, one in found.items() if one is not None},
            bundles=tuple(Digest(digest) for digest in bundles),
            standing=tuple(publications.standing(session)),
            # Of several revisions of a day the last remains.
            landed={(market, table, day): Digest(digest) for market, table, day, digest in landed},
        )
