"""The S3 server of a cluster on one machine: what it acknowledged is there after it was killed, and strangers get nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from local.ports import LOOPBACK, free_port
from ml.core.errors import StoreUnavailable
from ml.lake.blobs import open_blobs
from ml.lake.s3 import S3Blobs

ROOT = Path(__file__).parents[2]
KEY, READER = "AKIATESTOFTHECLUSTER", "AKIAREADEROFTHETESTS"


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    argv = [sys.executable, "-m", "local.cluster.s3_server", "--folder", str(folder), "--port", str(port)]
    env = os.environ | {"S3_ACCESS_KEY": KEY, "S3_READER_ACCESS_KEY": READER, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*argv, "--bucket", "bidwright"], env=env, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    httpx.get(f"http://{LOOPBACK}:{port}/health", trust_env=False).raise_for_status()
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    time.sleep(0.05)
            yield f"http://{LOOPBACK}:{port}", process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def blobs(url: str, cache: Path) -> S3Blobs:
    found = open_blobs("s3://bidwright/lake", cache=cache, endpoint=url)
    assert isinstance(found, S3Blobs)
    return found


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    with server(tmp_path / "s3") as (url, process):
        before = blobs(url, tmp_path / "cache")
        for number in range(5):
            before.put(f"a/day={number} ü/part.parquet", bytes([number]) * 1000)
        before.put("a/day=1 ü/part.parquet", b"later")
        before.delete("a/day=2 ü/part.parquet")
        client = boto3.session.Session().client("s3", endpoint_url=url)
        doomed = [{"Key": f"lake/a/day={number} ü/part.parquet"} for number in (3, 4)]
        client.delete_objects(Bucket="bidwright", Delete={"Objects": doomed})
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with server(tmp_path / "s3") as (url, _):
        after = blobs(url, tmp_path / "other")
        assert after.list("") == ["a/day=0 ü/part.parquet", "a/day=1 ü/part.parquet"]
        assert after.get("a/day=1 ü/part.parquet") == b"later"


def test_a_stranger_is_refused_and_nobody_reaches_motos_own_interface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tmp_path / "s3") as (url, _):
        blobs(url, tmp_path / "cache").put("kept", b"kept")
        assert httpx.get(f"{url}/bidwright/lake/kept", trust_env=False).status_code == 403
        assert httpx.post(f"{url}/moto-api/reset", trust_env=False).status_code == 403
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE")
        with pytest.raises(StoreUnavailable):
            blobs(url, tmp_path / "stranger").get("kept")


def test_the_reader_s_key_reads_and_neither_writes_nor_deletes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(tmp_path / "s3") as (url, _):
        blobs(url, tmp_path / "cache").put("kept", b"kept")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
        reader = blobs(url, tmp_path / "reader")
        assert (reader.list(""), reader.get("kept")) == (["kept"], b"kept")
        for change in (
            lambda: reader.put("kept", b"other"),
            lambda: reader.put("new", b""),
            lambda: reader.delete("kept"),
        ):
            with pytest.raises(StoreUnavailable, match="AccessDenied"):
                change()
        several = {"Objects": [{"Key": "lake/kept"}]}
        client = boto3.session.Session().client("s3", endpoint_url=url)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_objects(Bucket="bidwright", Delete=several)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        writer = blobs(url, tmp_path / "writer")
        assert (writer.list(""), writer.get("kept")) == (["kept"], b"kept")
