"""The address that the tabs on Airflow's views of DAGs, runs and tasks show in their frame."""

from __future__ import annotations

from datetime import date
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from bidwright_ui import views_tabs as views
from bidwright_ui.airflow_api import AirflowApi
from bidwright_ui.answers import CurrentPlatform, show_page
from bidwright_ui.page import View
from bidwright_ui.security import DATA_HEADERS
from ml.core.errors import UsageError
from ml.core.units import parse_day

router = APIRouter(tags=["tabs"])
SAYS = "The piece of the pages that belongs to a DAG, and to the market day of a run where one is named."


@router.get("/tab", response_class=HTMLResponse, include_in_schema=False)
async def tab(
    request: Request, platform: CurrentPlatform, dag_id: str = "", run_id: str = "", task_id: str = ""
) -> Response:
    """The tab of a DAG (`dag_id`), of a run (with `run_id`), of a task (with `task_id`)."""
    view = await _view(request, platform, dag_id, run_id)
    return show_page(request, "tab", view | {"task_id": task_id}, market=platform.market)


@router.get("/api/tab", summary=SAYS)
async def tab_json(request: Request, platform: CurrentPlatform, dag_id: str = "", run_id: str = "") -> Response:
    """The same as JSON."""
    return JSONResponse(await _view(request, platform, dag_id, run_id), headers=dict(DATA_HEADERS))


async def _view(request: Request, platform: Any, dag_id: str, run_id: str) -> View:
    ours = dag_id in views.STAGE_OF_DAG
    key = None
    if ours and run_id:  # those beside have no market day
        # Airflow is asked as the user: whoever may not read the run gets its refusal.
        key = (await AirflowApi(request).get("dags", dag_id, "dagRuns", run_id)).get("partition_key")
    view = await run_in_threadpool(views.tab, platform, dag_id, _day(key))
    return view | {"run_id": run_id, "key": key}


def _day(key: str | None) -> date | None:
    """The market day of a partition key; None for a run that has none, or another kind of key."""
    try:
        return parse_day(key) if key else None
    except UsageError:
        return None
