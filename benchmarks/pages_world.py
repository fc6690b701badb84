"""A market with a year behind it, as far as pages show it: written straight into ledger, lake and blob store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from ml.core.digests import Digest, digest_bytes
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, incidents, publications, reports, stages, versions
from ml.ledger.database import Store, writing
from ml.platform import Platform

LAST: Final = date(2026, 3, 1)
DAYS: Final = 365
PARTNERS: Final = ("google", "tripadvisor", "trivago")
COLUMNS: Final = 40
GATES: Final = 28
SLICES: Final = 25
CELLS: Final = 8_000
CLICKS: Final = 10_000
"""Rows of a partner's published table, and clicks of a day."""

EVERY: Final = 7
"""Days between two candidates; three of four are promoted."""


def fill(platform: Platform) -> None:
    """Write a year of market days, 52 versions with their decisions, and the files of the last days."""
    platform.db.migrate()
    live: Digest | None = None
    generation = 0
    for n in range(DAYS):
        day = LAST - timedelta(days=DAYS - 1 - n)
        at = datetime.combine(day + timedelta(days=1), time(3), UTC)
        candidate = digest_bytes(f"version {n}".encode()) if n % EVERY == 0 else None
        with writing(platform.db) as store:  # a day in one transaction
            if candidate:
                promoted = n % (4 * EVERY) != 0 or live is None
                number = _judged(store, platform, day, at, candidate, live, generation, passes=promoted)
                if promoted:
                    champion.move(
                        store, platform.market, digest=candidate, expected_generation=generation,
                        decision_id=number, day=day, at=at,
                    )  # fmt: skip
                    live, generation = candidate, generation + 1
            if live is None:
                raise AssertionError("the first candidate is promoted")
            _steps(store, platform, day, at, n, candidate, live, generation)
            _drift(store, platform, day, at, n)
            if n % 10 == 0:
                _incident(store, platform, day, at, n)
    for day in (LAST - timedelta(days=1), LAST):
        _publish(platform, day, live or Digest(""), generation)
    _clicks(platform)


def _steps(
    store: Store,
    platform: Platform,
    day: date,
    at: datetime,
    n: int,
    candidate: Digest | None,
    live: Digest,
    generation: int,
) -> None:
    wave = 1 + 0.2 * math.sin(n / 9)
    expected = {
        partner: {"clicks": 300 * wave, "cost_micros": round(70e6 * wave), "profit_micros": round(150e6 * wave)}
        for partner in PARTNERS
    }
    results: dict[str, dict[str, Any]] = {
        "ingest": {"accepted": 18_000, "quarantined": n % 5, "tables": {name: {"accepted": 9, "digest": "a" * 64} for name in "abcde"}},
        "settle": {"outcomes": 300, "money": {"spend_micros": round(205e6 * wave), "bookings": 30, "profit_micros": round(430e6 * wave)}},
        "materialize": {"rows": 2_800, "parity": {name: {"equal": dict.fromkeys(map(str, range(12)), 200)} for name in "abcd"}},
        "drift": {"verdict": "PASS", "calibration": {"ratio": wave, "low": wave - 0.03, "high": wave + 0.03, "rows": 3_600, "days": 14}},
        "train": {"due": candidate is not None, "reason": "a week is over", "candidate": candidate},
        "publish": {
            "published": 18_000, "generation": generation, "for_day": (day + timedelta(days=1)).isoformat(), "expected": expected,
            "language_loss": dict.fromkeys(PARTNERS, 0.09), "reasons": {partner: ["its language loses 9 %"] for partner in PARTNERS},
            "portfolio": {"best_shares": {f"group {i}": 0.6 for i in range(40)}},
        },
    }  # fmt: skip
    if candidate:
        results["promote"] = {"verdict": "PASS", "gates": _gates(whole=False), "candidate": candidate}
    for stage, result in results.items():
        stages.record(
            store, stages.StageKey(platform.market, stage, day), status="done", result=result, at=at,
            run_id=f"scheduled__{day}",
        )  # fmt: skip
    for partner in PARTNERS:
        publications.record(
            store,
            publications.Publication(
                platform.market, partner, day, live, generation, CELLS, Digest("b" * 64),
                f"bids/{platform.market}/{partner}/{day}",
            ),
            at,
        )  # fmt: skip


def _judged(
    store: Store,
    platform: Platform,
    day: date,
    at: datetime,
    candidate: Digest,
    live: Digest | None,
    generation: int,
    *,
    passes: bool,
) -> int:
    row = {
        "rows": 800,
        "predicted": 130.0,
        "realised": 120.0,
        "net_value_ratio": 1.05,
        "low": 0.95,
        "high": 1.2,
        "cost": 9.5,
    }
    label = {f"label {i}": row for i in range(7)}
    cost = {"over": 1.0, "under": 0.5, "total": 1.5, "shown": 0.0}
    money = {
        "whole": row,
        "cost": {"lead_bucket": cost, "partner": cost},
        "by": {"lead_bucket": label, "partner": label},
    }
    metrics = {
        name: {"auc": 0.8, "money": money, "baseline": {"auc": 0.7, "money": money}} for name in ("value", "conversion")
    }
    versions.register(
        store,
        versions.Version(
            candidate, platform.market, day, f"bundles/{candidate}", Digest("d" * 64), day, metrics, "run"
        ),
        at,
    )
    verdict = Verdict.PASS if passes else Verdict.HOLD
    made = decisions.Decision(
        platform.market, day, candidate, live, generation, verdict, _gates(), Digest("e" * 64), None
    )
    return decisions.record(store, made, at)


def _gates(*, whole: bool = True) -> list[dict[str, Any]]:
    """The gates of a decision; a step's record keeps them without the numbers behind them."""
    interval = {"mid": -0.001, "low": -0.002, "high": 0.001, "level": 0.9, "rows": 20_000, "blocks": 14}
    loss = {
        "name": "log_loss",
        "baseline": 0.24,
        "candidate": 0.23,
        "champion": 0.231,
        "over_champion": interval,
        "over_baseline": interval,
    }
    cut = {"champion": 0.2, "difference": {"mid": 0.001, "error": 0.0004, "days": 14}, "field": "device", "rows": 900}
    models = {
        name: {"losses": [loss, loss], "slices": [cut | {"label": f"label {i}"} for i in range(SLICES)]}
        for name in ("click", "conversion", "value")
    }
    names = ["gains_on_champion", "slices", *(f"gate {i}" for i in range(GATES - 2))]
    return [
        {
            "gate": name, "verdict": "PASS", "number": 0.01, "threshold": 0.05, "interval": [0.0, 0.02], "sample": 20_000,
            "reason": "within its limits by a good margin on all that was measured", "limits": {"level": 0.9},
            "numbers": {"models": models} if whole and name in names[:2] else {},
        }
        for name in names
    ]  # fmt: skip


def _drift(store: Store, platform: Platform, day: date, at: datetime, n: int) -> None:
    columns = [
        {
            "name": f"traffic.feature_{i}", "subject": "traffic", "column": f"feature_{i}", "ratio": abs(math.sin(n / 11 + i)) * 1.1,
            "score": 0.1, "limit": 0.12, "before": 10.0, "now": 11.0, "numeric": True, "category": "", "important": True,
            "exceeds": abs(math.sin(n / 11 + i)) * 1.1 > 1, "prediction": False, "window_days": 1, "past_windows": 29,
            "shape": {"at": list(range(24)), "now": [1 / 24] * 24, "reference": [1 / 24] * 24},
        }
        for i in range(COLUMNS)
    ]  # fmt: skip
    numbers = {"columns": columns, "parts": {"drift": "PASS"}, "watchers": [{"verdict": "PASS", "reason": ""}] * 30}
    key = f"reports/{platform.market}/{day}.html"
    reports.record(store, reports.DriftReport(platform.market, day, Verdict.PASS, [], key, numbers), at)


def _incident(store: Store, platform: Platform, day: date, at: datetime, n: int) -> None:
    cause = f"task:{n}"
    title, details = "A task failed", {"reasons": ["the store was not reachable"] * 3}
    incidents.raise_incident(
        store, platform.market, cause, day=day, severity="warning", title=title, details=details, at=at
    )
    if n < DAYS - 30:
        incidents.resolve(store, platform.market, cause, day=day, at=at, reason="it went through")


def _publish(platform: Platform, day: date, live: Digest, generation: int) -> None:
    from ml.bidding.publish import publish_table

    rng = np.random.default_rng(day.toordinal())
    for partner in PARTNERS:
        table = pd.DataFrame(_cells(partner)).assign(
            clicks_seen=rng.integers(1, 60, CELLS), p_book=0.03, net_value_micros=90_000_000, wanted_micros=300_000,
            bid_micros=rng.integers(100_000, 900_000, CELLS),
        )  # fmt: skip
        published = publish_table(
            platform.blobs, table, market=platform.market, partner=partner, day=day, version=live,
            generation=generation, policy="p" * 64, daily_budget_micros=90_000_000,
        )  # fmt: skip
        publications.record(
            platform.db,
            publications.Publication(
                platform.market, partner, day, live, generation, CELLS, published.digest, published.uri
            ),
            datetime.combine(day + timedelta(days=1), time(4), UTC),
        )


def _cells(partner: str) -> Iterator[dict[str, Any]]:
    for i in range(CELLS):
        yield {
            "partner": partner, "market": "simulator", "hotel_id": f"h{i // 40:04}", "device": ("desktop", "mobile")[i % 2],
            "lead_bucket": f"{i // 2 % 5}", "los_bucket": f"{i // 10 % 4}",
        }  # fmt: skip


def _clicks(platform: Platform) -> None:
    rng = np.random.default_rng(7)
    for n in range(9):
        day = LAST + timedelta(days=1 - n)
        ts = pd.Timestamp(day, tz="UTC") + pd.to_timedelta(rng.integers(0, 86_400, CLICKS), unit="s")
        clicks = {"partner": rng.choice(PARTNERS, CLICKS), "ts": ts, "cpc_micros": rng.integers(1, 500_000, CLICKS)}
        platform.lake.write("clicks", day, pd.DataFrame(clicks))
