"""The tests reach nobody's mailbox: a demo that runs beside them gets no mail of theirs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ml.core.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
USUAL = Settings.model_fields["smtp_port"].default


def test_settings_that_name_no_mail_server_reach_none(tmp_path: Path) -> None:
    for settings in (load_settings(home=tmp_path), Settings(home=tmp_path)):
        assert settings.smtp_port != USUAL
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((settings.smtp_host, settings.smtp_port), timeout=5)


def test_a_process_of_a_test_reaches_none_either(tmp_path: Path) -> None:
    code = "from ml.core.settings import load_settings; print(load_settings().smtp_port)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"BIDWRIGHT_HOME": str(tmp_path)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == os.environ["BIDWRIGHT_SMTP_PORT"] != str(USUAL)
