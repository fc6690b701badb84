"""A container starts with its settings filled or not at all, and its health check tells well from ill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local import healthy
from local.container import settings
from ml.core.errors import UsageError

HEALTH = {"metadatabase": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "first.env").write_text("# said first\nURL=postgres://${WRITER}@db\nNAME=plain\n")
    (tmp_path / "second.env").write_text("URL=postgres://${READER}@db\n")
    return tmp_path


def test_a_later_file_counts_and_what_it_replaces_needs_no_value(folder: Path) -> None:
    assert settings(["first", "second"], {"READER": "r"}, folder=folder) == {"URL": "postgres://r@db", "NAME": "plain"}


@pytest.mark.parametrize("given", [{}, {"WRITER": ""}], ids=["absent", "empty"])
def test_a_place_without_a_value_is_named_and_nothing_starts(folder: Path, given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="URL needs WRITER"):
        settings(["first"], given, folder=folder)


def test_the_command_takes_the_place_of_the_one_that_filled_its_settings() -> None:
    code = "import os, json; print(json.dumps([os.environ['BIDWRIGHT_SERVE_TOKEN'], os.getpid()]))"
    given = {"SETTINGS": "serve", "BIDWRIGHT_SERVE_TOKEN": "t" * 20, "BIDWRIGHT_READER_PASSWORD": "r", "POSTGRES_HOST": "db",
             "POSTGRES_PORT": "5432", "REDIS_HOST": "redis", "REDIS_PORT": "6379", "REDIS_READER_PASSWORD": "r",
             "S3_READER_ACCESS_KEY": "r", "S3_READER_SECRET_KEY": "r"}  # fmt: skip
    argv = [sys.executable, "-m", "local.container", sys.executable, "-c", code]
    process = subprocess.Popen(argv, env=os.environ | given, stdout=subprocess.PIPE, text=True)
    told, _ = process.communicate(timeout=90)
    assert json.loads(told) == ["t" * 20, process.pid]


def test_a_container_without_its_secrets_ends_with_a_sentence() -> None:
    argv = [sys.executable, "-m", "local.container", "true"]
    run = subprocess.run(argv, env=os.environ | {"SETTINGS": "serve"}, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("with-settings: BIDWRIGHT_")
    assert len(run.stderr.splitlines()) == 1


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(HEALTH).encode()
        self.send_response(503 if self.path == "/ill" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def page() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_is_well_when_it_answers_and_a_part_when_the_page_says_so(page: str) -> None:
    assert healthy.trouble_with_page(f"{page}/") == ""
    assert healthy.trouble_with_page(f"{page}/", "metadatabase") == ""


def test_a_page_that_answers_with_an_error_or_names_an_ill_part_is_not_well(page: str) -> None:
    assert "503" in healthy.trouble_with_page(f"{page}/ill")
    assert healthy.trouble_with_page(f"{page}/", "triggerer") == "triggerer is unhealthy"
    assert "says nothing of scheduler" in healthy.trouble_with_page(f"{page}/", "scheduler")


def test_a_page_that_nobody_serves_is_not_well(free_port: int) -> None:
    assert "does not answer" in healthy.trouble_with_page(f"http://127.0.0.1:{free_port}/")


@pytest.fixture
def free_port() -> int:
    from local.ports import free_port

    return free_port()


TABLE = "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:C350 0200000A:18EB {state} 0:0\n"


def test_a_worker_is_well_while_its_connection_to_the_broker_is_open(tmp_path: Path) -> None:
    for state, trouble in (("01", ""), ("06", "nothing is connected to port 6379")):
        (tmp_path / state).write_text(TABLE.format(state=state))
        assert healthy.trouble_with_connection(6379, [tmp_path / state]) == trouble
    assert healthy.trouble_with_connection(6379, [tmp_path / "absent"]) != ""


def test_the_connections_of_this_machine_can_be_read() -> None:
    assert healthy.trouble_with_connection(1) == "nothing is connected to port 1"


def test_a_call_that_is_none_says_how_to_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthy.main([]) == 1
    assert "call it as" in capsys.readouterr().out
