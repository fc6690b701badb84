"""moto's S3 server with two things it lacks: what it took is on the disk before its caller hears of it, and it wants a key,
of which there is one that writes and one that only reads.

So a killed server comes back with every object that it acknowledged, as a real one does. It is for trying things out: it
does not check signatures, and keeps everything in memory too.

    S3_ACCESS_KEY=... python -m local.cluster.s3_server --folder s3 --port 18333 --bucket bidwright
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from local.ports import LOOPBACK

HEALTH = "/health"
_REGION = "us-east-1"
_READING = frozenset({"GET", "HEAD"})
_CREDENTIAL = re.compile(r"Credential=([^/]+)/")
_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>'
_UNKNOWN = ("InvalidAccessKeyId", "The access key is not this server's.")
_READS_ONLY = ("AccessDenied", "This access key only reads.")

Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]


class Folder:
    """The objects of all buckets on disk, one file each: a line of JSON that names it, then its bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def load(self, put: Callable[[str, str, bytes], None]) -> int:
        """Hand every object to `put(bucket, key, value)`; returns how many there were."""
        files = sorted(self._folder.glob("*.object"))
        for file in files:
            head, _, value = file.read_bytes().partition(b"\n")
            named = json.loads(head)
            put(named["bucket"], named["key"], value)
        for left in self._folder.glob("*.new"):
            left.unlink()
        return len(files)

    def keep(self, bucket: str, key: str, value: bytes) -> None:
        """Write an object, whole or not at all."""
        file = self._file(bucket, key)
        temporary = file.with_suffix(f".{threading.get_ident()}.new")
        temporary.write_bytes(json.dumps({"bucket": bucket, "key": key}).encode() + b"\n" + value)
        temporary.replace(file)

    def forget(self, bucket: str, key: str) -> None:
        """Remove an object; nothing happens if it is not there."""
        self._file(bucket, key).unlink(missing_ok=True)

    def keys(self, bucket: str) -> set[str]:
        """The keys of a bucket that are on disk."""
        found = set()
        for file in self._folder.glob("*.object"):
            with file.open("rb") as opened:
                named = json.loads(opened.readline())
            if named["bucket"] == bucket:
                found.add(named["key"])
        return found

    def _file(self, bucket: str, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(f'{bucket}/{key}'.encode()).hexdigest()}.object"


class Kept:
    """The application in front of moto's.

    Args:
        app: moto's.
        backend: moto's S3 backend, from which the objects are read.
        folder: where they are kept.
        access_key: that may do everything; empty lets everybody do so.
        reader_key: that may read; empty for none.
    """

    def __init__(self, app: App, backend: Any, folder: Folder, access_key: str, reader_key: str) -> None:
        self._app, self._backend, self._folder = app, backend, folder
        self._access_key, self._reader_key = access_key, reader_key
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        """Answer one request."""
        if environ["PATH_INFO"] == HEALTH:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok\n"]
        reads = environ["REQUEST_METHOD"] in _READING
        if refusal := self._refusal(environ, reads=reads):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [_ERROR.format(*refusal).encode()]
        return self._app(environ, start_response) if reads else self._change(environ, start_response)

    def _refusal(self, environ: dict[str, Any], *, reads: bool) -> tuple[str, str] | None:
        # moto's own interface can erase everything.
        if environ["PATH_INFO"].startswith("/moto-api"):
            return _UNKNOWN
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        said = found[1] if found else ""
        if not self._access_key or said == self._access_key:
            return None
        if not said or said != self._reader_key:
            return _UNKNOWN
        return None if reads else _READS_ONLY

    def _change(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        told: list[Any] = []
        with self._lock:
            body = b"".join(self._app(environ, lambda *said: told.append(said)))
            if told[0][0].startswith("2"):
                bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
                self._write(bucket, [key] if key else self._changed(bucket))
        start_response(*told[0])
        return [body]

    def _changed(self, bucket: str) -> set[str]:
        """The keys whose presence on disk is not that in memory: after a request that names several."""
        found = self._backend.buckets.get(bucket)
        return self._folder.keys(bucket) ^ (set(found.keys) if found else set())

    def _write(self, bucket: str, keys: Iterable[str]) -> None:
        for key in keys:
            found = self._backend.get_object(bucket, key) if bucket in self._backend.buckets else None
            if found is None:
                self._folder.forget(bucket, key)
            else:
                self._folder.keep(bucket, key, found.value)


def application(folder: Path, *, bucket: str, access_key: str, reader_key: str) -> Kept:
    """The server's application: what was kept is loaded, and the bucket is there."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def put(into: str, key: str, value: bytes) -> None:
        if into not in backend.buckets:
            backend.create_bucket(into, _REGION)
        backend.put_object(into, key, value)

    kept = Folder(folder)
    kept.load(put)
    if bucket not in backend.buckets:
        backend.create_bucket(bucket, _REGION)
    return Kept(DomainDispatcherApplication(create_backend_app), backend, kept, access_key, reader_key)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until it is ended."""
    from werkzeug.serving import run_simple

    parser = argparse.ArgumentParser(prog="python -m local.cluster.s3_server", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where objects are kept")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bucket", required=True, help="made if it is not there")
    options = parser.parse_args(arguments)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    writer, reader = (os.environ.get(name, "") for name in ("S3_ACCESS_KEY", "S3_READER_ACCESS_KEY"))
    app = application(options.folder, bucket=options.bucket, access_key=writer, reader_key=reader)
    run_simple(options.host, options.port, app, threaded=True)


if __name__ == "__main__":
    main()
