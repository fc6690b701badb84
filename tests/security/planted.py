"""Fifty secrets, each unlike any other text, each in a place where an installation may keep one: right, odd or wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ml.core.digests import digest_bytes

_CLOSED = "127.0.0.1:1"
"""A port that nobody listens on."""


@dataclass(frozen=True)
class Planted:
    """A secret: the setting that holds it, the text that must not be seen, and the environment or settings file it is in."""

    setting: str
    core: str
    environment: Mapping[str, str]
    file: str = ""


def _core(number: int) -> str:
    return f"Zq{number:02d}" + digest_bytes(str(number).encode())[:16]


def planted() -> list[Planted]:
    """All of them."""
    found: list[Planted] = []

    def add(name: str, form: str, *, file: bool = False, **more: str) -> None:
        core = _core(len(found))
        text = form.replace("CORE", core)
        if file:
            found.append(Planted(f"{name} in the file", core, more, f"{name.lower()} = {text}\n"))
        else:
            key = name if name.startswith("AWS_") else f"BIDWRIGHT_{name}"
            found.append(Planted(name, core, {key: text, **more}))

    for password in ("CORE", "CORE@x", "x@CORE", "CORE/x", "CORE:x", "x%40CORE", "CORE'x", 'CORE"x', "CORE x", "üCORE"):
        add("DATABASE_URL", f"postgresql://bidwright:{password}@{_CLOSED}/bidwright")
    add("DATABASE_URL", f"postgres://bidwright:CORE@{_CLOSED}")
    add("DATABASE_URL", f"postgresql+psycopg2://bidwright:CORE@{_CLOSED}/bidwright")
    add("DATABASE_URL", f"mysql://bidwright:CORE@{_CLOSED}/bidwright")
    add("DATABASE_URL", "postgresql//bidwright:CORE@nowhere/bidwright")
    add("DATABASE_URL", "postgresql://bidwright:CORE@host:port/bidwright")
    add("DATABASE_URL", f"postgresql://bidwright@{_CLOSED}/bidwright?password=CORE")
    add("DATABASE_URL", f"postgresql://bidwright@{_CLOSED}/bidwright?passfile=/nowhere&password=CORE")
    for form in (
        "password=CORE",
        "password=CORE,ssl=true",
        "ssl=maybe,password=CORE",
        "username=u,password=CORE@,db=0",
        "db=x,password=CORE",
    ):
        add("REDIS", f"{_CLOSED},{form}")
    for form in (f"http://mlflow:CORE@{_CLOSED}", f"postgresql://mlflow:CORE@{_CLOSED}/mlflow", "nothing://m:CORE@x"):
        add("MLFLOW_URL", form)
    s3 = {"BIDWRIGHT_LAKE_URL": "s3://bidwright/lake", "BIDWRIGHT_BLOBS_URL": "s3://bidwright/blobs"}
    for form in (f"http://user:CORE@{_CLOSED}", "http://user:CORE@", "user:CORE@host"):
        add("S3_ENDPOINT", form, **s3)
    here = s3 | {"BIDWRIGHT_S3_ENDPOINT": f"http://{_CLOSED}"}
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        add(
            name,
            "CORE",
            AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
            **({"AWS_SECRET_ACCESS_KEY": "x"} if "TOKEN" in name else {}),
            **here,
        )
    for form in ("CORE", "CORE CORE", "üCORE"):
        add("SMTP_PASSWORD", form, BIDWRIGHT_SMTP_USER="bidwright", BIDWRIGHT_SMTP_PORT="1")
    for form in ("CORE", "release:CORE", "bidwright-secret-1:release:CORE"):
        add("SIGNING_KEY", form)
        add("TRUSTED_KEYS", json.dumps([form]))
    for form in ("CORE", "CORE ", "Bearer CORE"):
        add("SERVE_TOKEN", form)
    for form in (
        "https://hooks.example/services/CORE",
        "http://hooks.example/CORE",
        "CORE",
        "https://u:CORE@hooks.example/x",
    ):
        add("WEBHOOKS", json.dumps({"team": form}))
    add("WEBHOOKS", '{"team": "https://hooks.example/CORE"')
    add("SPARK_OPTIONS", json.dumps({"spark.hadoop.fs.s3a.secret.key": "CORE"}), BIDWRIGHT_FEATURE_ENGINE="spark")
    add("SMTP_PASSWORD", '"CORE"', file=True)
    add("WEBHOOKS", '{ team = "https://hooks.example/CORE" }', file=True)
    add("SERVE_TOKEN", '["CORE"]', file=True)
    add("SIGNING_KEY", "'CORE", file=True)
    return found
