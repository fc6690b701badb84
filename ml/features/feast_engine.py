"""Materialisation in columns: from the offline job's Arrow table into the embedded store, no object per value between.

Feast's own extension point: `batch_engine` in feature_store.yaml names this class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ml.features.feast_import import light_import
from ml.features.feast_online import EmbeddedOnlineStore

with light_import():
    from feast.batch_feature_view import BatchFeatureView
    from feast.feature_view import DUMMY_ENTITY_NAME
    from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus
    from feast.infra.compute_engines.base import ComputeEngine
    from feast.infra.compute_engines.dag.context import ColumnInfo
    from feast.infra.compute_engines.utils import create_offline_store_retrieval_job
    from feast.repo_config import FeastConfigBaseModel
    from feast.stream_feature_view import StreamFeatureView
    from feast.utils import _get_column_names


class EmbeddedComputeEngineConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """What feature_store.yaml may say of the engine."""

    type: Literal["ml.features.feast_engine.EmbeddedComputeEngine"] = "ml.features.feast_engine.EmbeddedComputeEngine"


class Done(MaterializationJob):  # type: ignore[misc]
    """A materialisation that is over, with its error if it failed."""

    def __init__(self, name: str, error: BaseException | None = None) -> None:
        super().__init__()
        self._name, self._error = name, error

    def status(self) -> Any:
        """Whether it succeeded."""
        return MaterializationJobStatus.ERROR if self._error else MaterializationJobStatus.SUCCEEDED

    def error(self) -> BaseException | None:
        """What went wrong."""
        return self._error

    def should_be_retried(self) -> bool:
        """Never here: whoever asked for it decides."""
        return False

    def job_id(self) -> str:
        """Its name."""
        return self._name

    def url(self) -> str | None:
        """None: nothing runs elsewhere."""
        return None


class EmbeddedComputeEngine(ComputeEngine):  # type: ignore[misc]
    """The fast way for a plain feature view and the embedded store; everything else goes to Feast's local engine."""

    def update(
        self,
        project: str,
        views_to_delete: Sequence[Any],
        views_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
    ) -> None:
        """Nothing to prepare."""

    def teardown_infra(self, project: str, fvs: Sequence[Any], entities: Sequence[Any]) -> None:
        """Nothing to remove."""

    def get_historical_features(self, registry: Any, task: Any) -> Any:
        """As Feast's local engine does it."""
        return self._local().get_historical_features(registry, task)

    def _materialize_one(self, registry: Any, task: Any, **options: Any) -> Any:
        view = task.feature_view
        if not self._is_plain(view):
            return self._local()._materialize_one(registry, task, **options)
        job = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            self._write(registry, task)
        except Exception as error:  # noqa: BLE001  (Feast raises the error of a job that failed, in the caller's own call)
            return Done(job, error)
        return Done(job)

    def _write(self, registry: Any, task: Any) -> None:
        view = task.feature_view
        context = self.get_execution_context(registry, task)
        keys, features, event, created = _get_column_names(view, context.entity_defs)
        mapping = view.batch_source.field_mapping
        columns = ColumnInfo(
            join_keys=keys, feature_cols=features, ts_col=event, created_ts_col=created, field_mapping=mapping
        )
        with light_import():  # Feast imports its kinds of source when it first reads one
            job = create_offline_store_retrieval_job(
                data_source=view.batch_source,
                context=context,
                start_time=task.start_time,
                end_time=task.end_time,
                column_info=columns,
            )
        self.online_store.write_arrow(self.repo_config, view, _renamed(job.to_arrow(), mapping))

    def _is_plain(self, view: Any) -> bool:
        """Whether rows go from the source into the embedded store as they are."""
        return (
            isinstance(self.online_store, EmbeddedOnlineStore)
            and not isinstance(view, BatchFeatureView | StreamFeatureView)
            and view.batch_source is not None
            and not view.source_views
            and view.online
            and not view.offline
            and len(view.entities) == len(view.entity_columns)
            and DUMMY_ENTITY_NAME not in view.entities
        )

    def _local(self) -> Any:
        from feast.infra.compute_engines.local.compute import LocalComputeEngine

        return LocalComputeEngine(
            repo_config=self.repo_config, offline_store=self.offline_store, online_store=self.online_store
        )


def _renamed(rows: Any, mapping: Mapping[str, str] | None) -> Any:
    """The table with the names that the view has for its source's columns."""
    return rows.rename_columns([mapping.get(name, name) for name in rows.column_names]) if mapping else rows
