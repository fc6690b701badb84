"""Answers that every route shares: a page, and one sentence about what is wrong, as a page or as JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Final

from airflow.api_fastapi.app import get_auth_manager
from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from bidwright_ui.rendering import render
from bidwright_ui.security import DATA_HEADERS, PAGE_HEADERS
from ml.core.errors import BidwrightError, NoData, NotReady, StoreUnavailable, UsageError
from ml.platform import Platform

_log = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[BidwrightError], HTTPStatus], ...]] = (
    (UsageError, HTTPStatus.BAD_REQUEST),
    (NoData, HTTPStatus.NOT_FOUND),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (NotReady, HTTPStatus.SERVICE_UNAVAILABLE),
)

_NEXT: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "sign in to Airflow and open the page again",
    HTTPStatus.FORBIDDEN: "ask whoever runs Airflow for a role that may",
    HTTPStatus.NOT_FOUND: "choose a page from the navigation",
    HTTPStatus.METHOD_NOT_ALLOWED: "open the page instead",
    HTTPStatus.CONFLICT: "open the page again and look at what changed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "send less",
    HTTPStatus.UNPROCESSABLE_ENTITY: "correct it and send it again",
}


@cache
def open_platform() -> Platform:
    """The platform that the settings describe, opened by the first page that needs it."""
    return Platform.from_environment()


def current_platform() -> Platform:
    """Dependency of every page; a test puts its own platform in its place."""
    return open_platform()


CurrentPlatform = Annotated[Platform, Depends(current_platform)]


def show_page(
    request: Request,
    template: str,
    view: Mapping[str, Any],
    *,
    under: str = "",
    market: str = "",
    status: int = HTTPStatus.OK,
) -> Response:
    """A page as an answer; links in it are relative, so that it works wherever the web server puts it."""
    depth = _below(request).strip("/").count("/")
    html = render(template, view, root="../" * depth or "./", market=market, under=under)
    return HTMLResponse(html, status_code=status, headers=dict(PAGE_HEADERS))


def explain(request: Request, error: Exception) -> Response:
    """An error of ours: one sentence about what is wrong and what to do, in the form that was asked for."""
    return _say(request, getattr(error, "what", str(error)), getattr(error, "next", ""), status_of(error))


def status_of(error: Exception) -> HTTPStatus:
    """The status that an error of ours is told with; 500 where it is none of those that a reader can do something about."""
    return next((code for kind, code in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def refuse(request: Request, error: Exception) -> Response:
    """What the web framework refuses: nobody signed in, a role that may not, no such page, a value of the wrong kind."""
    if isinstance(error, RequestValidationError):
        told = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors())
        return _say(request, told, _NEXT[HTTPStatus.UNPROCESSABLE_ENTITY], HTTPStatus.UNPROCESSABLE_ENTITY)
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    detail = error.detail if isinstance(error, HTTPException) else ""
    login = get_auth_manager().get_url_login(next_url=str(request.url)) if status == HTTPStatus.UNAUTHORIZED else ""
    return _say(request, str(detail) or HTTPStatus(status).phrase, _NEXT.get(status, ""), status, login=login)


def apologise(request: Request, error: Exception) -> Response:
    """A mistake of ours: the details go to the log and not to the reader."""
    _log.error("the page %s failed", request.scope["path"], exc_info=error)
    return explain(
        request, BidwrightError("this page could not be made", next="read the api-server's log for the reason")
    )


def _say(request: Request, what: str, todo: str, status: int, *, login: str = "") -> Response:
    if _below(request).startswith("/api"):
        return JSONResponse({"error": what, "next": todo}, status_code=status, headers=dict(DATA_HEADERS))
    return show_page(request, "error", {"what": what, "next": todo, "login": login}, status=status)


def _below(request: Request) -> str:
    """The path below the front page."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope["root_path"])
