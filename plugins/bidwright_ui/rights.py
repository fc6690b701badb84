"""Who may change something on the pages: whoever Airflow lets edit runs of the lifecycle's DAGs."""

from __future__ import annotations

from typing import Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from fastapi import HTTPException, status

from bidwright_plugin import LIFECYCLE_DAGS

NO_WRITER: Final = "you may read this, and not change it: that takes the right to edit runs of the bid model's DAGs"

NO_ANSWERER: Final = (
    "you may read this request, and not answer it: Airflow asks for the right to edit its Required Actions"
)

PROMOTION: Final = "promote_bid_model"
"""The DAG that asks a person."""


def writer(user: GetUserDep) -> None:
    """Dependency of whatever changes something: 403 for whoever may not edit the runs of every DAG of the lifecycle."""
    if not may_write(user):
        raise HTTPException(status.HTTP_403_FORBIDDEN, NO_WRITER)


def answerer(user: GetUserDep) -> None:
    """Dependency of answering a request: 403 for whoever may not answer it in Airflow, whose API asks again."""
    if not may_answer(user):
        raise HTTPException(status.HTTP_403_FORBIDDEN, NO_ANSWERER)


def may_write(user: GetUserDep) -> bool:
    """Whether Airflow's auth manager lets a user edit the runs of all DAGs of the lifecycle.

    Of all, because an incident is the market's and not one DAG's: who snoozes it silences them all.
    """
    return _may(user, DagAccessEntity.RUN, sorted(LIFECYCLE_DAGS))


def may_answer(user: GetUserDep) -> bool:
    """Whether Airflow lets a user answer the Required Actions of the promotion."""
    return _may(user, DagAccessEntity.HITL_DETAIL, [PROMOTION])


def _may(user: GetUserDep, entity: DagAccessEntity, dags: list[str]) -> bool:
    teams = DagModel.get_dag_id_to_team_name_mapping(dags)
    asked = [
        {"method": "PUT", "access_entity": entity, "details": DagDetails(id=dag, team_name=teams.get(dag))}
        for dag in dags
    ]
    return bool(get_auth_manager().batch_is_authorized_dag(asked, user=user))
