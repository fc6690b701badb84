"""A mailbox on this machine: a real SMTP server on loopback that keeps each mail as a file and shows them on a page.

`python -m local.mailbox --help` runs it alone. It takes mail from anybody who can reach loopback, sends
none on, and is no mail server for anything but trying things out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from local.mailbox_page import serve_page
from local.ports import LOOPBACK

MAX_MAIL_BYTES = 32 << 20


class Keeper:
    """Takes each mail and answers `250` only once it is safe in its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802  (aiosmtpd's)
        """Keep a mail under its time of arrival; the envelope's addresses go in front as X- headers."""
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n".encode()
        content: bytes = envelope.original_content or envelope.content
        try:
            keep(self.folder, head + content)
        except OSError as error:
            return f"452 the mail could not be kept: {error.strerror}"
        return "250 kept"


def keep(folder: Path, mail: bytes) -> Path:
    """Write a mail to a file of its own and return it; the file appears whole or not at all."""
    name = f"{time.time_ns():020d}-{hashlib.sha256(mail).hexdigest()[:12]}.eml"
    temporary = folder / f".{name}"
    with temporary.open("wb") as file:
        file.write(mail)
        file.flush()
        os.fsync(file.fileno())
    return temporary.replace(folder / name)


class Mailbox:
    """The SMTP server and its page, each in a thread of its own.

    Args:
        folder: where the mails lie, one `.eml` file each; made if it is missing.
        smtp_port: port of the SMTP server.
        page_port: port of the page; None for no page.
        host: address that both listen on; another than loopback only where nobody else's network begins, as in a container.
    """

    def __init__(self, folder: Path, *, smtp_port: int, page_port: int | None, host: str = LOOPBACK) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._smtp = Controller(
            Keeper(folder), hostname=host, port=smtp_port, data_size_limit=MAX_MAIL_BYTES, ident="bidwright mailbox"
        )
        self._page = None if page_port is None else serve_page(folder, page_port, host)

    def __enter__(self) -> Mailbox:
        self._smtp.start()
        if self._page is not None:
            threading.Thread(target=self._page.serve_forever, name="mailbox-page", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._smtp.stop()
        if self._page is not None:
            self._page.shutdown()
            self._page.server_close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local.mailbox", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("mail"), help="where mails are kept (default: %(default)s)")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument("--smtp-port", type=int, default=1025, help="default: %(default)s")
    parser.add_argument("--page-port", type=int, default=8025, help="default: %(default)s")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Mailbox(options.folder, smtp_port=options.smtp_port, page_port=options.page_port, host=options.host):
        ended.wait()


if __name__ == "__main__":
    main()
