"""The direction of the house, read from its imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OWNERS = {
    "airflow": {"dags", "plugins", "local"},
    "boto3": {"ml/lake"},
    "cryptography": {"ml/promotion"},
    "sqlalchemy": {"ml/ledger"},
    "alembic": {"ml/ledger"},
    "evidently": {"monitoring"},
    "feast": {"ml/features", "feature_repo"},
    "lightgbm": {"ml/models"},
    "llvmlite": {"ml/serving"},
    "mlflow": {"ml/evaluation"},
    "opentelemetry": {"ml/core"},
    "pyspark": {"ml/features"},
    "py4j": {"ml/features"},
    "smtplib": {"monitoring"},
}
"""Each outside service and the one room that may speak to it."""


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


ALL = sources("ml", "monitoring", "dags", "plugins", "feature_repo", "local", "benchmarks")


@pytest.mark.parametrize("service", OWNERS)
def test_each_outside_service_has_one_owner(service: str) -> None:
    strangers = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in ALL
        for module in imported(path)
        if module.split(".")[0] == service
        and not any(path.relative_to(ROOT).as_posix().startswith(f"{room}/") for room in OWNERS[service])
        and not path.relative_to(ROOT).as_posix().startswith("benchmarks/")
    ]
    assert strangers == []


def test_ml_and_monitoring_know_nothing_of_airflow_nor_of_the_rooms_above_them() -> None:
    above = {"airflow", "dags", "plugins", "local", "benchmarks"}
    strangers = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources("ml", "monitoring")
        for module in imported(path)
        if module.split(".")[0] in above
    ]
    assert strangers == []


def test_the_core_imports_no_other_room() -> None:
    strangers = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources("ml/core")
        for module in imported(path)
        if module.split(".")[0] in {"monitoring", "feature_repo"}
        or (module.startswith("ml.") and not module.startswith("ml.core"))
    ]
    assert strangers == []


def test_the_pipeline_costs_a_task_nothing_heavy_to_import() -> None:
    """Every Airflow task pays for its imports, so the front door must stay light."""
    heavy = {
        "pandas",
        "numpy",
        "lightgbm",
        "sklearn",
        "feast",
        "evidently",
        "mlflow",
        "matplotlib",
        "duckdb",
        "sqlalchemy",
    }
    code = "import sys, ml.pipeline, ml.platform; print(' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy & set(run.stdout.split()) == set()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_has_one_job_and_says_which(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "a room with two jobs: split it"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "the first line says what the file is for"
