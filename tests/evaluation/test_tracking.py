"""MLflow is a convenience: it holds what people compare, and its failure stops nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ml.core.settings import Settings, load_settings
from ml.evaluation import tracking

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG not really"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    found = load_settings(home=tmp_path_factory.mktemp("home"))
    assert tracking.prepare(found)
    return found


def log(settings: Settings, *, digest: str = "d1", plots: Any = lambda: {"a.png": PNG}) -> str:
    return tracking.log_run(
        settings,
        name="market 2016-10-01",
        params={"seed": 7, "long": "x" * 9_000},
        metrics={"value.auc": 0.75, "value.ratio": float("nan")},
        plots=plots,
        tags={"digest": digest, "day": "2016-10-01"},
    )


def read(settings: Settings, run_id: str) -> Any:
    return tracking._client(settings).get_run(run_id)


def test_a_run_holds_parameters_metrics_tags_and_plots(settings: Settings) -> None:
    run_id = log(settings)
    run = read(settings, run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "7"
    assert run.data.metrics == {"value.auc": 0.75}  # what is not finite is left out
    assert run.data.tags["day"] == "2016-10-01"
    plots = list((settings.home / "mlflow" / "artifacts").rglob("plots/a.png"))
    assert [path.read_bytes() for path in plots if run_id in str(path)] == [PNG]


def test_the_same_version_is_logged_once(settings: Settings) -> None:
    def unwanted() -> Mapping[str, bytes]:
        raise AssertionError("plots were drawn for a run that is there already")

    first = log(settings, digest="d2")
    assert first
    assert log(settings, digest="d2", plots=unwanted) == first
    assert log(settings, digest="d3") != first


def test_preparing_twice_changes_nothing(settings: Settings) -> None:
    assert tracking.prepare(settings)
    experiments = tracking._client(settings).search_experiments()
    assert [e.name for e in experiments if e.name.startswith("bidwright")] == ["bidwright-simulator"]


def test_a_store_that_cannot_be_opened_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mlflow").write_text("a file where the folder should be")
    broken = load_settings(home=tmp_path)
    with caplog.at_level(logging.WARNING, logger="ml.evaluation.tracking"):
        assert log(broken) == ""
        assert tracking.prepare(broken) is False
    assert "MLflow did not take the run" in caplog.text


def test_a_plot_that_fails_stops_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Mapping[str, bytes]:
        raise OSError("no space left on device")

    with caplog.at_level(logging.WARNING, logger="ml.evaluation.tracking"):
        assert log(settings, digest="d9", plots=fails) == ""
    assert "no space left on device" in caplog.text


def test_a_run_that_failed_half_way_is_logged_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    def fails(*args: Any, **given: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", fails)
        assert log(settings, digest="d4") == ""
    assert log(settings, digest="d4") != ""


def test_no_usage_is_reported(tmp_path: Path) -> None:
    """Asked of MLflow itself, in a process without the variables that test runners set."""
    program = (
        "from pathlib import Path; from ml.core.settings import load_settings; from ml.evaluation import tracking;"
        f"print(tracking.prepare(load_settings(home=Path({str(tmp_path)!r}))));"
        "from mlflow.telemetry.utils import is_telemetry_disabled; from mlflow.telemetry import get_telemetry_client;"
        "print(is_telemetry_disabled(), get_telemetry_client())"
    )
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env=kept
    )
    assert done.stdout.split("\n")[:2] == ["True", "True None"]
