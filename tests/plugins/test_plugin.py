"""What the plugin adds to Airflow's own pages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


def test_airflow_loads_the_plugin_and_shows_it_in_the_navigation(api: Any) -> None:
    plugins = {plugin["name"]: plugin for plugin in api.get("/api/v2/plugins").json()["plugins"]}
    view, *tabs = plugins["bidwright"]["external_views"]
    assert (view["name"], view["destination"], view["url_route"]) == ("Bid models", "nav", "bid-models")
    assert {tab["destination"] for tab in tabs} == {"dag", "dag_run", "task", "task_instance"}
    # Airflow finds a view by its route alone: two of one route would show the first one's page in both places.
    assert len({one["url_route"] for one in plugins["bidwright"]["external_views"]}) == 1 + len(tabs)
    assert api.get("/api/v2/plugins/importErrors").json()["import_errors"] == []


@pytest.mark.parametrize(("dag_id", "link"), [("check_drift", "/plugin/bid-models"), ("somebody_elses", "")])
def test_only_tasks_of_the_lifecycle_link_to_the_page(dag_id: str, link: str) -> None:
    from bidwright_plugin import BidModelsLink

    assert BidModelsLink().get_link(None, ti_key=SimpleNamespace(dag_id=dag_id)) == link


def test_the_link_knows_every_dag_of_the_lifecycle() -> None:
    from bidwright_plugin import LIFECYCLE_DAGS
    from local.days import DAG_OF_STAGE

    assert set(DAG_OF_STAGE.values()) == LIFECYCLE_DAGS
