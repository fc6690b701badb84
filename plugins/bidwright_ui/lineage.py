"""Where a version comes from: its data, its features, its code, and the runs that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.page import plain
from ml.core.errors import BidwrightError

if TYPE_CHECKING:
    from ml.ledger.versions import Version
    from ml.platform import Platform

_STEPS: Final = {"train": "train_bid_model", "promote": "promote_bid_model", "materialize": "materialize_features"}
"""The steps that made a version, and the DAG of each."""


def lineage(platform: Platform, version: Version) -> dict[str, Any]:
    """From the bundle back to what it was made of.

    Returns:
        `bundle` (key in the blob store, `signed_by`, or `error` where it is refused), `data` (digest, last day of
        training, `known_by`, and per model the digest and rows of its training set), `features` (per model the inputs),
        `serves` (which model answers for which), `mlflow_run` and `runs` (per step the DAG and its run, empty for the
        command line). The bundle names no commit of the code: Airflow's run does, where DAGs come from a bundle with
        versions.
    """
    from ml.ledger import stages, training_sets
    from ml.promotion.bundle import read_manifest

    try:
        manifest, signed_by = read_manifest(platform.blobs, version.digest, platform.keys)
        bundle: dict[str, Any] = {"key": version.uri, "signed_by": plain(signed_by)}
        meta: Any = manifest.meta
    except BidwrightError as error:
        # A bundle that is refused is a finding; everything else about the version still stands in the ledger.
        bundle, meta = {"key": version.uri, "error": str(error)}, {}
    sets = training_sets.of_version(platform.db, platform.market, version.digest)
    done = stages.for_day(platform.db, platform.market, version.day)
    return {
        "bundle": bundle,
        "data": {
            "digest": version.data_digest,
            "trained_through": version.trained_through.isoformat(),
            "known_by": meta.get("trained_known_by"),
            "sets": [{"model": one.model, "digest": one.digest, "rows": one.rows} for one in sets],
        },
        "features": {name: list(one.get("inputs", [])) for name, one in meta.get("training", {}).items()},
        "serves": plain(meta.get("serves", {})),
        "mlflow_run": version.mlflow_run_id or None,
        "runs": [{"step": step, "dag": dag, "run": done[step].run_id} for step, dag in _STEPS.items() if step in done],
    }
