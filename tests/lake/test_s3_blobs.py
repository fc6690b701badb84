"""S3 as a blob store, against moto's server on loopback."""

from __future__ import annotations

import socket
from pathlib import Path

import boto3
import pandas as pd
import pytest

from ml.core.errors import NoData, StoreUnavailable
from ml.core.units import parse_day
from ml.lake.blobs import BlobStore, open_blobs
from ml.lake.lake import Lake

BUCKET = "bidwright-test"


@pytest.fixture
def blobs(s3: str, tmp_path: Path) -> BlobStore:
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket=BUCKET)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    return open_blobs(f"s3://{BUCKET}/some/prefix", cache=tmp_path / "cache", endpoint=s3)


def test_s3_behaves_as_a_folder_does(blobs: BlobStore) -> None:
    blobs.put("a/b", b"one")
    blobs.put("a/b", b"two")
    blobs.put("a/bc", b"three")
    assert blobs.get("a/b") == b"two"
    assert blobs.exists("a/b")
    assert not blobs.exists("a")
    assert blobs.list("a/") == ["a/b", "a/bc"]
    blobs.delete("a/b")
    blobs.delete("a/b")
    assert blobs.list("") == ["a/bc"]
    for read in (blobs.get, blobs.local_path):
        with pytest.raises(NoData, match="a/b"):
            read("a/b")


def test_keys_lie_below_the_prefix(blobs: BlobStore, s3: str) -> None:
    blobs.put("a", b"x")
    names = [item["Key"] for item in boto3.client("s3", endpoint_url=s3).list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert names == ["some/prefix/a"]


def test_list_goes_on_after_the_first_page(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    keys = [f"k/{number}" for number in range(8)]
    for key in keys:
        blobs.put(key, b"")
    page = boto3.client("s3", endpoint_url=s3).list_objects_v2(Bucket=BUCKET)
    assert page["IsTruncated"]  # one page does not hold them
    assert blobs.list("k/") == keys


def test_the_local_copy_follows_the_object(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put("table.parquet", b"one")
    first = blobs.local_path("table.parquet")
    assert first.read_bytes() == b"one"
    assert blobs.local_path("table.parquet") == first
    blobs.put("table.parquet", b"two")
    second = blobs.local_path("table.parquet")
    assert second.read_bytes() == b"two"
    assert second.is_relative_to(tmp_path / "cache")
    assert second.suffix == ".parquet"


def test_no_more_than_the_limit_is_read_of_an_object(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put("a.txt", b"three")
    assert blobs.read("a.txt", limit=3) == b"thr"
    assert not (tmp_path / "cache").exists(), "what is too large is not copied"
    assert blobs.read("a.txt", limit=9) == b"three"
    with pytest.raises(NoData, match=r"b\.txt"):
        blobs.read("b.txt", limit=3)


def test_the_lake_gives_the_same_digests_and_rows_on_s3_as_in_a_folder(blobs: BlobStore, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    there, here = Lake(blobs, "m"), Lake(open_blobs(str(tmp_path / "lake"), cache=tmp_path), "m")
    day = parse_day("2025-01-06")
    assert there.write("t", day, frame) == here.write("t", day, frame) == there.digest("t", day)
    assert there.days("t") == [day]
    pd.testing.assert_frame_equal(there.read("t", day), here.read("t", day))
    assert there.scan("t").equals(here.scan("t"))
    there.delete("t", day)
    with pytest.raises(NoData, match="2025-01-06"):
        there.read("t", day)


def test_a_missing_bucket_is_store_unavailable_whatever_is_asked(s3: str, tmp_path: Path) -> None:
    store = open_blobs("s3://no-such-bucket/p", cache=tmp_path, endpoint=s3)
    for ask in (
        lambda: store.put("a", b"x"),
        lambda: store.get("a"),
        lambda: store.read("a", limit=1),
        lambda: store.exists("a"),
        lambda: store.list(""),
        lambda: store.local_path("a"),
    ):
        with pytest.raises(StoreUnavailable, match="the bucket no-such-bucket does not exist"):
            ask()


def test_a_server_that_does_not_answer_is_store_unavailable(s3: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"  # bound and not listening: connections are refused
        store = open_blobs("s3://bucket/p", cache=tmp_path, endpoint=closed)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            store.put("a", b"x")


def test_missing_credentials_are_store_unavailable(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = open_blobs("s3://bucket/p", cache=tmp_path, endpoint=s3)
    with pytest.raises(StoreUnavailable, match="credentials"):
        store.put("a", b"x")
