"""Airflow's own REST API, asked within the process and as the user who asks us.

So whatever Airflow asks for an answer to Required Actions, its rights, its checks, its audit log, it asks here too.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from fastapi import HTTPException, Request

from bidwright_ui.guard import AIRFLOW
from ml.core.errors import NoData, StoreUnavailable

_TIMEOUT_S: Final = 30.0
_NO_ANSWER: Final = "Airflow's API gave no answer"


class AirflowApi:
    """The REST API of the web server that the pages are mounted in, with the credentials of one request."""

    def __init__(self, request: Request) -> None:
        self._app: Any = request.scope.get(AIRFLOW)
        self._headers = {"host": request.headers.get("host", "localhost")}
        if "authorization" in request.headers:
            self._headers["authorization"] = request.headers["authorization"]
        elif COOKIE_NAME_JWT_TOKEN in request.cookies:
            self._headers["cookie"] = f"{COOKIE_NAME_JWT_TOKEN}={request.cookies[COOKIE_NAME_JWT_TOKEN]}"

    async def get(self, *path: str, **query: Any) -> dict[str, Any]:
        """GET below /api/v2. NoData for what is not there; HTTPException with Airflow's words for a refusal."""
        return await self._ask("GET", path, params=query)

    async def patch(self, *path: str, body: dict[str, Any]) -> dict[str, Any]:
        """PATCH below /api/v2 with a JSON body, and errors as for `get`."""
        return await self._ask("PATCH", path, json=body)

    async def _ask(self, method: str, path: tuple[str, ...], **arguments: Any) -> dict[str, Any]:
        if self._app is None:
            raise StoreUnavailable(_NO_ANSWER, next="open the pages through Airflow's web server")
        url = "/api/v2/" + "/".join(quote(part, safe="") for part in path)
        # What goes wrong inside comes back as an answer of 500, as over the network.
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow", timeout=_TIMEOUT_S) as client:
            answer = await client.request(method, url, headers=self._headers, **arguments)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise NoData("Airflow knows nothing of this", next="choose one from the list")
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise StoreUnavailable(_NO_ANSWER, next="read the api-server's log for the reason, and try again")
        if answer.is_error:
            raise HTTPException(answer.status_code, _said(answer))
        found: dict[str, Any] = answer.json()
        return found


def _said(answer: httpx.Response) -> str:
    """Airflow's words for a refusal, where they are a sentence."""
    try:
        detail = answer.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    return detail if isinstance(detail, str) else f"Airflow refused this ({answer.status_code})"
