"""Blobs as objects in an S3 bucket; the only module that uses boto3.

Credentials come from where boto3 always looks for them (environment, profile, role); we hold none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ml.core.errors import NoData, StoreUnavailable
from ml.lake.blobs import check_key
from ml.lake.local import write_atomically

_ABSENT = {"NoSuchKey", "404", "NotFound"}
_OFF = {"RequestTimeTooSkewed", "RequestExpired"}
_FORBIDDEN = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "MethodNotAllowed"}
_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 3})


class S3Blobs:
    """Objects below `prefix` in `bucket`; a put is one request and therefore whole or absent."""

    def __init__(self, *, bucket: str, prefix: str, cache: Path, endpoint: str = "") -> None:
        self.bucket, self.prefix, self.cache, self.endpoint = bucket, prefix, cache, endpoint

    def __repr__(self) -> str:
        return f"S3Blobs('s3://{self.bucket}/{self.prefix}')"

    @cached_property
    def _client(self) -> Any:
        session = boto3.session.Session()  # its own: the default one is shared and keeps the first credentials it saw
        return session.client("s3", endpoint_url=self.endpoint or None, config=_CONFIG)

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`."""
        with self._clear_errors(key):
            self._client.put_object(Bucket=self.bucket, Key=self._name(key), Body=data)

    def get(self, key: str) -> bytes:
        """The bytes under `key`; NoData if there are none."""
        with self._clear_errors(key):
            data: bytes = self._client.get_object(Bucket=self.bucket, Key=self._name(key))["Body"].read()
            return data

    def read(self, key: str, *, limit: int) -> bytes:
        """The first `limit` bytes under `key`, from the local copy unless the object is larger."""
        listed = self._listed(key)
        if listed["Size"] <= limit:
            copy = self._copy(key, listed["ETag"])
            try:
                return copy.read_bytes()[:limit]
            except OSError as error:
                raise StoreUnavailable(
                    f"the copy of {key} in {self.cache} could not be read: {error.strerror or error}",
                    next="remove the cache, and run it again",
                ) from error
        with self._clear_errors(key):
            data: bytes = self._client.get_object(Bucket=self.bucket, Key=self._name(key))["Body"].read(limit)
            return data

    def exists(self, key: str) -> bool:
        """Whether there is an object under `key`."""
        return self._find(key) is not None

    def list(self, prefix: str) -> list[str]:
        """Every key that starts with `prefix`, sorted."""
        return list(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """The bytes of every object whose key starts with `prefix`, as the listing says them."""
        base = f"{self.prefix}/" if self.prefix else ""
        with self._clear_errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=base + prefix)
            found = {
                item["Key"].removeprefix(base): int(item["Size"]) for page in pages for item in page.get("Contents", [])
            }
        return dict(sorted(found.items()))

    def delete(self, key: str) -> None:
        """Remove the object under `key`."""
        with self._clear_errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=self._name(key))

    def server_time(self) -> datetime:
        """The Date header of an answer to a listing, which says as well whether the bucket is there and may be listed."""
        with self._clear_errors("the bucket"):
            answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._name("none"), MaxKeys=1)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)

    def local_path(self, key: str) -> Path:
        """A cached copy named after the object's ETag, so that a changed object is fetched again."""
        return self._copy(key, self._listed(key)["ETag"])

    def _copy(self, key: str, etag: str) -> Path:
        etag = etag.strip('"')
        where = hashlib.sha256(f"{self.endpoint}|{self.bucket}|{self._name(key)}".encode()).hexdigest()
        path = self.cache / where / f"{etag}{Path(key).suffix}"
        if not path.exists():
            data = self.get(key)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data)
            except OSError as error:
                raise StoreUnavailable(
                    f"the copy of {key} in {self.cache} could not be written: {error.strerror or error}",
                    left="nothing changed in S3",
                    next="free some space or move the cache",
                ) from error
        return path

    def _name(self, key: str) -> str:
        return f"{self.prefix}/{check_key(key)}" if self.prefix else check_key(key)

    def _listed(self, key: str) -> dict[str, Any]:
        """What the listing says of the object; NoData if there is none."""
        listed = self._find(key)
        if listed is None:
            raise NoData(f"there is no {key} in s3://{self.bucket}/{self.prefix}")
        return listed

    def _find(self, key: str) -> dict[str, Any] | None:
        """ETag and size, or None; by a listing, because only that tells a missing bucket from a missing object."""
        name = self._name(key)
        with self._clear_errors(key):
            found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=name, MaxKeys=1).get("Contents", [])
        return found[0] if found and found[0]["Key"] == name else None

    @contextmanager
    def _clear_errors(self, key: str) -> Iterator[None]:
        """Turn what boto3 raises into NoData or a StoreUnavailable that says what to do."""
        where = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _ABSENT:
                raise NoData(f"there is no {key} in {where}") from error
            if code == "NoSuchBucket":
                what, advice = f"the bucket {self.bucket} does not exist", "create it or correct the URL"
            elif code in _OFF:
                what, advice = f"{where} refused {key}: this machine's clock is off", "set its clock, such as by NTP"
            elif code in _FORBIDDEN:
                what = f"{where} may not be used for {key} ({code})"
                advice = (
                    "check the credentials, and that the bucket's policy lets them read and write below this prefix"
                )
            else:
                what, advice = (
                    f"{where} refused {key}: {code or error}",
                    "check the credentials and the bucket's policy",
                )
            raise StoreUnavailable(what, left="nothing was written", next=advice) from error
        except BotoCoreError as error:
            raise StoreUnavailable(
                f"{where} cannot be reached: {error}",
                left="nothing was written",
                next="check the endpoint, the network and the credentials",
            ) from error
