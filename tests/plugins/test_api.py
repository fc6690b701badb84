"""The JSON twins of the pages and their OpenAPI document, and who may read them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ml.platform import Platform

BASE = "/bid-models"
VALUES = {"digest": "3fa9c1d2e4", "number": "1", "partner": "google", "day": "2026-03-02"}


def filled(path: str) -> str:
    """A path with its parameters given."""
    names = {"drift": "bookings.rival_price", "runbooks": "drift", "days": "2026-03-02"}
    named = {**VALUES, "name": next((name for room, name in names.items() if f"/{room}/" in path), "")}
    return re.sub(r"{(\w+)(:\w+)?}", lambda m: named[m[1]], path)


def as_role(api: Any, role: str | None) -> Any:
    """The web server for somebody with a role, or signed in without one."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="reader", role=role))
    return TestClient(api.app, headers={"Authorization": f"Bearer {token}"})


def test_the_document_describes_every_twin_with_exactly_the_keys_that_it_answers(api: Any, lived: Platform) -> None:
    from bidwright_ui.app import PAGES

    document = api.get(f"{BASE}/api/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert document["servers"] == [{"url": BASE}]
    told = {re.sub(r":\w+}", "}", path): one["get"] for path, one in document["paths"].items()}
    for path in PAGES:
        twin = re.sub(r":\w+}", "}", f"/api{path}".rstrip("/"))
        assert twin in told, path
        schema = told[twin]["responses"]["200"]["content"]["application/json"]["schema"]
        answer = api.get(BASE + filled(twin))
        assert answer.status_code == 200, path
        assert set(schema["required"]) == set(answer.json()), path
        named = {one["name"] for one in told[twin].get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", twin)), path
        assert {"401", "403", "404", "503"} <= set(told[twin]["responses"])


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_every_role_reads_pages_and_twins(role: str, api: Any, lived: Platform) -> None:
    reader = as_role(api, role)
    for path in ("/", "/api", "/model", "/api/decisions/1", "/bids/google/2026-03-02/csv"):
        assert reader.get(BASE + path).status_code == 200, path


def test_somebody_without_a_role_is_refused_in_a_sentence(api: Any, lived: Platform) -> None:
    from bidwright_ui.app import PAGES

    nobody = as_role(api, None)
    for path in PAGES:
        assert nobody.get(BASE + filled(path)).status_code == 403, path
        answer = nobody.get(BASE + filled(f"/api{path}".rstrip("/")))
        assert answer.status_code == 403, path
        assert answer.json()["next"] == "ask whoever runs Airflow for a role that may"


@pytest.mark.parametrize("number", ["0", "99999999999999999999"])
def test_a_decision_that_cannot_be_is_not_there(number: str, api: Any, lived: Platform) -> None:
    answer = api.get(f"{BASE}/api/decisions/{number}")
    assert answer.status_code in {400, 404}
    assert number in answer.json()["error"]


@pytest.mark.parametrize("path", ["static/../app.py", "static/%2e%2e/app.py", "static/none.js"])
def test_no_file_but_the_pages_own_is_served(path: str, api: Any, lived: Platform) -> None:
    assert api.get(f"{BASE}/{path}").status_code == 404


def test_a_file_of_the_pages_is_kept_for_good_under_its_digest(api: Any, lived: Platform) -> None:
    page = api.get(f"{BASE}/").text
    for address in re.findall(r'(?:src|href)="(\./static/[^"]+)"', page):
        answer = api.get(f"{BASE}/{address[2:]}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].split(";")[0] in {"text/css", "text/javascript"}
