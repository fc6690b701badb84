"""The platform as one value: settings, clock, and the stores they name, opened on first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ml.core.clock import Clock, SystemClock
from ml.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore
    from ml.lake.lake import Lake
    from ml.ledger.database import Database
    from ml.market.source import MarketSource
    from ml.promotion.keyring import Keyring


_STORES = ("blobs", "lake", "db", "source")
"""None of them depends on how bids are made."""


@dataclass(frozen=True)
class Platform:
    """What a use case needs of its surroundings. Opening is lazy, so that a use case pays for what it touches."""

    settings: Settings
    clock: Clock

    @classmethod
    def from_environment(cls, **overrides: object) -> Platform:
        """The platform that the environment and `bidwright.toml` describe, on the machine's clock."""
        return cls(load_settings(**overrides), SystemClock())

    def under(self, meta: Mapping[str, Any]) -> Platform:
        """The same platform with the bid settings that ship with a version (`ml.bidding.shipped`), its stores shared.

        Args:
            meta: the meta data of the version's bundle.
        """
        from ml.bidding.shipped import under

        found = replace(self, settings=under(self.settings, meta))
        for name in _STORES:
            found.__dict__[name] = getattr(self, name)
        return found

    @property
    def market(self) -> str:
        """Name of the market, the first part of every key."""
        return self.settings.market_name

    @cached_property
    def blobs(self) -> BlobStore:
        """Bundles, reports and published bids."""
        from ml.lake.blobs import open_blobs

        return open_blobs(
            self.settings.blobs, cache=self.settings.home / "cache" / "blobs", endpoint=self.settings.s3_endpoint
        )

    @property
    def keys(self) -> Keyring:
        """Whose signatures of bundles count here; read anew each time, because a training may make the first key."""
        from ml.promotion.keyring import keyring

        return keyring(self.settings)

    @cached_property
    def lake(self) -> Lake:
        """Canonical and derived tables, one Parquet file per table and market day."""
        from ml.lake.blobs import open_blobs
        from ml.lake.compute import Compute
        from ml.lake.lake import Lake

        blobs = open_blobs(
            self.settings.lake, cache=self.settings.home / "cache" / "lake", endpoint=self.settings.s3_endpoint
        )
        return Lake(blobs, self.market, Compute.from_settings(self.settings))

    @cached_property
    def db(self) -> Database:
        """The platform database, the one truth about what is live and why."""
        from ml.ledger.database import Database

        return Database.open(self.settings.database)

    @cached_property
    def source(self) -> MarketSource:
        """Where market days come from."""
        from ml.market import open_source

        return open_source(self.settings)
