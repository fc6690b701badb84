"""The assets that wake one DAG after another; every event of theirs carries the market day as its partition key."""

from __future__ import annotations

from airflow.sdk import Asset
from airflow.sdk.definitions.asset import Dataset, Model

MARKET_DAY: Asset = Dataset(name="market_day", uri="x-bidwright://market_day")
"""A market day's tables were checked against the contract and landed in the lake."""

FEATURES: Asset = Dataset(name="features", uri="x-bidwright://features")
"""The day's features are in the offline tables and in the online store, and a sample was read back."""

DRIFT_CHECKED: Asset = Dataset(name="drift_checked", uri="x-bidwright://drift_checked")
"""The day was judged: drifted, held or well. The verdict itself is in the ledger."""

CANDIDATE: Asset = Model(name="bid_candidate", uri="x-bidwright://bid_candidate")
"""A new version was registered; it is not live. Emitted only on days that trained one."""

CHAMPION: Asset = Model(name="bid_champion", uri="x-bidwright://bid_champion")
"""The champion moved. Emitted only when it did."""
