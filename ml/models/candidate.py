"""Build the candidate of a market day: gather, train, evaluate, bundle, verify, log, register.

It knows what was known `holdout_days` before the end of the day, and is judged on what became certain since: the
version that is judged is the version that goes live. The same data gives the same digest, so that a task that is
run again builds what is there already.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.units import known_by

if TYPE_CHECKING:
    from ml.core.digests import Digest
    from ml.ledger.versions import Version
    from ml.models.training import Trained
    from ml.platform import Platform

METRICS_ROUNDED = 6


def build_candidate(platform: Platform, day: date) -> Version:
    """Train, evaluate and register the candidate of `day`.

    Raises:
        NoData: too little is known yet to train on; nothing is left.
        CorruptArtefact: the bundle does not parse or does not repeat its predictions; it is not registered.
    """
    from ml.ledger import partitions, stages, versions
    from ml.models.rows import days_used, training_rows
    from ml.models.training import train
    from ml.promotion.bundle import read_bundle, write_bundle
    from ml.promotion.sandbox import verify_in_child

    through = day - timedelta(days=platform.settings.holdout_days)
    as_of = known_by(through)
    held = stages.held_days(platform.db, platform.market, last=day)
    rows = training_rows(platform, as_of=as_of, exclude_days=held)
    trained = train(rows, as_of=as_of, seed=platform.settings.seed)
    metrics = evaluate(platform, day, trained)
    data_digest = partitions.data_digest(platform.db, platform.market, last=through)
    meta = {
        "market": platform.market,
        "day": day.isoformat(),
        "trained_through": through.isoformat(),
        "trained_known_by": as_of.isoformat(),
        "data_digest": data_digest,
        "seed": platform.settings.seed,
        "held_days": [held_day.isoformat() for held_day in held],
        "unfit_days_used": sorted(used.isoformat() for used in days_used(rows) & set(held)),
        "training": trained.training_record(),
        "metrics": metrics,
    }
    digest = write_bundle(platform.blobs, artefacts=trained.artefacts(rows), meta=meta)
    known = versions.get(platform.db, platform.market, digest)
    if known is not None:
        return known
    verify_in_child(read_bundle(platform.blobs, digest))
    version = versions.Version(
        digest=digest,
        market=platform.market,
        day=day,
        uri=f"bundles/{digest}",
        data_digest=data_digest,
        trained_through=through,
        metrics={**metrics, "unfit_days_used": meta["unfit_days_used"]},
        mlflow_run_id=_log(platform, day, digest, trained, meta),
    )
    return versions.register(platform.db, version, platform.clock.now())


def evaluate(platform: Platform, day: date, trained: Trained) -> dict[str, Any]:
    """Each model and its baseline on what became certain in the holdout window.

    Returns:
        Per model: `rows`, `positives`, `auc`, `log_loss`, `ratio` (predicted over realised: net value of a value
        model on the bookings that were due, else events), and the same of `baseline`; null where not measurable.
    """
    from ml.evaluation.rows import evaluation_rows

    known_from = known_by(day - timedelta(days=platform.settings.holdout_days))
    judged = evaluation_rows(platform, day, known_from=known_from)
    found = {}
    for name, model in trained.models.items():
        due = judged.get(f"{name}_due", judged[name])
        found[name] = {
            "rows": len(judged[name].label),
            "positives": int(judged[name].label.sum()),
            **_measure(model, judged[name], due),
            "baseline": _measure(trained.baselines[name], judged[name], due),
        }
    return found
