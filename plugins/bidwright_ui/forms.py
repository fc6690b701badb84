"""What a form of the pages carries, and how it is read: bounded, and only from a page that we gave to this very session.

The login cookie of Airflow is SameSite=Lax, which keeps other sites out, but not another port or subdomain of the same
site. So each form carries a token of user and session as well.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qsl

from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request, status

TOKEN: Final = "form_token"  # noqa: S105  (a field's name)

LONGEST: Final = 8 * 2**20
"""Bytes of a form that are read at all; a text of 2 MB in any script still comes through, to be given back."""

_FIELDS: Final = 20
_FORM: Final = "application/x-www-form-urlencoded"
_OWN: Final = frozenset({None, "same-origin", "none"})


class Form(dict[str, str]):
    """The fields of a form; `genuine` says whether it came from a page that this session was given."""

    genuine: bool = False


def token(request: Request, user: GetUserDep) -> str:
    """The token that forms of this user in this session carry; it is worth nothing to anybody else."""
    # The cookie first: where Airflow runs without logins, the bearer token is another one at each request.
    session = request.cookies.get(COOKIE_NAME_JWT_TOKEN) or request.headers.get("authorization", "")
    said = f"bidwright form\n{user.get_id()}\n{hashlib.sha256(session.encode()).hexdigest()}"
    return hmac.new(conf.get_mandatory_value("api", "secret_key").encode(), said.encode(), hashlib.sha256).hexdigest()


async def read(request: Request, user: GetUserDep) -> Form:
    """Dependency: the form that was sent. It is not refused yet where it is not genuine, so that no text is lost.

    Raises:
        HTTPException: 415 for another kind of body, 413 for one beyond `LONGEST`, 400 for too many fields.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, "this is not a form of these pages")
    form = Form(_parsed(await _body(request)))
    own = request.headers.get("sec-fetch-site") in _OWN
    form.genuine = own and hmac.compare_digest(form.get(TOKEN, "").encode(), token(request, user).encode())
    return form


FormDep = Annotated[Form, Depends(read)]


async def _body(request: Request) -> bytes:
    too_long = HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, "this form is too large; nothing was saved")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > LONGEST:
        raise too_long
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST:
            raise too_long
    return bytes(body)


def _parsed(body: bytes) -> Mapping[str, str]:
    """Each field's first value; browsers send lines' ends as CRLF, which are one character here.

    >>> _parsed(b"text=a%0D%0Ab&text=c&why=")
    {'text': 'a\\nb', 'why': ''}
    """
    try:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "this is not a form of these pages") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value.replace("\r\n", "\n"))
    return fields
