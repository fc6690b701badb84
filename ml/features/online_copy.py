"""This machine's copy of what Redis holds online, as the embedded store: the bid service asks no network on its hot path.

Rows are read and written through Feast's two stores, so that a copy holds what Feast would have answered. A copy is made when
`ml.features.redis_check.last_writing` has changed; an entity that Redis has lost stays as it was copied. Importing this costs
seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ml.core.errors import UsageError
from ml.core.settings import Settings
from ml.features.definitions import FEATURE_VIEWS
from ml.features.feast_import import light_import
from ml.features.feast_objects import feast_config, feast_objects
from ml.features.feast_online import EmbeddedOnlineStore
from ml.features.redis_check import last_writing, redis_client
from ml.lake.lake import Lake

with light_import():
    from feast import FeatureView
    from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key_prefix
    from feast.infra.online_stores.redis import RedisOnlineStore

WRITER = "copy"
_ENTITIES = 5_000
"""So many are read, and become visible, together."""


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes:
        redis: host and port.
        written: the number of the last writing there when the copy began.
        entities: how many, by feature view; empty where nothing had changed.
    """

    redis: str
    written: int
    entities: Mapping[str, int]


def copy_online(settings: Settings, lake: Lake) -> Copied:
    """Copy the market's online features from Redis where they changed since the last copy.

    Raises:
        UsageError: the settings name no Redis.
        StoreUnavailable: Redis cannot be read, another process is copying, or the disk refuses; what was copied is served on.
    """
    if not settings.redis:
        raise UsageError(
            "no Redis holds the online features: the bid service reads the embedded store itself",
            next="set BIDWRIGHT_REDIS where features are materialised into Redis; else nothing needs to be copied",
        )
    with redis_client(settings.redis) as (client, where):
        written = last_writing(settings.redis, lake.market)
        now, last = Copied(where, written, {}), last_copy(settings.home, lake.market)
        if last is not None and (last.redis, last.written) == (where, written):
            return now
        source = feast_config(settings.home, lake.market, redis=settings.redis, writer=WRITER)
        target = feast_config(settings.home, lake.market, writer=WRITER)
        keys = list(client.scan_iter(match=f"*{source.project}", count=_ENTITIES))
        reader, writer, entities = RedisOnlineStore(), EmbeddedOnlineStore(), dict[str, int]()
        # Every view that there is: the lake, which would say what a market can feed, is not for the bid service to read.
        every = feast_objects(lake, settings.home, FEATURE_VIEWS.values())
        for view in (each for each in every if isinstance(each, FeatureView)):
            entities[view.name] = 0
            own = list(_keys_of(keys, view, source))
            for begin in range(0, len(own), _ENTITIES):
                rows = _rows(reader, source, view, own[begin : begin + _ENTITIES])
                writer.online_write_batch(target, view, rows, None)
                entities[view.name] += len(rows)
    done = replace(now, entities=entities)
    _keep(settings.home, lake.market, done)
    return done


def last_copy(home: Path, market: str) -> Copied | None:
    """The last copy that came to its end; None where there is none, or its note cannot be read."""
    with suppress(OSError, ValueError, TypeError):
        return Copied(**json.loads(_note(home, market).read_text()))
    return None


def _keys_of(keys: Sequence[bytes], view: Any, config: Any) -> Iterator[Any]:
    """The entities of a view among Redis' keys, which begin with the names of the view's join keys and end with the project."""
    version, tail = config.entity_key_serialization_version, config.project.encode()
    head = serialize_entity_key_prefix(sorted(view.join_keys), version)
    for key in keys:
        if key.startswith(head):
            yield deserialize_entity_key(key.removesuffix(tail), version)


def _rows(reader: Any, config: Any, view: Any, keys: Sequence[Any]) -> list[tuple[Any, Any, Any, None]]:
    """What Redis holds of these entities in this view; several views may have the same entities."""
    found = reader.online_read(config, view, list(keys), [field.name for field in view.features])
    return [(key, values, at, None) for key, (at, values) in zip(keys, found, strict=True) if at is not None]


def _keep(home: Path, market: str, copied: Copied) -> None:
    """Note what was copied; where that fails the next copy is made once more."""
    with suppress(OSError):
        note = _note(home, market)
        new = note.with_suffix(".new")
        new.write_text(json.dumps(asdict(copied)))
        new.replace(note)


def _note(home: Path, market: str) -> Path:
    return home / "feast" / f"{market}-online-copy.json"
