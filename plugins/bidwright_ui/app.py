"""The pages as a FastAPI application. Every route wants a signed-in user who may read the lifecycle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from inspect import Parameter, Signature
from itertools import chain
from typing import Annotated, Any, Final

from airflow.api_fastapi.core_api.security import requires_access_dag, requires_authenticated
from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from bidwright_ui import (
    views_approvals,
    views_bids,
    views_days,
    views_drift,
    views_experiments,
    views_features,
    views_incidents,
    views_model,
    views_overview,
)
from bidwright_ui.assets import assets
from bidwright_ui.page import Page
from bidwright_ui.rendering import render
from bidwright_ui.security import ASSET_HEADERS, DATA_HEADERS, PAGE_HEADERS, READERS_OF, REPORT_HEADERS
from ml.core.errors import BidwrightError, NoData, StoreUnavailable, UsageError
from ml.platform import Platform

_log = logging.getLogger(__name__)

PAGES: Final[Mapping[str, Page]] = dict(
    chain.from_iterable(
        room.PAGES.items()
        for room in (
            views_overview,
            views_days,
            views_model,
            views_drift,
            views_bids,
            views_incidents,
            views_approvals,
            views_experiments,
            views_features,
        )
    )
)
"""Every page by its path below the front page."""

ROUTERS: Final[tuple[APIRouter, ...]] = ()
"""Routes that are no pages: whatever writes. Each says itself who may."""

_STATUS: Final[tuple[tuple[type[BidwrightError], HTTPStatus], ...]] = (
    (UsageError, HTTPStatus.BAD_REQUEST),
    (NoData, HTTPStatus.NOT_FOUND),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)


@cache
def open_platform() -> Platform:
    """The platform that the settings describe, opened by the first page that needs it."""
    return Platform.from_environment()


def current_platform() -> Platform:
    """Dependency of every page; a test puts its own platform in its place."""
    return open_platform()


CurrentPlatform = Annotated[Platform, Depends(current_platform)]


def create_app() -> FastAPI:
    """Build the application. Who may read is a dependency of the application, so that no route can lack it."""
    app = FastAPI(
        title="Bidwright",
        summary="What the pages in Airflow's web UI show, as JSON.",
        version="1",
        dependencies=[
            Depends(requires_authenticated()),
            Depends(requires_access_dag(method="GET", param_dag_id=READERS_OF)),
        ],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_api_route("/static/{name:path}", _asset, include_in_schema=False)
    app.add_api_route("/api/openapi.json", _openapi, include_in_schema=False)
    for path, page in PAGES.items():
        app.add_api_route(path, _html_route(path, page), response_class=HTMLResponse, include_in_schema=False)
        app.add_api_route(f"/api{path}".rstrip("/"), _json_route(path, page), **_described(page))
    app.add_api_route("/reports/{day}/html", _report_html, response_class=HTMLResponse, include_in_schema=False)
    app.add_api_route("/bids/{partner}/{day}/csv", _bids_file, include_in_schema=False)
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(BidwrightError, _explain)
    app.add_exception_handler(Exception, _apologise)
    return app


def _html_route(path: str, page: Page) -> Callable[..., Response]:
    def show(request: Request, platform: CurrentPlatform, **given: Any) -> Response:
        return show_page(request, page.template, page.view(platform, **given), under=page.under, market=platform.market)

    return _taking(show, path, page, {"request": Request, "platform": CurrentPlatform})


def _json_route(path: str, page: Page) -> Callable[..., Response]:
    def show(platform: CurrentPlatform, **given: Any) -> Response:
        return JSONResponse(page.view(platform, **given), headers=dict(DATA_HEADERS))

    show.__name__ = "_".join(part for part in path.replace("{", "").replace("}", "").split("/") if part) or "overview"
    return _taking(show, path, page, {"platform": CurrentPlatform})


def _taking(show: Callable[..., Response], path: str, page: Page, first: Mapping[str, Any]) -> Callable[..., Response]:
    """Give a route the parameters of its page, which FastAPI reads from the signature."""
    named = {part.strip("{}").partition(":")[0] for part in path.split("/") if part.startswith("{")}
    given = {name: (Annotated[str, Path()], Parameter.empty) for name in sorted(named)} | dict(page.takes)
    show.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in first.items()]
        + [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for name, (kind, default) in given.items()
        ]
    )
    show.__annotations__ = {}
    return show


def _described(page: Page) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": list(page.answers),
        "properties": {name: {"description": meaning} for name, meaning in page.answers.items()},
    }
    error = {
        "type": "object",
        "required": ["error", "next"],
        "properties": {"error": {"type": "string"}, "next": {"type": "string", "description": "what to do"}},
    }
    return {
        "summary": page.says,
        "tags": [page.under],
        "responses": {
            HTTPStatus.OK: {"description": page.says, "content": {"application/json": {"schema": schema}}},
            HTTPStatus.BAD_REQUEST: {
                "description": "Asked wrongly.",
                "content": {"application/json": {"schema": error}},
            },
            HTTPStatus.UNAUTHORIZED: {"description": "Nobody is signed in."},
            HTTPStatus.FORBIDDEN: {"description": f"May not read the DAG {READERS_OF}."},
            HTTPStatus.NOT_FOUND: {"description": "Not there.", "content": {"application/json": {"schema": error}}},
            HTTPStatus.SERVICE_UNAVAILABLE: {
                "description": "The platform's database cannot be read.",
                "content": {"application/json": {"schema": error}},
            },
        },
    }


def _openapi(request: Request) -> Response:
    document = request.app.openapi() | {"servers": [{"url": request.scope["root_path"]}]}
    return JSONResponse(document, headers=dict(DATA_HEADERS))


def _report_html(day: str, platform: CurrentPlatform) -> Response:
    return HTMLResponse(views_drift.report_html(platform, day), headers=dict(REPORT_HEADERS))


def _bids_file(partner: str, day: str, platform: CurrentPlatform) -> Response:
    body = views_bids.bids_file(platform, partner, day)
    # The partner is one that the ledger knows, and the day parsed: neither can break out of the header.
    headers = dict(DATA_HEADERS) | {"Content-Disposition": f'attachment; filename="bids-{partner}-{day}.csv"'}
    return Response(body, media_type="text/csv; charset=utf-8", headers=headers)


def _asset(name: str) -> Response:
    found = assets().get(name)
    if found is None:
        raise NoData(f"there is no file {name}", next="read the address again")
    return Response(found.body, media_type=found.media_type, headers=dict(ASSET_HEADERS))


def show_page(
    request: Request,
    template: str,
    view: Mapping[str, Any],
    *,
    under: str = "",
    market: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    """A page as an answer; links in it are relative, so that it works wherever the web server puts it."""
    depth = request.scope["path"].removeprefix(request.scope["root_path"]).strip("/").count("/")
    html = render(template, view, root="../" * depth or "./", market=market, under=under)
    return HTMLResponse(html, status_code=status, headers=dict(PAGE_HEADERS))


def _is_api(request: Request) -> bool:
    return bool(request.scope["path"].removeprefix(request.scope["root_path"]).startswith("/api"))


def _explain(request: Request, error: Exception) -> Response:
    """One sentence about what is wrong and what to do, in the form that was asked for."""
    what = {"what": getattr(error, "what", str(error)), "next": getattr(error, "next", "")}
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if _is_api(request):
        return JSONResponse(
            {"error": what["what"], "next": what["next"]}, status_code=status, headers=dict(DATA_HEADERS)
        )
    return show_page(request, "error", what, status=status)


def _apologise(request: Request, error: Exception) -> Response:
    """A mistake of ours: the details go to the log and not to the reader."""
    _log.error("the page %s failed", request.scope["path"], exc_info=error)
    return _explain(
        request, BidwrightError("this page could not be made", next="read the api-server's log for the reason")
    )
