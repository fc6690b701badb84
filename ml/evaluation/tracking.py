"""MLflow: runs, metrics and plots for people to compare. The only module that imports it.

Nothing that is live depends on it: when it fails, that is logged, and the run id is empty.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ml.core.settings import Settings

LOG = logging.getLogger(__name__)

_MAX_PARAMETER_CHARS = 500
_PAGE = 200
_SWITCHES = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
"""MLflow 3.17 sends usage events unless one of these reads "true"; read when it is imported."""


def prepare(settings: Settings) -> bool:
    """Create the tracking store and the market's experiment, once, so that no training run pays for it.

    Returns:
        Whether it is there now; a failure is logged and is no error.
    """
    try:
        with _quietly():
            _experiment(_client(settings), settings)
    except Exception as error:  # noqa: BLE001  (tracking is a convenience; its failure must stop nothing)
        LOG.warning("MLflow could not be prepared: %s", _first_line(error))
        return False
    return True


def log_run(
    settings: Settings,
    *,
    name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    plots: Callable[[], Mapping[str, bytes]],
    tags: Mapping[str, str],
) -> str:
    """Log one training run.

    A run with the same `digest` tag is not logged a second time, so that a repeated task adds nothing.

    Args:
        settings: says where the tracking store is.
        name: what people see in the list of runs.
        params: what the run was given; values are logged as text.
        metrics: numbers; those that are not finite are left out.
        plots: makes the plots, file name to PNG bytes; called only when the run is new.
        tags: text to search by.

    Returns:
        MLflow's run id; empty when MLflow failed.
    """
    try:
        with _quietly():
            client = _client(settings)
            experiment = _experiment(client, settings)
            found = _logged(client, experiment, tags.get("digest", ""))
            return found or _write(
                client, experiment, name=name, params=params, metrics=metrics, plots=plots(), tags=tags
            )
    except Exception as error:  # noqa: BLE001  (tracking is a convenience; its failure must stop nothing)
        LOG.warning("MLflow did not take the run %s: %s", name, _first_line(error))
        return ""


def remove_runs(
    settings: Settings, *, keep_days: int, kept: Collection[str], at: datetime, dry_run: bool = False
) -> int:
    """Remove the plots of runs of this market that are older, and put the runs into MLflow's trash.

    Args:
        settings: says where the tracking store is.
        keep_days: 0: nothing is removed.
        kept: ids of runs that stay whatever their age.
        at: the present instant.
        dry_run: only count.

    Returns:
        How many runs; 0 where there is no tracking store, or it cannot be reached, which is logged.
    """
    if not keep_days or not _there(settings):
        return 0
    before = int((at - timedelta(days=keep_days)).timestamp() * 1000)
    try:
        with _quietly():
            return _remove_runs(_client(settings), settings, before=before, kept=kept, dry_run=dry_run)
    except Exception as error:  # noqa: BLE001  (tracking is a convenience; its failure must stop nothing)
        LOG.warning("MLflow's old runs could not be removed: %s", _first_line(error))
        return 0


def _there(settings: Settings) -> bool:
    if not settings.mlflow.startswith("sqlite:///"):
        return True
    return Path(settings.mlflow.removeprefix("sqlite:///")).exists()


def _remove_runs(client: Any, settings: Settings, *, before: int, kept: Collection[str], dry_run: bool) -> int:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    experiment = client.get_experiment_by_name(f"bidwright-{settings.market_name}")
    if experiment is None:
        return 0
    count, token = 0, None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], f"attributes.start_time < {before}", max_results=_PAGE, page_token=token
        )
        old = [run for run in page if run.info.run_id not in kept]
        count += len(old)
        for run in old if not dry_run else ():
            get_artifact_repository(run.info.artifact_uri, tracking_uri=settings.mlflow).delete_artifacts()
            client.delete_run(run.info.run_id)
        # A page that was removed is no longer there to be counted past.
        token = page.token if dry_run or not old else None
        if not page or (not page.token and (dry_run or not old)):
            return count


@contextmanager
def _quietly() -> Iterator[None]:
    """MLflow's own use of what its libraries deprecate is nobody's business here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", module=r"(mlflow|alembic|sqlalchemy)\.")
        yield


def _client(settings: Settings) -> Any:
    """A client of the tracking store, without telemetry, without git, without chatter."""
    for switch in _SWITCHES:
        os.environ[switch] = "true"
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    if settings.mlflow.startswith("sqlite:///"):
        Path(settings.mlflow.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    from mlflow.tracking import MlflowClient

    for chatty in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=settings.mlflow)


def _experiment(client: Any, settings: Settings) -> str:
    """Id of the market's experiment; its artefacts lie in the working folder when the store is local."""
    name = f"bidwright-{settings.market_name}"
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if urlsplit(settings.mlflow).scheme == "sqlite":
        folder = settings.home / "mlflow" / "artifacts" / settings.market_name
        folder.mkdir(parents=True, exist_ok=True)
        location = folder.as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except Exception:
        # Two processes may create it at once; the one that lost finds the other's.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _logged(client: Any, experiment: str, digest: str) -> str:
    """Id of the finished run of this digest; empty when there is none."""
    if not digest:
        return ""
    runs = client.search_runs(
        [experiment], f"tags.digest = '{digest}' and attributes.status = 'FINISHED'", max_results=1
    )
    return str(runs[0].info.run_id) if runs else ""


def _write(
    client: Any,
    experiment: str,
    *,
    name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    plots: Mapping[str, bytes],
    tags: Mapping[str, str],
) -> str:
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run(experiment, run_name=name, tags=dict(tags))
    run_id = str(run.info.run_id)
    at = int(run.info.start_time)
    client.log_batch(
        run_id,
        metrics=[Metric(key, float(value), at, 0) for key, value in sorted(metrics.items()) if math.isfinite(value)],
        params=[Param(key, str(value)[:_MAX_PARAMETER_CHARS]) for key, value in sorted(params.items())],
        tags=[RunTag("market_model", name)],
    )
    with tempfile.TemporaryDirectory(prefix="bidwright-plots-") as folder:
        for file, data in plots.items():
            (Path(folder) / file).write_bytes(data)
        if plots:
            client.log_artifacts(run_id, folder, artifact_path="plots")
    client.set_terminated(run_id, status="FINISHED")
    return run_id


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
