"""What the whole suite needs before anything is imported: an Airflow of its own, in a folder that is thrown away.

And no way to anybody's mailbox: the usual SMTP port is that of a demo, which may be running beside the tests.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Airflow reads its settings when it is first imported, so they have to be there before any test module is.
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="bidwright-tests-airflow-"))

# Held and never listened on: whoever has no mail server of its own is refused, and nobody else can take the port.
_nobody = socket.socket()
_nobody.bind(("127.0.0.1", 0))
NO_MAIL_SERVER = str(_nobody.getsockname()[1])

os.environ.update(
    {
        "BIDWRIGHT_SMTP_PORT": NO_MAIL_SERVER,
        # A tree that is being worked on is dirty, and what a test says must not hang on that.
        "BIDWRIGHT_CODE_VERSION": "0123456789abcdef0123456789abcdef01234567",
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 6,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "tester:admin,reader:viewer",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME}/airflow.db",
        # Nothing of a test is left in the machine's memory.
        "BIDWRIGHT_SERVE_MEMORY": str(AIRFLOW_HOME / "memory"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
)
# As Airflow does for its own processes.
sys.path += [str(ROOT / "dags"), str(ROOT / "plugins")]


def pytest_configure(config: pytest.Config) -> None:
    from tests.ml_test_score import recorder

    config.pluginmanager.register(recorder(), "ml-test-score")


def pytest_unconfigure() -> None:
    _nobody.close()
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Airflow's own database, empty."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def api(airflow_db: None) -> Iterator[Any]:
    """Airflow's web server with our plugin, in process, as an administrator."""
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    app = create_app()
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="tester", role="admin"))
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


@pytest.fixture(scope="session")
def dagbag(airflow_db: None) -> Any:
    """Our DAGs, as Airflow parses them."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.pool import Pool

    Pool.create_or_update_pool("online_store", slots=1, description="", include_deferred=False)
    return DagBag()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server (moto's) on loopback, without buckets."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, with credentials that it takes in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return s3_server
