"""The pages as a FastAPI application. Every route wants a signed-in user; none of them writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from bidwright_ui import views
from bidwright_ui.rendering import render
from ml.core.errors import BidwrightError, NoData, StoreUnavailable, UsageError
from ml.platform import Platform

_log = logging.getLogger(__name__)

PAGE_POLICY: Final = "default-src 'none'; style-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"

# The report draws itself with its own scripts. They may run, but in a document that belongs to no origin:
# they reach neither the session nor the network.
REPORT_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)

PAGES: Final[Mapping[str, tuple[str, Callable[..., views.View]]]] = {
    "/": ("front", views.front),
    "/days": ("days", views.days),
    "/days/{name}": ("day", views.day),
    "/versions": ("versions", views.versions),
    "/versions/{digest}": ("version", views.version),
    "/champions": ("champions", views.champions),
    "/decisions": ("decisions", views.decisions),
    "/decisions/{number:int}": ("decision", views.decision),
    "/incidents": ("incidents", views.incidents),
    "/reports": ("reports", views.reports),
    "/reports/{day}": ("report", views.report),
    "/features": ("features", views.features),
    "/bids": ("bids", views.bids),
    "/bids/{partner}/{day}": ("bid_table", views.bid_table),
}
"""Each page by its path: its template, and the view that both the page and its JSON twin below /api show."""

_STATUS: Final[tuple[tuple[type[BidwrightError], HTTPStatus], ...]] = (
    (UsageError, HTTPStatus.BAD_REQUEST),
    (NoData, HTTPStatus.NOT_FOUND),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)

_STYLE: Final = (Path(__file__).parent / "style.css").read_bytes()


@cache
def open_platform() -> Platform:
    """The platform that the settings describe, opened by the first page that needs it."""
    return Platform.from_environment()


def current_platform() -> Platform:
    """Dependency of every page; a test puts its own platform in its place."""
    return open_platform()


_Platform = Annotated[Platform, Depends(current_platform)]


def create_app() -> FastAPI:
    """Build the application. Authentication is a dependency of the application, so that no route can lack it."""
    app = FastAPI(
        title="Bid models",
        dependencies=[Depends(requires_authenticated())],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_api_route("/style.css", _style)
    for path, (template, view) in PAGES.items():
        app.add_api_route(path, _html_route(template, view), response_class=HTMLResponse)
        app.add_api_route(f"/api{path}".rstrip("/"), _json_route(view))
    app.add_api_route("/reports/{day}/html", _report_html, response_class=HTMLResponse)
    app.add_exception_handler(BidwrightError, _explain)
    app.add_exception_handler(Exception, _apologise)
    return app


def _html_route(template: str, view: Callable[..., views.View]) -> Callable[..., Response]:
    def show(request: Request, platform: _Platform) -> Response:
        return _page(request, template, view(platform, **request.path_params), market=platform.market)

    return show


def _json_route(view: Callable[..., views.View]) -> Callable[..., Response]:
    def show(request: Request, platform: _Platform) -> Response:
        return JSONResponse(view(platform, **request.path_params))

    return show


def _report_html(day: str, platform: _Platform) -> Response:
    headers = {"Content-Security-Policy": REPORT_POLICY, "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(views.report_html(platform, day), headers=headers)


def _style() -> Response:
    return Response(_STYLE, media_type="text/css", headers={"Cache-Control": "private, max-age=3600"})


def _page(
    request: Request, template: str, view: Mapping[str, Any], *, market: str = "", status: HTTPStatus = HTTPStatus.OK
) -> Response:
    # Relative, so that the pages work wherever the web server puts them.
    depth = request.scope["path"].removeprefix(request.scope["root_path"]).strip("/").count("/")
    html = render(template, view, root="../" * depth or "./", market=market)
    headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return HTMLResponse(html, status_code=status, headers=headers)


def _is_api(request: Request) -> bool:
    return bool(request.scope["path"].removeprefix(request.scope["root_path"]).startswith("/api"))


def _explain(request: Request, error: Exception) -> Response:
    """One sentence about what is wrong and what to do, in the form that was asked for."""
    what = {"what": getattr(error, "what", str(error)), "next": getattr(error, "next", "")}
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if _is_api(request):
        return JSONResponse({"error": what["what"], "next": what["next"]}, status_code=status)
    return _page(request, "error", what, status=status)


def _apologise(request: Request, error: Exception) -> Response:
    """A mistake of ours: the details go to the log and not to the reader."""
    _log.error("the page %s failed", request.scope["path"], exc_info=error)
    return _explain(
        request, BidwrightError("this page could not be made", next="read the api-server's log for the reason")
    )
