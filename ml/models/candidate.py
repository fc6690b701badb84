"""Build the candidate of a market day: gather, train, evaluate, bundle, verify, sign, log, register.

It knows what was known `holdout_days` before the end of the day, and is judged on what became certain since: the
version that is judged is the version that goes live. The same data gives the same digest, so that a task that is
run again builds what is there already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ml.bidding.shipped import SHIPPED, shipped
from ml.core.units import known_by

if TYPE_CHECKING:
    import pandas as pd

    from ml.core.digests import Digest
    from ml.evaluation.holdout import Holdout
    from ml.features.training_set import TrainingSet
    from ml.ledger.versions import Version
    from ml.models.protocol import BidModel
    from ml.models.training import Trained
    from ml.platform import Platform

METRICS_ROUNDED = 6

SERVES = "serves"
"""In a bundle's meta data: per model, the folder of the one that predicts, its own or its baseline's."""


BY_LABEL = "by"
"""Where metrics hold a row for each label of a field."""


NEWEST_KNOWN = "newest_known"
"""In a bundle's record of training: the instant at which the newest of what a model learned from became known."""


def read_sets(platform: Platform, as_of: datetime, exclude_days: Sequence[date]) -> dict[str, TrainingSet]:
    """The rows that each model learns from, as known before `as_of`, without the held days."""
    from ml.models.rows import training_sets

    return training_sets(platform, as_of=as_of, exclude_days=exclude_days)


def fit_models(rows: Mapping[str, pd.DataFrame], as_of: datetime, seed: int) -> Trained:
    """Every model and its baseline, fitted on what was known before `as_of`."""
    from ml.models.training import train

    return train(rows, as_of=as_of, seed=seed)


def choose_served(trained: Trained, judged: Mapping[str, Holdout], seed: int) -> dict[str, str]:
    """Which of the two predicts in this version, per model: the trees where they show a gain, else their baseline.

    A model has to earn its complexity. Where the holdout shows no gain (`ml.evaluation.interval.better`), the logistic
    regression serves: it is the simpler, and no worse as far as anybody can tell.
    """
    from ml.core.verdict import Verdict
    from ml.evaluation.interval import better
    from ml.evaluation.metrics import log_losses
    from ml.evaluation.paired import paired_bootstrap
    from ml.models import baseline_of
    from ml.promotion.gates.beats_baseline import BeatsBaseline

    gate = BeatsBaseline()
    serves = {}
    for name, model in trained.models.items():
        rows = judged[name]
        ours, theirs = (
            log_losses(rows.label, rows.of_label(one.predict(rows.rows)[one.outputs[0]].to_numpy(dtype=float)))
            for one in (model, trained.baselines[name])
        )
        gain = paired_bootstrap(ours, theirs, rows.block, seed=seed) if len(rows.label) else None
        shown = gain and better(gain, min_blocks=gate.min_blocks, min_rows=gate.min_rows) is Verdict.PASS
        serves[name] = name if shown else baseline_of(name)
    return serves


@dataclass(frozen=True)
class Recipe:
    """How a candidate is made. Everything else about it, its evaluation, bundle and record, is the same for all.

    Attributes:
        read: the rows that each model learns from: of the platform, the instant of knowledge, and the days left out.
        fit: models from these rows, the instant of knowledge and the seed.
        serves: per model, the folder of the one that predicts; of what was fitted, the rows that are held out, and the seed.
    """

    read: Callable[[Platform, datetime, Sequence[date]], dict[str, TrainingSet]] = read_sets
    fit: Callable[[Mapping[str, pd.DataFrame], datetime, int], Trained] = fit_models
    serves: Callable[[Trained, Mapping[str, Holdout], int], dict[str, str]] = choose_served


STANDARD = Recipe()


def build_candidate(platform: Platform, day: date, *, recipe: Recipe = STANDARD) -> Version:
    """Train, evaluate and register the candidate of `day`.

    Args:
        platform: the platform.
        day: the market day.
        recipe: how it is made.

    Raises:
        NoData: too little is known yet to train on; nothing is left.
        UsageError: there is no key to sign with that counts here; nothing was trained.
        CorruptArtefact: the bundle does not parse or does not repeat its predictions; it is not signed, stored or
            registered.
    """
    from ml.core.code_version import code_version
    from ml.evaluation.rows import evaluation_rows
    from ml.ledger import partitions, stages, training_sets, versions
    from ml.models.rows import days_used
    from ml.promotion.bundle import pack, read_bundle, write_bundle
    from ml.promotion.keyring import signing_keyring
    from ml.promotion.sandbox import verify_in_child

    keys = signing_keyring(platform.settings)
    through = day - timedelta(days=platform.settings.holdout_days)
    as_of = known_by(through)
    held = stages.held_days(platform.db, platform.market, last=day)
    sets = recipe.read(platform, as_of, held)
    rows = {name: made.rows for name, made in sets.items()}
    learned_from = [
        training_sets.Entry(model=name, digest=made.digest, rows=len(made.rows), as_of=as_of, query=made.query)
        for name, made in sets.items()
    ]
    trained = recipe.fit(rows, as_of, platform.settings.seed)
    judged = evaluation_rows(platform, day, known_from=as_of)
    metrics = evaluate(trained, judged, seed=platform.settings.seed)
    serves = recipe.serves(trained, judged, platform.settings.seed)
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
        "training": training_record(trained, rows),
        SHIPPED: shipped(platform.settings),
        SERVES: serves,
        "code": code_version(platform.settings).as_json(),
        "metrics": metrics,
    }
    made = pack(trained.artefacts(rows), meta)
    known = versions.get(platform.db, platform.market, made.digest)
    if known is not None:
        write_bundle(platform.blobs, artefacts=made.artefacts, meta=meta, keys=keys)
        return known
    with ThreadPoolExecutor(1) as pool:
        # Drawn while the child process imports what it verifies with; errors are those of the log, which stops nothing.
        drawn = pool.submit(_plots, day, trained, judged, metrics)
        verify_in_child(made)
    digest = write_bundle(platform.blobs, artefacts=made.artefacts, meta=meta, keys=keys)
    read_bundle(platform.blobs, digest, keys)
    version = versions.Version(
        digest=digest,
        market=platform.market,
        day=day,
        uri=f"bundles/{digest}",
        data_digest=data_digest,
        trained_through=through,
        metrics={**metrics, SERVES: serves, "unfit_days_used": meta["unfit_days_used"]},
        mlflow_run_id=_log(platform, day, digest, meta, plots=drawn.result),
    )
    with platform.db.session() as session:
        registered = versions.register(session, version, platform.clock.now())
        training_sets.record(session, platform.market, digest, learned_from)
    return registered


def training_record(trained: Trained, rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Per model, what the gates ask about its training: inputs, counts, and when the newest of its rows became known."""
    return {
        name: {**record, NEWEST_KNOWN: newest_known(rows[name])} for name, record in trained.training_record().items()
    }


def newest_known(rows: pd.DataFrame) -> str | None:
    """The instant at which the newest of these rows, or of their outcomes, became known; None where none says."""
    stamps = rows[[name for name in rows.columns if name.endswith("known_at")]].max().dropna()
    return None if stamps.empty else stamps.max().isoformat()


def evaluate(trained: Trained, judged: Mapping[str, Holdout], *, seed: int) -> dict[str, Any]:
    """Each model and its baseline on what became certain in the holdout window.

    Args:
        trained: models and baselines.
        judged: from `ml.evaluation.rows.evaluation_rows`.
        seed: of the intervals.

    Returns:
        Per model: `rows`, `positives`, `auc`, `log_loss`, `ratio` (predicted over realised: net value of a value
        model on the bookings that were due, else events), `money` (`ml.evaluation.money.worth_report`; of models of
        what a click is worth), and the same of `baseline`; null where not measurable.
    """
    from ml.evaluation.worth import worth_rows

    money = {name: worth_rows(name, judged) for name in trained.models}

    def measured(name: str, model: BidModel) -> dict[str, Any]:
        found: dict[str, Any] = _measure(model, judged[name], judged.get(f"{name}_due", judged[name]))
        rows = money[name]
        return found if rows is None else {**found, "money": rows.report(model, seed=seed)}

    return {
        name: {
            "rows": len(judged[name].label),
            "positives": int(judged[name].label.sum()),
            **measured(name, model),
            "baseline": measured(name, trained.baselines[name]),
        }
        for name, model in trained.models.items()
    }


def _measure(model: BidModel, judged: Holdout, due: Holdout) -> dict[str, float | None]:
    """Discrimination and loss on outcomes that became certain, calibration on those that were due."""
    from ml.evaluation.metrics import auc, log_loss, net_value_ratio

    said = judged.of_label(model.predict(judged.rows)[model.outputs[0]].to_numpy(dtype=float))
    expected = due.of_label(model.predict(due.rows)[model.outputs[-1]].to_numpy(dtype=float))
    realised = due.label if due.value_micros is None else due.value_micros
    return {
        "auc": _number(auc(judged.label, said)),
        "log_loss": _number(log_loss(judged.label, said)),
        "ratio": _number(net_value_ratio(expected, realised)),
    }


def _number(value: float) -> float | None:
    return round(value, METRICS_ROUNDED) if math.isfinite(value) else None


def _log(
    platform: Platform,
    day: date,
    digest: Digest,
    meta: Mapping[str, Any],
    *,
    plots: Callable[[], Mapping[str, bytes]],
) -> str:
    """Log the run to MLflow; empty when that failed."""
    from ml.evaluation import tracking

    return tracking.log_run(
        platform.settings,
        name=f"{platform.market} {day.isoformat()} {digest[:8]}",
        params={
            "market": platform.market,
            "day": meta["day"],
            "trained_through": meta["trained_through"],
            "seed": meta["seed"],
            "data_digest": meta["data_digest"],
        },
        metrics=_flat(meta["metrics"]),
        plots=plots,
        tags={"digest": digest, "market": platform.market, "day": meta["day"]},
    )


def _plots(day: date, trained: Trained, judged: Mapping[str, Holdout], metrics: Mapping[str, Any]) -> dict[str, bytes]:
    """Calibration, gain and importance of each model, and what its errors of worth cost."""
    from ml.evaluation.plots import calibration_plot, gain_plot, importance_plot, money_plot

    plots = {}
    for name, model in trained.models.items():
        label, title = judged[name].label, f"{name}, {day.isoformat()}"
        said = judged[name].of_label(model.predict(judged[name].rows)[model.outputs[0]].to_numpy(dtype=float))
        plots[f"{name}_calibration.png"] = calibration_plot(label, said, title=title)
        plots[f"{name}_gain.png"] = gain_plot(label, said, title=title)
        plots[f"{name}_importance.png"] = importance_plot(model.importance(), title=title)
        money = metrics[name].get("money")
        if money:
            theirs = metrics[name]["baseline"]["money"]["by"]["lead_bucket"]
            plots[f"{name}_money.png"] = money_plot(money["by"]["lead_bucket"], theirs, title=f"{title}, by lead time")
    return plots


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Nested metrics under names like `value.baseline.auc`; those that were not measurable are left out.

    So are the tables by label: MLflow takes no name like `181+`, and a run has a plot of them.
    """
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if name == BY_LABEL:
            continue
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": number for inner, number in _flat(value).items()}
        elif value is not None:
            found[name] = float(value)
    return found
