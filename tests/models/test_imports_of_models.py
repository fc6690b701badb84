"""LightGBM hangs in a forked child of a process that used it: importing the models must not import it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_importing_the_models_imports_no_lightgbm() -> None:
    program = (
        "import sys; import ml.models, ml.models.training, ml.models.scoring, ml.models.candidate;"
        "print([name for name in ('lightgbm', 'sklearn', 'mlflow', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_lightgbm_and_mlflow_have_one_module_each() -> None:
    users: dict[str, set[str]] = {"lightgbm": set(), "mlflow": set()}
    for path in (ROOT / "ml").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if (top := name.partition(".")[0]) in users:
                    users[top].add(str(path.relative_to(ROOT)))
    assert users == {"lightgbm": {"ml/models/lightgbm_text.py"}, "mlflow": {"ml/evaluation/tracking.py"}}
