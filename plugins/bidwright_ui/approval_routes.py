"""The addresses of approvals: what waits, one request with its evidence, and the form that answers it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from bidwright_ui import forms, rights
from bidwright_ui import views_approvals as views
from bidwright_ui.airflow_api import AirflowApi
from bidwright_ui.answers import CurrentPlatform, show_page
from bidwright_ui.security import DATA_HEADERS

router = APIRouter(tags=["approvals"])
SAYS = "What waits for a person's answer (`waiting`, with the decision and its evidence), and what ended."
SAYS_ONE = "One request with the decision that it is about."


@router.get("/approvals", response_class=HTMLResponse, include_in_schema=False)
async def listed(request: Request, platform: CurrentPlatform, user: GetUserDep) -> Response:
    """What waits, and what ended."""
    view = await views.approvals(platform, AirflowApi(request)) | await _rights(request, user)
    return await _page(request, "approvals", view, platform)


@router.get("/api/approvals", summary=SAYS)
async def listed_json(request: Request, platform: CurrentPlatform) -> Response:
    """The same as JSON."""
    return JSONResponse(await views.approvals(platform, AirflowApi(request)), headers=dict(DATA_HEADERS))


@router.get("/approvals/{run_id}", response_class=HTMLResponse, include_in_schema=False)
async def one(request: Request, run_id: str, platform: CurrentPlatform, user: GetUserDep) -> Response:
    """One request, with the form for those who may answer."""
    view = await views.approval(platform, AirflowApi(request), run_id) | await _rights(request, user)
    return await _page(request, "approval", view, platform)


@router.get("/api/approvals/{run_id}", summary=SAYS_ONE)
async def one_json(request: Request, run_id: str, platform: CurrentPlatform) -> Response:
    """The same as JSON."""
    return JSONResponse(await views.approval(platform, AirflowApi(request), run_id), headers=dict(DATA_HEADERS))


@router.post("/approvals/{run_id}", include_in_schema=False, dependencies=[Depends(rights.answerer)])
async def answer(
    request: Request, run_id: str, platform: CurrentPlatform, user: GetUserDep, form: forms.FormDep
) -> Response:
    """Answer a request. Who may is Airflow's to say, whose API is asked, and who writes its audit log."""
    if not form.genuine:
        said = "your session was renewed since this page was made, or the form is not ours; nothing was answered"
        return await _again(request, run_id, platform, user, said, HTTPStatus.FORBIDDEN)
    try:
        await views.answer(platform, AirflowApi(request), run_id, form)
    except HTTPException as error:
        return await _again(request, run_id, platform, user, str(error.detail), HTTPStatus(error.status_code))
    return RedirectResponse(quote(run_id, safe=""), HTTPStatus.SEE_OTHER)


async def _again(request: Request, run_id: str, platform: Any, user: Any, said: str, status: HTTPStatus) -> Response:
    """The request as it stands now, and why it was not answered."""
    view = await views.approval(platform, AirflowApi(request), run_id) | await _rights(request, user)
    return await _page(request, "approval", view | {"said": said}, platform, status)


async def _rights(request: Request, user: Any) -> dict[str, Any]:
    may = await run_in_threadpool(rights.may_answer, user)
    return {"may_answer": may, "token": forms.token(request, user) if may else "", "said": ""}


async def _page(
    request: Request, template: str, view: dict[str, Any], platform: Any, status: HTTPStatus = HTTPStatus.OK
) -> Response:
    return show_page(request, template, view, under="approvals", market=platform.market, status=status)
