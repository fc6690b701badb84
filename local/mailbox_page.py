"""The page of the local mailbox: a list, each mail as its reader would see it, its text and its source."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable
from email.message import EmailMessage
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.ports import LOOPBACK

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)

_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'self'"
_MAIL_POLICY: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""A mail is somebody else's HTML: no scripts, no forms, nothing from elsewhere."""

_NAME: Final = re.compile(r"\d{20}-[0-9a-f]{12}\.eml")


def read_mail(file: Path) -> EmailMessage:
    """Parse a kept mail."""
    return email.message_from_bytes(file.read_bytes(), policy=email.policy.default)


def mails(folder: Path) -> list[Path]:
    """The files of the mails, newest first."""
    return sorted((file for file in folder.glob("*.eml") if _NAME.fullmatch(file.name)), reverse=True)


def text_of(mail: EmailMessage) -> str:
    """The plain text of a mail; a note where it has none."""
    body = mail.get_body(("plain",))
    return body.get_content() if body is not None else "(this mail has no plain text)"


def html_of(mail: EmailMessage) -> str | None:
    """The HTML of a mail, its inline pictures (`cid:`) put in as data; None where it has none."""
    body = mail.get_body(("html",))
    if body is None:
        return None
    html: str = body.get_content()
    for part in mail.walk():
        content_id = str(part.get("Content-ID", "")).strip("<> ")
        if content_id and part.get_content_maintype() == "image":
            encoded = str(part.get_payload(decode=False)).replace("\n", "").replace("\r", "")
            html = html.replace(f"cid:{content_id}", f"data:{part.get_content_type()};base64,{encoded}")
    return html


class _Handler(BaseHTTPRequestHandler):
    """Answers GET only."""

    server: _Server

    def do_GET(self) -> None:  # (the base class's name)
        """The list at /, a mail at /NAME, its HTML at /NAME/html, its source at /NAME/source."""
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in {LOOPBACK, "localhost"}:
            # A web site could point its own name at loopback and read the mails through the visitor's browser.
            return self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"open this page by its own address")
        name, _, view = unquote(urlsplit(self.path).path).strip("/").partition("/")
        if not name:
            return self._list()
        file = self.server.folder / name
        if not _NAME.fullmatch(name) or not file.is_file() or view not in self._views:
            return self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there is no such mail")
        return self._views[view](self, file)

    def _list(self) -> None:
        rows = [{"name": file.name, "mail": read_mail(file)} for file in mails(self.server.folder)]
        self._page("mailbox.html.j2", mails=rows)

    def _mail(self, file: Path) -> None:
        mail = read_mail(file)
        self._page(
            "mail.html.j2", name=quote(file.name), mail=mail, text=text_of(mail), has_html=html_of(mail) is not None
        )

    def _html(self, file: Path) -> None:
        html = html_of(read_mail(file)) or "(this mail has no HTML)"
        self._answer(HTTPStatus.OK, "text/html", html.encode(), policy=_MAIL_POLICY)

    def _source(self, file: Path) -> None:
        self._answer(HTTPStatus.OK, "text/plain", file.read_bytes())

    _views: Final[dict[str, Callable[[_Handler, Path], None]]] = {"": _mail, "html": _html, "source": _source}

    def _page(self, template: str, **values: object) -> None:
        page = _TEMPLATES.get_template(template).render(**values)
        self._answer(HTTPStatus.OK, "text/html", page.encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, *, policy: str = _PAGE_POLICY) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; the log is for trouble."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, port: int, host: str) -> None:
        self.folder = folder
        super().__init__((host, port), _Handler)


def serve_page(folder: Path, port: int, host: str = LOOPBACK) -> ThreadingHTTPServer:
    """A server of the page, bound and not yet serving."""
    return _Server(folder, port, host)
