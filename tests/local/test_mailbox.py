"""The mailbox keeps each mail as it came, shows it, and obeys nothing that a mail says."""

from __future__ import annotations

import http.client
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from local.mailbox import Mailbox
from local.mailbox_page import mails, read_mail
from local.ports import LOOPBACK, free_port

PICTURE = b"\x89PNG\r\n\x1a\n-a picture-"


@pytest.fixture
def ports() -> tuple[int, int]:
    smtp = free_port()
    return smtp, free_port(taken=[smtp])


@pytest.fixture
def folder(tmp_path: Path, ports: tuple[int, int]) -> Iterator[Path]:
    with Mailbox(tmp_path / "mail", smtp_port=ports[0], page_port=ports[1]):
        yield tmp_path / "mail"


def written(subject: str = "Drift on 2026-03-06") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = subject, "bidwright@localhost", "team@localhost"
    mail["Message-ID"] = "<1@bidwright>"
    mail.set_content("Rival prices fell.\n")
    mail.add_alternative("<p>Rival prices fell.</p><img src='cid:plot'><script>alert(1)</script>", subtype="html")
    html = mail.get_payload()[1]
    assert isinstance(html, EmailMessage)
    html.add_related(PICTURE, "image", "png", cid="<plot>")
    return mail


def send(port: int, mail: EmailMessage) -> None:
    with smtplib.SMTP(LOOPBACK, port, timeout=20) as server:
        assert server.send_message(mail) == {}


def get(port: int, path: str, *, host: str = LOOPBACK) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": f"{host}:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers["Content-Security-Policy"]
    finally:
        connection.close()


def test_each_mail_is_kept_as_a_file_of_its_own(folder: Path, ports: tuple[int, int]) -> None:
    for number in range(3):
        send(ports[0], written(f"mail {number}"))
    send(ports[0], written("mail 2"))
    kept = [read_mail(file) for file in mails(folder)]
    assert [mail["Subject"] for mail in kept] == ["mail 2", "mail 2", "mail 1", "mail 0"]
    assert kept[0]["X-Envelope-To"] == "team@localhost"
    assert [part.get_payload(decode=True) for part in kept[0].walk() if part.get_content_type() == "image/png"] == [
        PICTURE
    ]
    assert {file.suffix for file in folder.iterdir()} == {".eml"}, "nothing half-written is left"


def test_a_mail_that_cannot_be_kept_is_not_accepted(folder: Path, ports: tuple[int, int]) -> None:
    folder.rmdir()
    with pytest.raises(smtplib.SMTPDataError, match="could not be kept"):
        send(ports[0], written())
    folder.mkdir()


def test_the_page_lists_and_shows_mails_without_obeying_them(folder: Path, ports: tuple[int, int]) -> None:
    assert "No mail yet" in get(ports[1], "/")[1]
    send(ports[0], written("Drift <script>alert(1)</script>"))
    [file] = mails(folder)
    for path in ("/", f"/{file.name}"):
        status, page, policy = get(ports[1], path)
        assert status == 200
        assert "Drift &lt;script&gt;" in page
        assert "<script" not in page
        assert "default-src 'none'" in policy
    assert "<iframe sandbox" in get(ports[1], f"/{file.name}")[1]
    _, html, policy = get(ports[1], f"/{file.name}/html")
    assert "data:image/png;base64," in html
    assert policy.startswith("sandbox;")
    assert "Message-ID: <1@bidwright>" in get(ports[1], f"/{file.name}/source")[1]


def test_the_page_gives_only_mails_and_only_to_this_machine(folder: Path, ports: tuple[int, int]) -> None:
    (folder.parent / "secret.eml").write_text("secret")
    for path in ("/../secret.eml", "/%2e%2e/secret.eml", "/nothing.eml", "/x/html"):
        assert get(ports[1], path)[0] == 404, path
    assert get(ports[1], "/", host="evil.example")[0] == 403


def test_it_runs_as_a_module_and_says_what_it_can() -> None:
    root = Path(__file__).parents[2]
    argv = [sys.executable, "-m", "local.mailbox", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=root, env=dict(os.environ))
    assert "--smtp-port" in done.stdout
