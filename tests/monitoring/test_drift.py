"""Evidently: what it says, what it does not see, and that its errors hold."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.verdict import Verdict
from monitoring import drift
from monitoring.completeness import guards
from monitoring.drift import distances, stratified

ROOT = Path(__file__).parents[2]


def frame(rows: int, *, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"rate": rng.normal(shift, 1.0, rows), "segment": rng.choice(["a", "b"], rows)})


def test_a_shift_is_seen_per_column_and_reported_as_html() -> None:
    result = distances(frame(800, shift=0.5), frame(3000, seed=1), ["rate", "segment"], ["segment"])
    assert result.finding is None
    assert result.columns["rate"].drifted
    assert result.columns["rate"].score == pytest.approx(0.5, abs=0.1)
    assert not result.columns["segment"].drifted
    assert result.html is not None
    assert b"<html" in result.html[:2000].lower()


def test_our_limits_are_its_thresholds() -> None:
    current, reference = frame(800, shift=0.5), frame(3000, seed=1)
    result = distances(current, reference, ["rate"], [], thresholds={"rate": 0.9})
    assert result.columns["rate"].threshold == 0.9
    assert not result.columns["rate"].drifted


def test_the_sample_is_capped_and_repeatable() -> None:
    current, reference = frame(3000, shift=0.2), frame(3000, seed=1)
    first, again, other = (
        distances(current, reference, ["rate"], [], sample=300, seed=seed).columns["rate"].score for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def stock_evidently(current: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """The drift scores of Evidently as it comes, on everything; `share` is the share of columns it calls drifted."""
    distances(reference.head(100), reference.head(100), ["lead_days"], [])  # imports it, with telemetry off
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import Report
        from evidently.presets import DataDriftPreset

        metrics = Report([DataDriftPreset()]).run(current, reference).dict()["metrics"]
    found = {m["config"]["column"]: float(m["value"]) for m in metrics if "column" in m["config"]}
    return found | {"share": metrics[0]["value"]["share"]}


def test_evidently_alone_does_not_see_nulls_and_infinities_but_the_guards_do(market: Any, day: Any) -> None:
    """Why the completeness guards come first."""

    def damage(rows: pd.DataFrame) -> pd.DataFrame:
        rng = np.random.default_rng(1)
        rows.loc[rng.random(len(rows)) < 0.6, "rate"] = np.nan
        rows.loc[rng.random(len(rows)) < 0.3, "cancel_rate"] = np.inf
        return rows

    market.rows = 5000
    subject = market.change(damage, first=day).subject(day, history=8)
    assert subject.current["rate"].isna().mean() > 0.55
    assert np.isinf(subject.current["cancel_rate"]).mean() > 0.25
    alone = stock_evidently(subject.current[subject.numeric], subject.reference[subject.numeric])
    assert alone["share"] == 0.0
    assert max(alone["rate"], alone["cancel_rate"]) < drift.THRESHOLD
    failed = {f.column for f in guards(subject, day) if f.verdict is Verdict.FAIL}
    assert failed == {"rate", "cancel_rate"}


@pytest.mark.parametrize("fault", ["missing", "empty", "text", "all null"])
def test_whatever_evidently_cannot_compute_holds_with_the_reason(fault: str) -> None:
    current, reference = frame(500), frame(500, seed=1)
    if fault == "missing":
        current = current.drop(columns="rate")
    if fault == "empty":
        current = current.iloc[:0]
    if fault == "text":
        current = current.assign(rate="dear")
    if fault == "all null":
        current = current.assign(rate=np.nan)
    result = distances(current, reference, ["rate", "segment"], ["segment"], subject="bookings")
    assert result.html is None
    assert result.finding is not None
    assert result.finding.verdict is Verdict.HOLD
    assert result.finding.reason.startswith("bookings: drift could not be computed (")
    assert "\n" not in result.finding.reason


def test_an_error_inside_evidently_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def explode(*args: object) -> object:
        calls.append(args)
        raise RuntimeError("boom\nand a long trace")

    monkeypatch.setattr(drift, "_evaluate", explode)
    result = distances(frame(100), frame(100), ["rate"], [], subject="bookings")
    assert len(calls) == 1
    assert result.finding is not None
    assert result.finding.verdict is Verdict.HOLD
    assert result.finding.reason == "bookings: drift could not be computed (RuntimeError: boom)"


def test_nothing_is_sent_and_no_id_is_written_to_the_users_folders(tmp_path: Path) -> None:
    """In a process of its own, with every outgoing connection refused and counted."""
    code = """
import socket, sys
tried = []
def refuse(self, address, *more):
    tried.append(address)
    raise OSError("no network in this test")
socket.socket.connect = refuse
socket.socket.connect_ex = refuse
import numpy as np, pandas as pd
from monitoring.drift import distances
rows = pd.DataFrame({"x": np.random.default_rng(0).normal(size=200)})
assert distances(rows, rows, ["x"], []).html
from evidently.telemetry import event_logger
assert not event_logger.is_enabled()
print("connections", tried)
"""
    environment = {k: v for k, v in os.environ.items() if k not in drift.TELEMETRY_OFF}
    environment |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "connections []" in run.stdout
    assert not list(tmp_path.rglob("*evidently*"))


def test_importing_the_room_does_not_import_evidently_and_alerts_stay_light() -> None:
    """Each Airflow task pays its imports: a failing task tells of it without pandas."""
    code = (
        "import sys, monitoring.alerts, monitoring.deliver; light = {'pandas', 'numpy', 'evidently'} & set(sys.modules); "
        "import monitoring.check, monitoring.drift; print(sorted(light), 'evidently' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] False"


def test_each_day_has_its_share_of_the_sample() -> None:
    days = np.repeat([0, 1, 2], [1_000, 100, 10])
    for seed in range(20):
        drawn = stratified(days, 111, seed)
        assert len(set(drawn.tolist())) == 111
        assert np.abs(np.bincount(days[drawn], minlength=3) - [100, 10, 1]).max() <= 1
