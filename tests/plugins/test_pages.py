"""The pages show what the ledger knows, to those who are signed in, and never anything else's markup."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ml.core.digests import Digest
from ml.ledger import versions
from ml.platform import Platform

BASE = "/bid-models"
DIGEST = "3fa9c1d2e4" + "0" * 54

PATHS = [
    "/",
    "/days",
    "/days/2026-03-02",
    "/versions",
    f"/versions/{DIGEST[:10]}",
    "/model",
    "/drift",
    "/drift/bookings.rival_price",
    "/bids/2026-03-02",
    "/approvals",
    "/experiments",
    "/features",
    "/champions",
    "/decisions",
    "/decisions/1",
    "/incidents",
    "/incidents/1",
    "/runbooks/drift",
    "/tab",
    "/reports",
    "/reports/2026-03-02",
    "/bids",
    "/bids/google/2026-03-02",
]


def routes() -> list[str]:
    """Every route of the application that is read, its parameters filled in."""
    from bidwright_ui.app import create_app

    values = {"name": "2026-03-02", "day": "2026-03-02", "digest": DIGEST, "number": "1", "partner": "google"}
    # A request for approval needs a run that waits; test_approval_pages.py has one.
    readable = [route.path for route in create_app().routes if "GET" in route.methods and "{run_id}" not in route.path]
    paths = [path.replace("{name:path}", "style.css") for path in readable]
    paths = [path.replace("runbooks/{name}", "runbooks/drift") for path in paths]
    paths = [path.replace("drift/{name}", "drift/bookings.rival_price") for path in paths]
    return [re.sub(r"{(\w+)(:\w+)?}", lambda m: values[m[1]], path) for path in paths]


def test_every_route_refuses_whoever_is_not_signed_in(anonymous: Any, api: Any, lived: Platform) -> None:
    """A mounted application inherits no authentication from Airflow; this walks all of ours."""
    found = routes()
    assert len(found) > 2 * len(PATHS)
    for path in found:
        assert anonymous.get(BASE + path).status_code == 401, path
        assert api.get(BASE + path).status_code == 200, path


def test_a_stale_or_forged_session_is_refused(anonymous: Any, lived: Platform) -> None:
    anonymous.cookies.set("_token", "not-a-token")
    assert anonymous.get(f"{BASE}/").status_code in {401, 403}


def test_the_pages_take_no_other_method_than_get(api: Any, lived: Platform) -> None:
    for path in routes():
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert api.request(method, BASE + path).status_code == 405, (method, path)


@pytest.mark.parametrize("path", PATHS)
def test_markup_in_a_name_is_shown_and_not_obeyed(path: str, api: Any, lived: Platform) -> None:
    page = api.get(BASE + path)
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page.text))
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", "3fa9c1d2e4"),
        ("/", "20 412"),
        ("/", "1.013"),
        ("/", "240.00 EUR, -4 %"),
        ("/model", "all 1 gates pass"),
        ("/drift", "beyond the limit"),
        ("/drift", "rivals"),
        ("/drift", "-40.00 EUR a day"),
        ("/drift/bookings.rival_price", "shares of rows per bin"),
        ("/bids", "the bid language of google loses"),
        ("/bids", "12.6 %"),
        ("/", "&lt;script&gt;"),
        ("/", "231.12"),
        ("/days", "231.12"),
        ("/days", "-12.50"),
        ("/days", "87 %"),
        ("/days/2026-03-02", "no champion yet"),
        (f"/versions/{DIGEST}", "0.8123"),
        ("/decisions/1", "1.012"),
        ("/decisions/1", "4 321"),
        ("/decisions/1", "0.95 to 1.06"),
        ("/incidents", "Rival prices fell"),
        ("/reports/2026-03-02", "0.31"),
        ("/bids/google/2026-03-02", "H2"),
    ],
)
def test_a_page_shows_what_the_ledger_holds(path: str, shown: str, api: Any, lived: Platform) -> None:
    assert shown in api.get(BASE + path).text


def test_a_version_from_before_money_was_measured_says_so(api: Any, lived: Platform) -> None:
    page = api.get(f"{BASE}/versions/{DIGEST}").text
    assert "What errors of worth cost" in page
    assert "this version is from before" in page
    assert api.get(f"{BASE}/api/versions/{DIGEST}").json()["money"] == []


def test_a_version_shows_what_its_errors_of_worth_cost_in_which_fields(api: Any, lived: Platform) -> None:
    row = {"rows": 812, "predicted": 130_000.0, "realised": 100_000.0, "net_value_ratio": 1.3, "low": 1.2, "high": 1.4}
    row |= {"profit_lost": 0.1, "cost": 651.16}
    unknown = {"rows": 3, **dict.fromkeys(name for name in row if name != "rows")}
    cost = {"over": 651.16, "under": 0.0, "total": 651.16, "shown": 651.16}
    money = {
        "whole": row,
        "cost": {"lead_bucket": cost},
        "by": {"lead_bucket": {"000-001": row, "<script>": unknown}},
    }
    version = versions.find(lived.db, lived.market, DIGEST)
    digest = Digest("c" * 64)
    metrics = {"value": {"auc": 0.8, "money": money, "baseline": {"auc": 0.7, "money": money}}}
    versions.register(lived.db, replace(version, digest=digest, metrics=metrics), lived.clock.now())
    page = api.get(f"{BASE}/versions/{digest}").text
    for said in ("130 000", "1.2 to 1.4", "651.16", "000-001", "its baseline", "&lt;script&gt;"):
        assert said in page, said
    assert api.get(f"{BASE}/api/versions/{digest}").json()["money"][0]["cost"] == {"lead_bucket": cost}


def test_every_link_of_every_page_leads_somewhere(api: Any, lived: Platform) -> None:
    seen: set[str] = set()
    for path in PATHS:
        page = api.get(BASE + path)
        ours = re.sub(r"<a [^>]*data-airflow[^>]*>", "", page.text)
        for link in re.findall(r'(?:href|src)="([^"]*)"', ours):
            target = str(page.url.join(link))
            assert target.startswith(f"{page.url.scheme}://{page.url.host}{BASE}/"), (path, link)
            seen.add(target)
    assert len(seen) >= 15
    assert {target: api.get(target).status_code for target in seen} == dict.fromkeys(seen, 200)


def test_the_drift_report_runs_in_a_document_that_reaches_nothing(api: Any, lived: Platform) -> None:
    answer = api.get(f"{BASE}/reports/2026-03-02/html")
    assert "a report" in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/api", "champion"),
        ("/api", "charts"),
        ("/api/days", "days"),
        ("/api/days/2026-03-02", "stages"),
        ("/api/versions", "versions"),
        ("/api/decisions/1", "decision"),
        ("/api/incidents", "open"),
        ("/api/reports/2026-03-02", "report"),
        ("/api/bids/google/2026-03-02", "rows"),
    ],
)
def test_each_page_has_a_json_twin(path: str, key: str, api: Any, lived: Platform) -> None:
    assert api.get(BASE + path).json()[key]


def test_an_empty_ledger_says_what_is_not_there_yet(api: Any, empty: Platform) -> None:
    page = api.get(f"{BASE}/").text
    for said in ("none yet", "No market day has been ingested yet", "No decision", "not known yet", "all is well"):
        assert said in page
    for path in ("/days", "/model", "/versions", "/champions", "/decisions", "/drift", "/reports", "/bids"):
        assert re.search(" yet[.:]", api.get(BASE + path).text), path


def test_without_a_database_the_page_says_so_and_what_to_do(api: Any, platform: Platform) -> None:
    page = api.get(f"{BASE}/")
    assert page.status_code == 503
    assert "does not exist yet" in page.text
    assert "bidwright migrate" in page.text
    assert api.get(f"{BASE}/api").json() == {
        "error": page.text.split("<h1>")[1].split("</h1>")[0],
        "next": "run: bidwright migrate",
    }


def test_a_damaged_database_is_one_sentence(api: Any, platform: Platform) -> None:
    (platform.settings.home / "bidwright.db").write_bytes(b"this is no database" * 100)
    page = api.get(f"{BASE}/")
    assert page.status_code == 503
    assert "is not a readable database" in page.text
    assert "Traceback" not in page.text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/days/yesterday", 400, "is not a market day"),
        ("/days/2031-01-01", 404, "has not been ingested"),
        ("/versions/ffff", 400, "ffff"),
        ("/reports/2031-01-01", 404, "has not been checked"),
        ("/bids/nobody/2026-03-02", 404, "nothing was published"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(path: str, status: int, said: str, api: Any, lived: Platform) -> None:
    page = api.get(BASE + path)
    assert page.status_code == status
    assert said in page.text


def test_a_check_without_a_report_says_so(api: Any, lived: Platform) -> None:
    from ml.ledger import reports

    kept = reports.get(lived.db, lived.market, date(2026, 3, 2))
    assert kept is not None and kept.recorded_at is not None
    reports.record(lived.db, replace(kept, report_key=""), kept.recorded_at)
    assert "<iframe" not in api.get(f"{BASE}/reports/2026-03-02").text
    page = api.get(f"{BASE}/reports/2026-03-02/html")
    assert page.status_code == 404
    assert "left no HTML report" in page.text


def test_the_largest_kinds_of_space_stand_on_the_overview(
    api: Any, lived: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml import status

    told = status.overview(lived, days=7)
    kinds = {
        name: {"files": 1, "bytes": size} for name, size in (("clicks", 3), ("bookings", 1), ("hotels", 2), ("runs", 4))
    }
    kinds = {name: {**figures, "bytes": figures["bytes"] * 1_000_000} for name, figures in kinds.items()}
    space = {"at": "2026-03-02T05:30:00+00:00", "bytes": 10_000_000, "kinds": kinds}
    monkeypatch.setattr(status, "overview", lambda *_, **__: told | {"space": space})
    page = re.sub(r"\s+", " ", api.get(f"{BASE}/").text)
    assert "10 MB" in page
    assert "runs 4.0, clicks 3.0, hotels 2.0" in page
    assert "bookings 1.0" not in page


def test_a_mistake_of_ours_shows_no_details(api: Any, empty: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml import status

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(status, "overview", broken)
    from fastapi.testclient import TestClient

    quiet = TestClient(api.app, headers=api.headers, raise_server_exceptions=False)
    page = quiet.get(f"{BASE}/")
    assert page.status_code == 500
    assert "secret detail" not in page.text
    assert "could not be made" in page.text
