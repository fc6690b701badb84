"""The one list of metrics: what the service shows is on it, what Airflow is said to send Airflow knows, and no dashboard names another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml.bidding.day_budget import QUARTERS, day_budget
from ml.serving.joints import Slot
from monitoring.metric_names import AIRFLOW, GAUGES, PARTS, PREFIX, SERVICE, airflow_names, service_names
from tests.serving.service.conftest import Served, body, until
from tests.serving.service.stubs import B, StubEngine

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "monitoring" / "grafana").glob("*.json"))
_ROW = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_WORDS = re.compile(r"\b(?:bidwright|airflow)_\w+\b")


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, set[str]]]]:
    """Names, labels and their values in the scrape of a real worker that answered, failed, refused a bundle and tried another."""
    served = Served(tmp_path_factory.mktemp("served"), paced=True)
    served.source.now = replace(served.source.now, plan="p" * 64)
    served.source.paced = {"google": day_budget(10**9, [0] * QUARTERS)}
    served.ready()
    try:
        until(lambda: served.worker.batcher.spending.partners)
        served.live(shadow=Slot("shadow", StubEngine(B), 1))
        served.source.refuses = {B}
        assert served.client.post("/v1/bids", json=body()).status_code == 200
        assert served.client.post("/v1/bids", content=b"{").status_code == 415
        text = served.client.get("/metrics").text
    finally:
        served.close()
    found: dict[str, dict[str, set[str]]] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("#"):
            row = _ROW.match(line)
            assert row is not None, line
            labels = found.setdefault(row[1], {})
            for label, value in _LABEL.findall(row[2] or ""):
                labels.setdefault(label, set()).add(value)
    assert kinds == {PREFIX + name: metric.kind for name, metric in SERVICE.items()}
    yield found


def test_every_metric_of_the_list_is_in_the_scrape_with_its_labels_and_no_other_is(
    scrape: dict[str, dict[str, set[str]]],
) -> None:
    # What has no row yet has its type all the same: nothing was refused here, and no model failed.
    silent = {f"{PREFIX}refused_info", f"{PREFIX}model_failures_total"}
    assert set(scrape) | silent == service_names()
    for name, metric in SERVICE.items():
        for part in PARTS[metric.kind]:
            own = scrape.get(f"{PREFIX}{name}{part}")
            if own is not None:
                more = {"le"} if part == "_bucket" else set()
                assert set(own) == {"worker", *metric.labels, *more}, name
    assert scrape[f"{PREFIX}now"]["what"] == set(GAUGES)


def test_airflow_knows_every_metric_that_it_is_said_to_send() -> None:
    from airflow._shared.observability.metrics import metrics_registry

    registry = yaml.safe_load(Path(metrics_registry.__file__).with_name("metrics_template.yaml").read_text())
    kinds = {one["name"]: one["type"] for one in registry["metrics"]}
    for shown, name in AIRFLOW.items():
        assert name in kinds, f"Airflow sends no {name}"
        ending = {"counter": "_total", "timer": "_milliseconds", "gauge": ""}[kinds[name]]
        assert shown == f"airflow_{re.sub('[^a-z0-9]', '_', name)}{ending}"


def queries(dashboard: Any) -> Iterator[str]:
    """Every query of a dashboard, wherever it stands."""
    if isinstance(dashboard, dict):
        yield from (value for key, value in dashboard.items() if key in {"expr", "definition"})
        for value in dashboard.values():
            yield from queries(value)
    elif isinstance(dashboard, list):
        for value in dashboard:
            yield from queries(value)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_names_only_metrics_and_labels_that_exist(
    path: Path, scrape: dict[str, dict[str, set[str]]]
) -> None:
    asked = [*queries(json.loads(path.read_text()))]
    assert asked
    named = {word for query in asked for word in _WORDS.findall(query)}
    assert named <= service_names() | airflow_names()
    whats = {what for query in asked for what in re.findall(r'what="(\w+)"', query)}
    assert whats <= scrape[f"{PREFIX}now"]["what"]
    for query in asked:
        for name in _WORDS.findall(query):
            metric = SERVICE.get(re.sub("_(bucket|sum|count)$", "", name.removeprefix(PREFIX)))
            by = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
            if metric is not None:
                assert by <= {"worker", "le", *metric.labels}, query


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_numbers_of_their_own_a_description_and_do_not_overlap(path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]


def test_the_page_about_metrics_names_each() -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    assert [name for name in SERVICE if f"`{name}`" not in text] == []
    assert [name for name in AIRFLOW.values() if f"`{name}`" not in text] == []
