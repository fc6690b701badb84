"""The pages as a FastAPI application. Every route wants a signed-in user who may read the lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from inspect import Parameter, Signature
from itertools import chain
from typing import Annotated, Any, Final

from airflow.api_fastapi.core_api.security import requires_access_dag, requires_authenticated
from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from bidwright_ui import (
    approval_routes,
    incident_routes,
    tab_routes,
    views_bids,
    views_days,
    views_decision,
    views_drift,
    views_experiments,
    views_features,
    views_model,
    views_overview,
    views_runbooks,
)
from bidwright_ui.answers import CurrentPlatform, apologise, explain, refuse, show_page
from bidwright_ui.assets import assets
from bidwright_ui.page import Page
from bidwright_ui.security import ASSET_HEADERS, DATA_HEADERS, READERS_OF, REPORT_HEADERS
from ml.core.errors import BidwrightError, NoData

PAGES: Final[Mapping[str, Page]] = dict(
    chain.from_iterable(
        room.PAGES.items()
        for room in (
            views_overview,
            views_days,
            views_model,
            views_decision,
            views_drift,
            views_bids,
            views_experiments,
            views_features,
            views_runbooks,
        )
    )
)
"""Every page by its path below the front page."""

ROUTERS: Final[tuple[APIRouter, ...]] = (incident_routes.router, approval_routes.router, tab_routes.router)
"""Routes of their own: they need the user, or Airflow's API, or they write. Those that write say themselves who may."""


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
    app.add_exception_handler(BidwrightError, explain)
    app.add_exception_handler(StarletteHTTPException, refuse)
    app.add_exception_handler(RequestValidationError, refuse)
    app.add_exception_handler(Exception, apologise)
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
