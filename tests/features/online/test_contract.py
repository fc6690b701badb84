"""The same cases against Feast's SQLite store, a real Redis, and the embedded store; where they differ is written down."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.features.online.feast_repo import DAY, EMBEDDED, ENGINE, NOON, TYPES, Repo, redis_server, why_no_redis

DOC = (Path(__file__).parents[3] / "docs" / "online-store.md").read_text()
STORES = ("sqlite", "redis", "embedded")
LAST_WRITE = "the row written last is served, whatever its timestamps"
DIFFERENCES = {
    ("an older row written later", "sqlite"): LAST_WRITE,
    ("an older row after a newer one in a batch", "sqlite"): LAST_WRITE,
    ("an earlier created timestamp at the same event timestamp", "sqlite"): LAST_WRITE,
    ("a later created timestamp at the same event timestamp", "redis"): "the correction is ignored",
    ("a materialised int64 above 2^53 in a column with nulls", "sqlite"): "it is rounded to a float64 on the way",
    ("a materialised int64 above 2^53 in a column with nulls", "redis"): "it is rounded to a float64 on the way",
    ("an unknown entity", "redis"): "its features are null, and said to be present",
    ("a row dated in the future", "sqlite"): "it is served",
    ("a row dated in the future", "redis"): "it is served, and hides every later row until then",
}


def differs(case: str, store: str) -> bool:
    return (case, store) in DIFFERENCES


@pytest.mark.parametrize(("case", "store"), DIFFERENCES)
def test_each_difference_is_in_the_document(case: str, store: str) -> None:
    assert f"| {case} | {store} | {DIFFERENCES[case, store]} |" in DOC


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if reason := why_no_redis():
        pytest.skip(reason)
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


Make = Callable[[str], Repo]


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    def repo(store: str) -> Repo:
        root = tmp_path / store
        root.mkdir()
        if store == "sqlite":
            return Repo(root, {"type": "sqlite", "path": "online.db"})
        if store == "embedded":
            return Repo(root, {"type": EMBEDDED, "path": "online"}, engine=ENGINE)
        import redis

        port = request.getfixturevalue("redis_port")
        with redis.Redis(port=port) as client:
            client.flushall()
        return Repo(root, {"type": "redis", "connection_string": f"127.0.0.1:{port}"})

    return repo


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def repo(store: str, make: Make) -> Repo:
    return make(store)


def test_rows_are_read_by_text_by_number_and_by_both(repo: Repo) -> None:
    repo.push("by_text", [{"hotel_id": "h1", "a": 0.5, "b": 1}, {"hotel_id": "h2", "a": 1.5, "b": 2}])
    repo.push("by_number", [{"id": 7, "a": 2.5, "b": 3}, {"id": -(2**63), "a": 3.5, "b": 2**63 - 1}])
    repo.push(
        "by_both", [{"hotel_id": "h1", "id": 7, "a": 4.5, "b": 5}, {"hotel_id": "h1", "id": 71, "a": 5.5, "b": 6}]
    )
    assert repo.read("by_text", [{"hotel_id": "h2"}, {"hotel_id": "h1"}, {"hotel_id": "h2"}]).to_dict() == {
        "hotel_id": ["h2", "h1", "h2"],
        "a": [1.5, 0.5, 1.5],
        "b": [2, 1, 2],
    }
    assert repo.read("by_number", [{"id": -(2**63)}, {"id": 7}]).to_dict()["b"] == [2**63 - 1, 3]
    both = [{"id": 7, "hotel_id": "h1"}, {"hotel_id": "h1", "id": 71}, {"hotel_id": "h17", "id": 1}]
    assert repo.read("by_both", both[:2]).to_dict()["a"] == [4.5, 5.5]
    assert repo.read("by_both", [both[2]]).to_dict()["a"] == [None]


@pytest.mark.parametrize("key", ["", "é", "東京", "a\x1fb", "x" * 31, "x" * 32, "x" * 33, "x" * 500, "\U0001f600" * 9])
def test_a_key_may_be_any_text(key: str, repo: Repo) -> None:
    repo.push(
        "by_both", [{"hotel_id": key, "id": 1, "a": 1.0, "b": 1}, {"hotel_id": key + "2", "id": 1, "a": 2.0, "b": 2}]
    )
    repo.push("by_text", [{"hotel_id": key, "a": 3.0, "b": 3}, {"hotel_id": key + "2", "a": 4.0, "b": 4}])
    asked = [{"hotel_id": key}, {"hotel_id": key + "2"}, {"hotel_id": key + "3"}]
    assert repo.read("by_both", [{**each, "id": 1} for each in asked]).to_dict()["b"] == [1, 2, None]
    assert repo.read("by_text", asked).to_dict()["b"] == [3, 4, None]


def test_an_unknown_entity_and_a_view_that_was_never_written_are_absent(repo: Repo, store: str) -> None:
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}])
    answer = repo.read("by_number", [{"id": 1}, {"id": 2}])
    assert answer.to_dict() == {"id": [1, 2], "a": [1.0, None], "b": [1, None]}
    statuses = {name: list(vector.statuses) for name, vector in zip(names(answer), answer.proto.results, strict=True)}
    unknown = 1 if differs("an unknown entity", store) else 3
    assert statuses == {"id": [1, 1], "a": [1, unknown], "b": [1, unknown]}
    assert repo.read("by_text", [{"hotel_id": "h"}]).to_dict() == {"hotel_id": ["h"], "a": [None], "b": [None]}


def names(answer: Any) -> list[str]:
    return list(answer.proto.metadata.feature_names.val)


def test_the_newer_event_replaces_the_older_one(repo: Repo) -> None:
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}])
    repo.push("by_number", [{"id": 1, "a": 2.0, "b": 2}], at=NOON + DAY)
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [2.0]


def test_an_older_row_written_later_changes_nothing(repo: Repo, store: str) -> None:
    repo.push("by_number", [{"id": 1, "a": 2.0, "b": 2}])
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}], at=NOON - DAY)
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [
        1.0 if differs("an older row written later", store) else 2.0
    ]


def test_of_a_batch_the_newest_row_is_kept(repo: Repo, store: str) -> None:
    repo.push("by_number", [{"id": 1, "a": 2.0, "b": 2}, {"id": 1, "a": 1.0, "b": 1, "event_timestamp": NOON - DAY}])
    case = "an older row after a newer one in a batch"
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [1.0 if differs(case, store) else 2.0]


def test_at_the_same_event_the_later_created_row_is_served(repo: Repo, store: str) -> None:
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}], created=NOON)
    repo.push("by_number", [{"id": 1, "a": 2.0, "b": 2}], created=NOON + DAY)
    case = "a later created timestamp at the same event timestamp"
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [1.0 if differs(case, store) else 2.0]


def test_at_the_same_event_an_earlier_created_row_changes_nothing(repo: Repo, store: str) -> None:
    repo.push("by_number", [{"id": 1, "a": 2.0, "b": 2}], created=NOON + DAY)
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}], created=NOON)
    case = "an earlier created timestamp at the same event timestamp"
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [1.0 if differs(case, store) else 2.0]


def test_the_same_row_again_changes_nothing(repo: Repo) -> None:
    for _ in range(3):
        repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}])
    assert repo.read("by_number", [{"id": 1}]).to_dict() == {"id": [1], "a": [1.0], "b": [1]}


def test_a_row_dated_in_the_future(repo: Repo, store: str) -> None:
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}])
    ahead = datetime.now(UTC) + 30 * DAY
    if differs("a row dated in the future", store):
        repo.push("by_number", [{"id": 1, "a": 9.0, "b": 9}], at=ahead)
        repo.push("by_number", [{"id": 1, "a": 2.0, "b": 2}], at=NOON + DAY)
        assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [9.0 if store == "redis" else 2.0]
        return
    with pytest.raises(Exception, match=r"1 rows of by_number are dated in the future, .* what was there is served"):
        repo.push("by_number", [{"id": 1, "a": 9.0, "b": 9}], at=ahead)
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [1.0]


def test_a_row_older_than_the_ttl_is_served_as_feast_serves_it(repo: Repo) -> None:
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}], at=NOON - 300 * DAY)
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [1.0]


def test_a_null_is_none_and_takes_the_place_of_a_value(repo: Repo) -> None:
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}])
    repo.push("by_number", [{"id": 1, "a": None, "b": 2}, {"id": 2, "a": 5.0, "b": 3}], at=NOON + DAY)
    assert repo.read("by_number", [{"id": 1}, {"id": 2}]).to_dict() == {"id": [1, 2], "a": [None, 5.0], "b": [2, 3]}


def test_a_withdrawn_view_is_forgotten(repo: Repo) -> None:
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}])
    repo.push("by_text", [{"hotel_id": "h", "a": 1.0, "b": 1}])
    repo.withdraw("by_number")
    repo.feast.apply([repo.views["by_number"]])
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [None]
    assert repo.read("by_text", [{"hotel_id": "h"}]).to_dict()["a"] == [1.0]


FULL = {
    "float32": 0.5,
    "float64": math.pi,
    "int32": -(2**31),
    "int64": 2**62 + 1,
    "flag": False,
    "text": "Zürich",
    "raw": b"\x00\xff",
    "instant": datetime(2025, 3, 1, 12, 30, tzinfo=UTC),
    "float32s": [0.25, -1.5],
    "float64s": [math.e],
    "int32s": [1, -2, 3],
    "int64s": [2**62 + 1],
    "flags": [True, False],
    "texts": ["a", "", "ü"],
    "raws": [b"\x00", b""],
    "instants": [datetime(2025, 3, 1, tzinfo=UTC)],
    "text_set": {"x", "y"},
    "json": '{"k": [1, 2]}',
    "map": {"k": "v"},
    "uuid": uuid.UUID(int=7),
    "decimal": Decimal("1.50"),
}
PUSHED = {**FULL, "uuid": str(FULL["uuid"])}
READ = {**FULL, "json": {"k": [1, 2]}}


def test_every_type_of_feast_comes_back_as_it_was(repo: Repo) -> None:
    assert FULL.keys() == TYPES.keys()
    repo.push("typed", [{"id": 1, **PUSHED}, {"id": 2, **PUSHED, "text": "", "raw": b"", "flag": True}])
    assert repo.read("typed", [{"id": 1}], list(TYPES)).to_dict() == {"id": [1]} | {k: [v] for k, v in READ.items()}
    second = repo.read("typed", [{"id": 2}, {"id": 3}], ["text", "raw", "flag"]).to_dict()
    assert second == {"id": [2, 3], "text": ["", None], "raw": [b"", None], "flag": [True, None]}


def test_the_protobuf_of_an_answer_is_feasts_own(make: Make) -> None:
    answers = {}
    for store in ("sqlite", "embedded"):
        repo = make(store)
        repo.push("typed", [{"id": 1, **PUSHED}, {"id": 2, **PUSHED, "float32": None, "text": None}], created=NOON)
        answer = repo.read("typed", [{"id": 2}, {"id": 1}, {"id": 3}], list(TYPES))
        vectors = dict(zip(names(answer), answer.proto.results, strict=True))
        for name in ("text_set", "map"):  # the order within is not Feast's to promise
            assert len(vectors.pop(name).values) == 3
        answers[store] = {name: vector.SerializeToString(deterministic=True) for name, vector in vectors.items()}
    assert answers["embedded"] == answers["sqlite"]


def test_event_times_full_names_columns_and_services_are_feasts_own(make: Make) -> None:
    answers = {}
    for store in ("sqlite", "embedded"):
        repo = make(store)
        repo.push("by_text", [{"hotel_id": "h1", "a": 0.5, "b": 1}])
        repo.push("by_both", [{"hotel_id": "h1", "id": 1, "a": 1.5, "b": 2}])
        service = repo.serve("both", "by_both")
        keys = {"hotel_id": ["h1", "h2"], "id": [1, 1]}
        refs = ["by_text:a", "by_both:a", "by_both:b"]
        by_column = repo.feast.get_online_features(refs, keys, full_feature_names=True)
        answers[store] = (
            sorted(by_column.to_dict(include_event_timestamps=True).items()),
            sorted(repo.feast.get_online_features(service, [{"hotel_id": "h1", "id": 1}]).to_dict().items()),
            sorted(by_column.to_df(True).columns),
            sorted(repo.feast.get_online_features(refs[:1], {"hotel_id": ["h1"]}).to_arrow().column_names),
        )
    assert answers["embedded"] == answers["sqlite"]


def offline(rows: list[dict[str, Any]], kind: pa.DataType) -> pa.Table:
    frame = pd.DataFrame(rows)
    schema = {"a": pa.float32(), "b": pa.int64(), "id": pa.int64(), "hotel_id": kind}
    fields = [pa.field(name, schema.get(name, pa.timestamp("us", tz="UTC"))) for name in frame.columns]
    return pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_materialising_serves_the_newest_row_of_the_window(kind: pa.DataType, repo: Repo) -> None:
    row = {"hotel_id": "h1", "id": 1, "created": NOON}
    rows = [
        row | {"event_timestamp": NOON - 3 * DAY, "a": 9.0, "b": 9},
        row | {"event_timestamp": NOON, "a": 1.0, "b": 1},
        row | {"event_timestamp": NOON - DAY, "a": 2.0, "b": 2, "created": NOON + DAY},
        row | {"event_timestamp": NOON, "a": None, "b": 3, "id": 2},
        row | {"event_timestamp": NOON + 3 * DAY, "a": 9.0, "b": 9, "id": 3},
    ]
    repo.land("by_both", offline(rows, kind))
    repo.materialize("by_both", NOON - DAY, NOON)
    asked = [{"hotel_id": "h1", "id": number} for number in (1, 2, 3)]
    assert repo.read("by_both", asked).to_dict() == {
        "hotel_id": ["h1"] * 3,
        "id": [1, 2, 3],
        "a": [1.0, None, None],
        "b": [1, 3, None],
    }
    repo.materialize("by_both", NOON, NOON + 3 * DAY)
    assert repo.read("by_both", asked).to_dict()["b"] == [1, 3, 9]


@pytest.mark.parametrize("peer", ["sqlite", "redis"])
def test_materialising_every_type_gives_what_the_other_stores_give(peer: str, make: Make) -> None:
    answers = {}
    arrow = {
        "float32s": pa.list_(pa.float32()),
        "int32s": pa.list_(pa.int32()),
        "raws": pa.list_(pa.binary()),
        "float32": pa.float32(),
        "int32": pa.int32(),
    }
    written = {name: value for name, value in FULL.items() if name not in {"text_set", "map", "uuid", "decimal"}}
    missing = dict.fromkeys(written) | {"float32s": [], "texts": [], "int64s": []}
    times = {"event_timestamp": NOON, "created": NOON}
    rows = [{"id": 1, **times, **written}, {"id": 2, **times, **missing}]
    inferred = pa.Table.from_pylist(rows)
    table = inferred.cast(pa.schema([field.with_type(arrow.get(field.name, field.type)) for field in inferred.schema]))
    for name in TYPES.keys() - written.keys():
        table = table.append_column(name, pa.nulls(2, pa.list_(pa.string()) if name == "text_set" else pa.string()))
    for store in (peer, "embedded"):
        repo = make(store)
        repo.land("typed", table)
        repo.materialize("typed", NOON - DAY, NOON)
        answers[store] = repo.read("typed", [{"id": 1}, {"id": 2}], list(TYPES)).to_dict()
    assert differs("a materialised int64 above 2^53 in a column with nulls", peer)
    assert [answers[store].pop("int64") for store in (peer, "embedded")] == [[2**62, None], [2**62 + 1, None]]
    assert answers["embedded"] == answers[peer]
    assert answers["embedded"]["float64"] == [math.pi, None]


@pytest.mark.parametrize("key", ["seven", 1.5, None, True])
def test_a_key_of_the_wrong_type_is_refused(key: Any, make: Make) -> None:
    repo = make("embedded")
    repo.push("by_number", [{"id": 1, "a": 1.0, "b": 1}])
    with pytest.raises(Exception, match=r"the key id is to be a whole number of 64 bits: "):
        repo.read("by_number", [{"id": key}])


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("a", pa.array(["x"]), "the feature a is FLOAT, and its source gives string"),
        ("b", pa.array([1.5]), "the feature b is INT64, and its source gives double"),
        ("id", pa.array(["x"]), "the key id is string, not int"),
        ("id", pa.array([None], pa.int64()), "1 rows have no id"),
        ("event_timestamp", pa.array(["2026"]), "timestamp"),
    ],
)
def test_a_value_out_of_its_type_is_refused_and_what_was_there_is_served(
    column: str, values: pa.Array, told: str, make: Make
) -> None:
    repo = make("embedded")
    store = repo.feast._get_provider().online_store
    good = {"id": pa.array([1]), "a": pa.array([1.0]), "b": pa.array([1])}
    good |= {name: pa.array([NOON], pa.timestamp("us", tz="UTC")) for name in ("event_timestamp", "created")}
    store.write_arrow(repo.feast.config, repo.views["by_number"], pa.table(good))
    with pytest.raises(Exception, match=told):
        store.write_arrow(repo.feast.config, repo.views["by_number"], pa.table(good | {column: values}))
    with pytest.raises(Exception, match=f"lacks the column {column}"):
        store.write_arrow(repo.feast.config, repo.views["by_number"], pa.table(good).drop_columns([column]))
    assert repo.read("by_number", [{"id": 1}]).to_dict()["a"] == [1.0]
