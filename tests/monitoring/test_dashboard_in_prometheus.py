"""A real Prometheus scrapes a real bid service and is asked every question of the dashboard."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from local.ports import free_port
from ml.bidding.day_budget import QUARTERS, day_budget
from ml.serving.joints import Slot
from tests.serving.service.conftest import TOKEN, Served, body, until
from tests.serving.service.stubs import B, StubEngine

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "docker" / "prometheus" / "prometheus.yaml"
DASHBOARD = json.loads((ROOT / "monitoring" / "grafana" / "bidwright.json").read_text())
ASKED = sorted({one["expr"] for panel in DASHBOARD["panels"] for one in panel.get("targets", ())})
SILENT = {"bidwright_model_failures_total"}
"""What no row of the scrape tells while nothing fails."""

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus here (make debian)")

Ask = Callable[[str], dict[str, Any]]


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Ask]:
    """Prometheus with the shipped configuration, but for the target and the haste."""
    (folder / "token").write_text(TOKEN)
    config = yaml.safe_load(SHIPPED.read_text())
    config["global"]["scrape_interval"] = "1s"
    (job,) = (one for one in config["scrape_configs"] if one["job_name"] == "bidwright")
    job |= {"authorization": {"credentials_file": str(folder / "token")}, "static_configs": [{"targets": [target]}]}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config | {"scrape_configs": [job]}))
    port = free_port()
    argv = ["prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=native-histograms", "--log.level=error"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(query: str) -> dict[str, Any]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}, timeout=30)
        except httpx.TransportError:
            assert process.poll() is None, "prometheus ended"
            return {}
        found: dict[str, Any] = answer.json() if answer.text.startswith("{") else {}
        return found

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def in_prometheus(query: str) -> str:
    """A panel's query with Grafana's variables filled in; Debian's Prometheus is older than `histogram_avg` (2.51)."""
    filled = query.replace("$__rate_interval", "10s").replace("$worker", ".*")
    return filled.replace("histogram_avg(", "histogram_sum(")


def told(answer: dict[str, Any]) -> list[Any]:
    """The rows of an answer."""
    return list(answer.get("data", {}).get("result", []))


def test_every_question_of_the_dashboard_is_understood_and_those_about_the_bid_service_are_answered(
    tmp_path: Path,
) -> None:
    served = Served(tmp_path, paced=True)
    served.source.now = replace(served.source.now, plan="p" * 64)
    served.source.paced = {"google": day_budget(10**9, [0] * QUARTERS)}
    served.ready()
    try:
        until(lambda: served.worker.batcher.spending.partners)
        served.live(shadow=Slot("shadow", StubEngine(B), 1))

        def answered() -> bool:
            assert served.client.post("/v1/bids", json=body()).status_code == 200
            return bool(told(ask("rate(bidwright_http_responses_total[10s]) > 0")))

        with prometheus(tmp_path, f"127.0.0.1:{served.port}") as ask:
            until(lambda: told(ask("up{job='bidwright'} == 1")))
            until(answered)
            for query in ASKED:
                answer = ask(in_prometheus(query))
                assert answer.get("status") == "success", (query, answer)
                if "bidwright_" in query and not any(name in query for name in SILENT):
                    assert told(answer), query
            assert float(told(ask("sum(bidwright_now{what='ready'})"))[0]["value"][1]) == 1
            names = told(ask("group by (__name__) ({job='bidwright',__name__=~'bidwright_.*'})"))
            assert len(names) > 20
    finally:
        served.close()


def test_the_configuration_that_is_shipped_is_one() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(SHIPPED)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
