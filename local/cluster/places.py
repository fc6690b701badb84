"""Where the services of a cluster listen, and what fills the places of its settings files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from local import stack
from local.airflow import REPOSITORY
from local.ports import LOOPBACK

BUCKET: Final = "bidwright"
BRANCH: Final = "deployed"
"""The branch of the cluster's own repository whose newest commit the DAG files are read from."""


@dataclass(frozen=True)
class Ports(stack.Ports):
    """One for each service, on loopback."""

    postgres: int
    redis: int
    s3: int
    mlflow: int
    bid_1: int
    bid_2: int
    proxy: int


USUAL: Final = Ports(
    airflow=8080, smtp=1025, mailbox=8025, postgres=15432, redis=16379, s3=18333, mlflow=15000, bid_1=18091, bid_2=18092,
    proxy=8090,
)  # fmt: skip

LISTENER: Final[Mapping[str, str]] = {
    "airflow": "api-server", "smtp": "mailbox", "mailbox": "mailbox", "bid_1": "bid-1", "bid_2": "bid-2",
    "postgres": "postgres", "redis": "redis", "s3": "s3", "mlflow": "mlflow", "proxy": "proxy",
}  # fmt: skip
"""Which service listens on a port."""


def airflow_url(ports: Ports) -> str:
    """Where people find Airflow."""
    return f"http://{LOOPBACK}:{ports.airflow}"


def fillers(home: Path, ports: Ports, secrets: Mapping[str, str]) -> dict[str, str]:
    """What stands in the places of docker/settings/*.env when everything runs on this machine.

    Args:
        home: the cluster's working folder.
        ports: of its services.
        secrets: of `.env`.
    """
    at = {name: str(port) for name, port in asdict(ports).items()}
    hosts = {f"{name}_HOST": LOOPBACK for name in ("AIRFLOW", "POSTGRES", "REDIS", "S3", "MLFLOW", "SMTP")}
    numbers = {f"{name.upper()}_PORT": at[name] for name in ("airflow", "postgres", "redis", "s3", "mlflow", "smtp")}
    return {
        **secrets,
        **hosts,
        **numbers,
        "CODE": str(REPOSITORY),
        "AIRFLOW_BIND": LOOPBACK,
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW_URL": airflow_url(ports),
        "BIDWRIGHT_HOME": str(home),
        "DAGS_REPOSITORY": str(home / "dags.git"),
        "DAGS_REF": BRANCH,
    }
