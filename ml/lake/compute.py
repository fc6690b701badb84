"""Which engine computes over a lake's tables, and what it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ml.core.settings import Settings

EngineName = Literal["duckdb", "spark"]


@dataclass(frozen=True)
class Compute:
    """The engine's name and its bounds; how it is spoken to is `ml.features.engine`'s matter.

    Attributes:
        engine: "duckdb" in this process, "spark" where the tables outgrow one machine.
        memory: what DuckDB may take before it spills to disk, such as "2GB"; Spark's is an option of its own.
        spark_master: `local[N]` for N threads of this machine, or the URL of a cluster.
        spark_options: further Spark properties, such as spark.executor.memory.
    """

    engine: EngineName = "duckdb"
    memory: str = "2GB"
    spark_master: str = "local[2]"
    spark_options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Settings) -> Compute:
        """What the settings ask for."""
        return cls(settings.feature_engine, settings.engine_memory, settings.spark_master, settings.spark_options)


DUCKDB = Compute()
"""DuckDB in this process."""
