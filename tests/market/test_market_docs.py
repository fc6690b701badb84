"""What the market page shows works as shown, and looking at markets costs no heavy import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd

from ml.lake.blobs import open_blobs
from ml.market.files import Files
from ml.market.source import MarketSource

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bring-your-own-market.md").read_text()


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run(code: str, where: Path) -> str:
    environment = {"PYTHONPATH": str(ROOT), "BIDWRIGHT_SIMULATOR_OPPORTUNITIES_PER_DAY": "500", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_the_example_writes_a_folder_that_the_files_source_reads(tmp_path: Path) -> None:
    (example,) = [block for block in blocks() if "export(" in block]
    run(example, tmp_path)
    files = Files(open_blobs(str(tmp_path / "mydata"), cache=tmp_path), where="mydata")
    frames = files.fetch(files.first_day())
    assert isinstance(frames["clicks"], pd.DataFrame)
    assert len(frames["opportunities"]) > 100


def test_the_class_on_the_page_has_every_name_of_the_protocol() -> None:
    (example,) = [block for block in blocks() if "class MyMarket" in block]
    names = [name for name in vars(MarketSource) if not name.startswith("_")]
    assert set(names) == {"name", "tables", "partners", "has_opportunities", "first_day", "last_day", "fetch"}
    for name in names:
        assert re.search(rf"\b{name}\b( =|\()", example), name


def test_listing_markets_and_tables_imports_nothing_heavy(tmp_path: Path) -> None:
    """Every Airflow task pays for its imports."""
    code = (
        "import sys, ml.market, ml.market.tables, ml.market.source, ml.lake.blobs\n"
        "print([name for name in ('pandas', 'pyarrow', 'pandera', 'boto3', 'sqlalchemy', 'duckdb') if name in sys.modules])"
    )
    assert run(code, tmp_path).strip() == "[]"
