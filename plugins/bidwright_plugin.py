"""What Bidwright adds to Airflow's web UI: the page "Bid models" and a link to it from every task of ours.

Every Airflow process imports this file, each task included, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.bases.operatorlink import BaseOperatorLink

PREFIX = "bid-models"

LIFECYCLE_DAGS = frozenset(
    {
        "ingest_market",
        "settle_outcomes",
        "materialize_features",
        "check_drift",
        "train_bid_model",
        "promote_bid_model",
        "publish_bids",
    }
)


class LazyPages:
    """The pages as an ASGI application that is built by its first request.

    Building it imports FastAPI and the platform: half a second that a task must not pay.
    """

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request of the api-server."""
        if self._app is None:
            from bidwright_ui.app import create_app
            from bidwright_ui.guard import Guarded

            self._app = Guarded(create_app())
        await self._app(scope, receive, send)


class BidModelsLink(BaseOperatorLink):
    """The button "Bid models" on a task of the lifecycle; tasks of other DAGs get none."""

    name = "Bid models"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002  (Airflow's signature)
        """Address of the page, or nothing for a DAG that is not ours."""
        return f"/plugin/{PREFIX}" if ti_key.dag_id in LIFECYCLE_DAGS else ""


# Airflow finds a tab by its route alone, whatever view it is on, so each has one of its own. A tab is on the views of
# every DAG; for somebody else's the page says that it has nothing to show.
TABS: Mapping[str, str] = {
    "dag": "dag_id={DAG_ID}",
    "dag_run": "dag_id={DAG_ID}&run_id={RUN_ID}",
    "task": "dag_id={DAG_ID}&task_id={TASK_ID}",
    "task_instance": "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}",
}
"""The views of Airflow that have a tab of ours, and what each tells it."""


class BidwrightPlugin(AirflowPlugin):
    """The pages, the tabs and the links."""

    name = "bidwright"
    fastapi_apps: ClassVar[list[Any]] = [{"app": LazyPages(), "url_prefix": f"/{PREFIX}", "name": "Bid models"}]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Bid models",
            # Relative and with its slash, so that it also works where Airflow is served below a path.
            "href": f"{PREFIX}/",
            "url_route": PREFIX,
            "destination": "nav",
            "nav_top_level": True,
        },
        *(
            {
                "name": "Bid models",
                "href": f"{PREFIX}/tab?{query}",
                "url_route": f"{PREFIX}-{view.replace('_', '-')}",
                "destination": view,
            }
            for view, query in TABS.items()
        ),
    ]
    global_operator_extra_links: ClassVar[list[Any]] = [BidModelsLink()]
