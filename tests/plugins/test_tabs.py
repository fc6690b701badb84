"""A tab on a view of Airflow shows the piece of its DAG and day, and says so where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ml.platform import Platform
from tests.plugins.conftest import EVIL

TAB = "/bid-models/tab"
DIGEST = "3fa9c1d2e4"


@pytest.fixture(scope="session")
def known_to_airflow(airflow_db: None) -> None:
    """Our DAGs in Airflow's database, as its DAG processor leaves them."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        bag = DagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, bundle.version)


@pytest.fixture
def run_of(known_to_airflow: None) -> Iterator[Callable[[str, str | None], str]]:
    """Put a run of one of our DAGs into Airflow's database, with a partition key or without."""
    from airflow.models.dagrun import DagRun
    from airflow.sdk import timezone
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    made: list[tuple[str, str]] = []

    def run(dag_id: str, key: str | None) -> str:
        run_id = f"manual__of_a_tab+{len(made)}"
        with create_session() as session:
            session.add(
                DagRun(
                    dag_id=dag_id,
                    run_id=run_id,
                    run_after=timezone.utcnow(),
                    partition_key=key,
                    run_type=DagRunType.MANUAL,
                    triggered_by=DagRunTriggeredByType.TEST,
                    state="success",
                )
            )
        made.append((dag_id, run_id))
        return run_id

    yield run
    with create_session() as session:
        for dag_id, run_id in made:
            session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).delete()


@pytest.mark.parametrize(
    ("dag", "shown"),
    [
        ("ingest_market", "20 412"),
        ("train_bid_model", DIGEST),
        ("promote_bid_model", "calibration"),
        ("check_drift", "FAIL"),
        ("publish_bids", "google"),
        ("settle_outcomes", "231.12"),
    ],
)
def test_the_tab_of_a_run_shows_what_belongs_to_its_dag_and_day(
    dag: str, shown: str, api: Any, lived: Platform, run_of: Any
) -> None:
    run_id = run_of(dag, "2026-03-02")
    page = api.get(TAB, params={"dag_id": dag, "run_id": run_id, "task_id": "x"})
    assert page.status_code == 200
    assert f"{dag} on 2026-03-02" in page.text and shown in page.text
    assert "<script>alert" not in page.text
    elsewhere = api.get(TAB, params={"dag_id": dag, "run_id": run_of(dag, "2026-03-09")})
    assert shown not in elsewhere.text
    assert "has recorded nothing for this market day yet" in elsewhere.text


@pytest.mark.parametrize(
    "dag", ["ingest_market", "train_bid_model", "promote_bid_model", "check_drift", "publish_bids"]
)
def test_the_tab_of_a_dag_shows_the_last_days(dag: str, api: Any, lived: Platform) -> None:
    page = api.get(TAB, params={"dag_id": dag}).text
    assert "Market days" in page and "2026-03-02" in page


def test_a_run_without_a_market_day_says_so_and_shows_the_last_ones(api: Any, lived: Platform, run_of: Any) -> None:
    for key in (None, "a week"):
        page = api.get(TAB, params={"dag_id": "check_drift", "run_id": run_of("check_drift", key)}).text
        assert "This run has no market day" in page and "2026-03-02" in page


@pytest.mark.parametrize("dag", ["somebody_elses", "", EVIL, "~", "{DAG_ID}"])
def test_a_dag_of_somebody_else_has_nothing_to_show(dag: str, api: Any, lived: Platform) -> None:
    page = api.get(TAB, params={"dag_id": dag, "run_id": "any"})
    assert page.status_code == 200
    assert "is not part of the bid model" in page.text and "<script>alert" not in page.text
    assert api.get("/bid-models/api/tab", params={"dag_id": dag}).json()["ours"] is False


def test_a_run_that_does_not_exist_is_a_sentence(api: Any, lived: Platform) -> None:
    page = api.get(TAB, params={"dag_id": "check_drift", "run_id": "../../variables"})
    assert page.status_code == 404 and "Airflow knows nothing of this" in page.text


def test_an_empty_ledger_says_what_is_not_there_yet(api: Any, empty: Platform) -> None:
    for dag in ("ingest_market", "train_bid_model", "promote_bid_model", "check_drift", "publish_bids"):
        page = api.get(TAB, params={"dag_id": dag})
        assert page.status_code == 200 and " yet." in page.text


def test_without_a_database_the_tab_says_so(api: Any, platform: Platform) -> None:
    page = api.get(TAB, params={"dag_id": "check_drift"})
    assert page.status_code == 503 and "bidwright migrate" in page.text


def test_the_tabs_know_every_dag_of_the_lifecycle_and_its_step() -> None:
    from bidwright_plugin import LIFECYCLE_DAGS
    from bidwright_ui.views_tabs import STAGE_OF_DAG
    from local.days import DAG_OF_STAGE

    assert {dag: stage for stage, dag in DAG_OF_STAGE.items()} == STAGE_OF_DAG
    assert STAGE_OF_DAG.keys() == LIFECYCLE_DAGS
