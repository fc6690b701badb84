"""What must have happened once before a cluster is up: databases at this version, roles, the first user, the pool.

    python -m local.prepare

reads the environment alone (docker/settings/*.env, filled, and AIRFLOW_ADMIN_PASSWORD) and may run again at any time: what is
there stays, the administrator's password and the roles' rights become what they are told here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Final

from local.airflow import airflow_argv
from local.around import check_airflow_database, check_broker
from local.stack import ONLINE_STORE_POOL
from ml.core.errors import BidwrightError, StoreUnavailable, UsageError

ADMIN: Final = "admin"
APPROVER: Final = "bid-approver"
PROMOTION: Final = "promote_bid_model"
"""The DAG that asks a person; `dags/promote_bid_model.py`."""

ANSWERING: Final = (
    ("can_edit", "HITL Detail"),
    ("menu_access", "HITL Detail"),
    # FAB asks for both, the answer and its DAG. Runs cannot be edited, so nothing can be triggered, cleared or marked.
    ("can_edit", f"DAG:{PROMOTION}"),
    ("can_read", f"DAG:{PROMOTION}"),
)
"""What the role `bid-approver` may beyond reading: answer the promotion's Required Actions."""


def prepare() -> None:
    """Bring everything to where services can start.

    Raises:
        UsageError: there is no password for the administrator.
        StoreUnavailable: a database or the queue of tasks cannot be used, or a database cannot be brought to this version.
    """
    password = os.environ.get("AIRFLOW_ADMIN_PASSWORD", "")
    if not password:
        raise UsageError("AIRFLOW_ADMIN_PASSWORD is not set", left="nothing was changed", next="fill it from .env")
    check_airflow_database(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    check_broker(os.environ["AIRFLOW__CELERY__BROKER_URL"])
    migrate_airflow()
    from ml.platform import Platform
    from ml.preflight import deploy

    deploy(Platform.from_environment())
    make_roles(password)
    make_pool()


def migrate_airflow() -> None:
    """Airflow's database, and that of its users, at the installed version."""
    done = subprocess.run(airflow_argv("db", "migrate"), check=False)  # noqa: S603  (our interpreter)
    if done.returncode:
        raise StoreUnavailable("Airflow's database could not be prepared", next="read the lines above")


def make_roles(password: str) -> None:
    """Airflow's own roles, `bid-approver`, and the administrator with this password; no password is on a command line."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        builder.add_permissions(update_perms=True)
        users = builder.sm
        users.sync_roles()
        _make_approver(users)
        present = users.find_user(ADMIN)
        if present is None:
            made = users.add_user(ADMIN, "Bidwright", "Admin", "admin@localhost", users.find_role("Admin"), password)
            if not made:
                raise StoreUnavailable("the administrator could not be added", next="read the lines above")
        else:
            users.reset_password(present.id, password)


def _make_approver(users: Any) -> None:
    """A viewer who may answer the promotion's questions, and nothing else; rights that it has beyond that are taken away."""
    role = users.add_role(APPROVER)
    wanted = {(one.action.name, one.resource.name) for one in users.find_role("Viewer").permissions} | set(ANSWERING)
    for action, resource in sorted(wanted):
        users.add_permission_to_role(role, users.create_permission(action, resource))
    for held in list(role.permissions):
        if (held.action.name, held.resource.name) not in wanted:
            users.remove_permission_from_role(role, held)


def make_pool() -> None:
    """The pool with the one slot of the online store's writer, unless it is there: its slots are yours to change."""
    from airflow.models.pool import Pool

    if Pool.get_pool(ONLINE_STORE_POOL) is None:
        Pool.create_or_update_pool(
            ONLINE_STORE_POOL, slots=1, description="The writer of the online feature store.", include_deferred=False
        )


def main() -> int:
    """Run as a process; the last line is the reason of a failure."""
    try:
        prepare()
    except BidwrightError as error:
        sys.stderr.write(f"bidwright: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
