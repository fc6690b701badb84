"""The addresses of incidents: the list, one of them, and the forms by which a person does something with it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from bidwright_ui import forms, rights
from bidwright_ui import views_incidents as views
from bidwright_ui.answers import CurrentPlatform, show_page, status_of
from bidwright_ui.security import DATA_HEADERS
from ml.core.errors import NotReady, UsageError
from ml.preflight import refuse_harm

router = APIRouter(tags=["incidents"])
SAYS = "Incidents of this market, newest first; `open` are those of any cause that are open."
SAYS_ONE = "One incident: what stands, its charts and evidence, its story, its mails and the last delivery."


@router.get("/incidents", response_class=HTMLResponse, include_in_schema=False)
def listed(
    request: Request, platform: CurrentPlatform, state: str = "", severity: str = "", cause: str = ""
) -> Response:
    """The list, filtered."""
    view = views.incidents(platform, state=state, severity=severity, cause=cause)
    return show_page(request, "incidents", view, under="incidents", market=platform.market)


@router.get("/api/incidents", summary=SAYS)
def listed_json(platform: CurrentPlatform, state: str = "", severity: str = "", cause: str = "") -> Response:
    """The list as JSON."""
    found = views.incidents(platform, state=state, severity=severity, cause=cause)
    return JSONResponse(found, headers=dict(DATA_HEADERS))


@router.get("/incidents/{number:int}", response_class=HTMLResponse, include_in_schema=False)
def one(request: Request, number: int, platform: CurrentPlatform, user: GetUserDep) -> Response:
    """One incident, with forms for those who may use them."""
    return _page(request, number, platform, user)


@router.get("/api/incidents/{number:int}", summary=SAYS_ONE)
def one_json(number: int, platform: CurrentPlatform) -> Response:
    """One incident as JSON."""
    return JSONResponse(views.incident(platform, number), headers=dict(DATA_HEADERS))


@router.post(
    "/incidents/{number:int}/{action}",
    include_in_schema=False,
    dependencies=[Depends(rights.writer), Depends(action_logging("bidwright_incident"))],
)
def act(
    request: Request, number: int, action: str, platform: CurrentPlatform, user: GetUserDep, form: forms.FormDep
) -> Response:
    """Do what a form says; where that cannot be, the page again with the reason and every word that was written.

    A web server whose clock or code is not that of the others reads on, and writes nothing.
    """
    if not form.genuine:
        said = "your session was renewed since this page was made, or the form is not ours; nothing was saved"
        return _page(
            request, number, platform, user, said=said, next_="send it again from here",
            kept=(action, form), status=HTTPStatus.FORBIDDEN,
        )  # fmt: skip
    try:
        refuse_harm(platform)
        views.change(platform, number, action, form, by=user.get_name())
    except (UsageError, NotReady) as error:
        return _page(
            request, number, platform, user, said=error.what, next_=error.next,
            kept=(action, form), status=status_of(error),
        )  # fmt: skip
    return RedirectResponse(f"../{number}#story", HTTPStatus.SEE_OTHER)


def _page(
    request: Request,
    number: int,
    platform: Any,
    user: Any,
    *,
    said: str = "",
    next_: str = "",
    kept: tuple[str, forms.Form] | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    action, form = kept or ("", {})
    may = rights.may_write(user)
    view = views.incident(platform, number) | {
        "may_write": may,
        "token": forms.token(request, user) if may else "",
        "said": said,
        "next": next_,
        "kept": {action: dict(form)},
        "me": user.get_name(),
    }
    return show_page(request, "incident", view, under="incidents", market=platform.market, status=status)
