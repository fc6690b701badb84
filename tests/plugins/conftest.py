"""The pages on a platform of their own, with a ledger that a test fills."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, incidents, publications, reports, stages, versions
from ml.market.scorecard import Scorecard, keep
from ml.platform import Platform

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 3, 1, 30, tzinfo=UTC)
CANDIDATE = Digest("3fa9c1d2e4" + "0" * 54)
DATA = Digest("d" * 64)
POLICY = Digest("e" * 64)

NUMBERS: dict[str, Any] = {
    "parts": {"drift": "FAIL"},
    "columns": [
        {
            "name": "bookings.rival_price", "subject": "bookings", "column": "rival_price", "ratio": 3.1, "score": 0.31,
            "limit": 0.1, "before": 100.5, "now": 80.25, "numeric": True, "category": "", "exceeds": True,
            "window_days": 1, "past_windows": 29,
            "shape": {"at": [60.0, 90.0], "now": [0.7, 0.3], "reference": [0.2, 0.8]},
            "impact": {"value_micros": None, "profit_micros": -40_000_000, "sentences": ["fewer clicks"]},
        },
        {"name": "bookings.device", "ratio": None},
    ],
    "diagnosis": [{"cause": "rivals", "share": 0.8, "evidence": ["<script>alert('x')</script>"], "partner": "google"}],
    "watchers": [{"verdict": "FAIL", "reason": "the CPC fell"}, {"verdict": "PASS", "reason": ""}],
}  # fmt: skip
"""What a drift check keeps: a feature beyond its limit and one that was not compared, a cause, what moved."""

EVIL = "<script>alert('x')</script>"
"""Markup where a name is expected: in a reason, a title, a partner's file."""


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A platform without a database; the pages of the plugin look at it."""
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    from bidwright_ui import answers

    mine = Platform(load_settings(home=tmp_path), FixedClock(AT))
    monkeypatch.setattr(answers, "open_platform", lambda: mine)
    return mine


@pytest.fixture
def empty(platform: Platform) -> Platform:
    """A platform with an empty ledger."""
    platform.db.migrate()
    return platform


@pytest.fixture
def lived(empty: Platform) -> Platform:
    """A platform after one market day: trained, judged, promoted, published, drifted."""
    db, market = empty.db, empty.market
    before = {"for_day": "2026-03-02", "expected": {"google": {"cost_micros": 240_000_000, "profit_micros": 0}}}
    yesterday = DAY - timedelta(days=1)
    stages.record(db, stages.StageKey(market, "ingest", yesterday), status="done", result={"imported": True}, at=AT)
    stages.record(db, stages.StageKey(market, "publish", yesterday), status="done", result=before, at=AT)
    for stage, result in {
        "ingest": {"accepted": 20_412, "quarantined": 3},
        "settle": {"outcomes": 3, "money": {"spend_micros": 231_120_000, "bookings": 27, "profit_micros": -12_500_000}},
        "train": {"due": True, "reason": f"no champion yet {EVIL}", "candidate": CANDIDATE},
        "drift": {
            "verdict": "FAIL",
            "calibration": {"ratio": 1.0132, "low": 0.99, "high": 1.03, "rows": 3667, "days": 14},
        },
        "publish": {
            "published": 2,
            "generation": 1,
            "for_day": "2026-03-03",
            "expected": {"google": {"clicks": 358.4, "cost_micros": 70_000_000, "profit_micros": 150_000_000}},
            "language_loss": {"google": 0.126},
            "reasons": {"google": [f"the bid language of google loses 12.6% {EVIL}"]},
        },
    }.items():
        stages.record(db, stages.StageKey(market, stage, DAY), status="done", result=result, at=AT, run_id="run 1")
    versions.register(
        db,
        versions.Version(
            digest=CANDIDATE,
            market=market,
            day=DAY,
            uri=f"bundles/{CANDIDATE}",
            data_digest=DATA,
            trained_through=DAY,
            metrics={"value": {"auc": 0.8123}},
            mlflow_run_id="run-1",
        ),
        AT,
    )
    gates = [
        {
            "gate": "calibration",
            "verdict": "PASS",
            "number": 1.0123,
            "threshold": 1.08,
            "interval": [0.95, 1.06],
            "sample": 4321,
            "reason": f"within limits {EVIL}",
        }
    ]
    number = decisions.record(
        db, decisions.Decision(market, DAY, CANDIDATE, None, 0, Verdict.PASS, gates, POLICY, None), AT
    )
    champion.move(db, market, digest=CANDIDATE, expected_generation=0, decision_id=number, day=DAY, at=AT)
    incidents.raise_incident(
        db,
        market,
        "drift",
        day=DAY,
        severity="warning",
        title=f"Rival prices fell {EVIL}",
        details={"columns": ["rival_price_micros"]},
        at=AT,
    )
    keep(empty.blobs, market, Scorecard(DAY, profit_micros=874, o2_micros=1_000))
    empty.blobs.put("reports/simulator/2026-03-02.html", b"<html><body><script>1</script>a report</body></html>")
    reports.record(
        db,
        reports.DriftReport(
            market, DAY, Verdict.FAIL, [f"rival_price {EVIL}"], "reports/simulator/2026-03-02.html", NUMBERS
        ),
        AT,
    )
    empty.blobs.put("bids/simulator/google/2026-03-02/bids.csv", f"hotel_id,bid_micros\nH1,{EVIL}\nH2,5\n".encode())
    publications.record(
        db,
        publications.Publication(
            market, "google", DAY, CANDIDATE, 1, 2, Digest("b" * 64), "bids/simulator/google/2026-03-02"
        ),
        AT,
    )
    return empty


@pytest.fixture
def anonymous(api: Any) -> Iterator[Any]:
    """The same web server, for somebody who has not signed in."""
    from fastapi.testclient import TestClient

    yield TestClient(api.app, headers={}, follow_redirects=False)


@pytest.fixture
def client_of(api: Any) -> Any:
    """The same web server for somebody of another role: admin, op, user or viewer, who is named like it."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    def client(role: str) -> Any:
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role))
        return TestClient(api.app, headers={"Authorization": f"Bearer {token}"}, follow_redirects=False)

    return client
