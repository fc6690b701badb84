"""Judge a day's candidate: measure it, its baseline and the champion on the same rows, and ask the gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ml.core.digests import Digest
from ml.core.errors import NoData, RetryableError
from ml.core.units import days_between
from ml.core.verdict import Verdict
from ml.steps.promote import tell
from ml.steps.rows import held_days

if TYPE_CHECKING:
    from ml.evaluation.holdout import Holdout
    from ml.ledger.champion import Champion
    from ml.ledger.versions import Version
    from ml.models.protocol import BidModel
    from ml.platform import Platform
    from ml.promotion.evidence import (
        Evidence,
        InputEvidence,
        ModelEvidence,
        OrderEvidence,
        ServingEvidence,
    )
    from ml.promotion.measure import Predictions

Models = Mapping[str, "BidModel"]

SHOWN = 5
"""Differing values that a decision keeps."""


def judge_day(platform: Platform, day: date, *, candidate: str = "") -> dict[str, Any]:
    """Gather the evidence about a candidate as of `day` and write the decision.

    Args:
        platform: the platform.
        day: the market day whose knowledge judges.
        candidate: the first digits of a version, to look again at one of an earlier day, on the outcomes that came since; empty takes the
            candidate of the day.

    Raises:
        NoData: no candidate was registered on this day.
        UsageError: no version has such a digest, or it was trained later than `day`.
        PermanentError: the candidate was rolled back or barred, and nobody lifted that.
    """
    from ml.ledger import bars, champion
    from ml.promotion.policy import policy_for
    from ml.promotion.promote import judge_candidate

    version = _registered(platform, day, candidate) if candidate else candidate_of(platform, day)
    bars.refuse_barred(platform.db, platform.market, version.digest)
    live = champion.current(platform.db, platform.market)
    decision = judge_candidate(
        platform.db,
        market=platform.market,
        day=day,
        candidate=version.digest,
        evidence=_gathered(platform, day, version, live),
        policy=policy_for(platform.settings.rollout),
        approval=platform.settings.approval,
        at=platform.clock.now(),
    )
    if decision.verdict is not Verdict.PASS:
        tell(platform, decision, moved=False, reason=f"the verdict is {decision.verdict}")
    return {
        "decision_id": decision.id,
        "candidate": decision.candidate,
        "champion": decision.champion,
        "generation": decision.generation,
        "policy": decision.policy_digest,
        "verdict": decision.verdict.value,
        "needs_approval": decision.approval is not None,
        "reasons": list((decision.approval or {}).get("reasons", ())),
        "gates": [{k: v for k, v in gate.items() if k not in {"numbers", "limits"}} for gate in decision.gates],
        "slices": slices_shown(decision.gates),
    }


SLICES_SHOWN = 12
"""Slices, those that lose the most, that a person sees before approving."""


def slices_shown(gates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The slices of a decision that are furthest behind the champion, in standard errors, for people."""
    found = [
        {
            "model": model,
            "slice": f"{one['field']} {one['label']}",
            "rows": one["rows"],
            "change": round(one["difference"]["mid"] / one["champion"], 4),
            "error": round(one["difference"]["error"] / one["champion"], 4),
        }
        for gate in gates
        if gate["gate"] == "slices"
        for model, numbers in gate["numbers"].get("models", {}).items()
        for one in numbers["slices"] or ()
        if all(isinstance(number, float) for number in (one["difference"]["mid"], one["difference"]["error"]))
        and one["champion"]
    ]
    return sorted(found, key=lambda one: -one["change"] / max(one["error"], 1e-9))[:SLICES_SHOWN]


def _gathered(platform: Platform, day: date, version: Version, live: Champion | None) -> Evidence:
    """The evidence; where gathering it fails for good, evidence of that, on which every gate holds.

    Raises:
        RetryableError: what may pass by itself is tried again, and no decision is written meanwhile.
    """
    from ml.promotion.evidence import Evidence

    try:
        return gather(platform, day, version, live)
    except RetryableError:
        raise
    except Exception as error:  # noqa: BLE001  (fail closed: whatever the cause, the decision is HOLD and names it)
        return Evidence(
            day=day,
            candidate=version.digest,
            champion_generation=live.generation if live else 0,
            gathered=False,
            failure=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
        )


def candidate_of(platform: Platform, day: date) -> Version:
    """The version registered on a market day."""
    from ml.ledger import stages, versions

    record = stages.get(platform.db, stages.StageKey(platform.market, "train", day))
    digest = record.result.get("candidate") if record else None
    version = versions.get(platform.db, platform.market, Digest(digest)) if digest else None
    if version is None:
        raise NoData(
            f"there is no candidate of {day.isoformat()}",
            left="the champion is unchanged",
            next=f"train one: bidwright train --day {day.isoformat()}",
        )
    return version


def _registered(platform: Platform, day: date, prefix: str) -> Version:
    from ml.core.errors import UsageError
    from ml.ledger import versions

    version = versions.find(platform.db, platform.market, prefix)
    if version.day > day:
        raise UsageError(
            f"{version.digest[:12]} is of {version.day}, later than {day}",
            left="no decision was written",
            next="judge it on its own day or a later one",
        )
    return version


def gather(platform: Platform, day: date, version: Version, live: Champion | None) -> Evidence:
    """Everything the gates judge about one candidate on one day."""
    from ml.evaluation.rows import evaluation_rows
    from ml.promotion.bundle import load_models, read_bundle
    from ml.promotion.evidence import Evidence
    from ml.steps import judge_paired
    from ml.steps.judge_bids import gather_bids
    from ml.steps.judge_rollout import with_rollout

    bundle = read_bundle(platform.blobs, version.digest, platform.keys)
    models = load_models(bundle)
    champion_bundle = read_bundle(platform.blobs, live.digest, platform.keys) if live else None
    champion_models = load_models(champion_bundle) if champion_bundle else None
    known_from = datetime.fromisoformat(bundle.meta["trained_known_by"])
    holdouts = evaluation_rows(platform, day, known_from=known_from)
    judged = [name for name in models if not name.endswith("_baseline")]
    bids, bidding = gather_bids(
        platform,
        day,
        bundle=bundle,
        models=models,
        champion=champion_models,
        champion_meta=champion_bundle.meta if champion_bundle else {},
        holdouts=holdouts,
    )
    return Evidence(
        day=day,
        candidate=version.digest,
        champion_generation=live.generation if live else 0,
        model_names=tuple(judged),
        inputs=_inputs(platform, day, version),
        serving=_serving(platform, day),
        order=_order(holdouts, known_from, [bundle.meta["training"][name] for name in judged]),
        models=tuple(
            _delayed(
                platform,
                day,
                _measure(
                    name,
                    bundle.meta["training"][name],
                    holdouts,
                    models=models,
                    champion=champion_models,
                    seed=platform.settings.seed,
                ),
                holdouts[name],
            )
            for name in judged
        ),
        bids=bids,
        gathered=True,
        rejections=judge_paired.rejections(platform, version),
        comparison=judge_paired.comparison(platform, day, version, live),
        row_counts=judge_paired.row_counts(platform, day),
        profit=judge_paired.profit(platform, day, holdouts, models, champion_models),
        bidding=with_rollout(platform, version, bidding),
        code=judge_paired.code(platform, bundle.meta),
    )


def _inputs(platform: Platform, day: date, version: Version) -> InputEvidence:
    from ml.features.definitions import views_for
    from ml.ledger import partitions, watermarks
    from ml.promotion.evidence import InputEvidence

    landed = platform.lake.days("bookings")
    first, last = (landed[0], max(d for d in landed if d <= day)) if landed else (None, None)
    held = held_days(platform, day)
    marks = [watermarks.get(platform.db, platform.market, view) for view in views_for(platform.source.tables)]
    known = [mark for mark in marks if mark is not None]
    missing = sorted(set(days_between(first, day)) - set(landed)) if first else None
    return InputEvidence(
        data_digest=partitions.data_digest(platform.db, platform.market, last=day),
        first_day=first,
        last_day=last,
        missing_days=None if missing is None else tuple(missing),
        held_days=tuple(held),
        unfit_days_used=tuple(sorted(set(held) & set(_days_used(version)))),
        watermark=min(known) if known and len(known) == len(marks) else None,
    )


SERVED_DAYS = 7
"""What was served in these last days says whether online and offline features are the same."""


def _serving(platform: Platform, day: date) -> ServingEvidence:
    """The comparisons of the last days, feature by feature; read-backs beside them."""
    from ml.ledger import stages
    from ml.promotion.evidence import ServingEvidence

    read_back = compared = days = 0
    rows: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    differing: list[Mapping[str, Any]] = []
    for age in range(SERVED_DAYS):
        record = stages.get(platform.db, stages.StageKey(platform.market, "materialize", day - timedelta(days=age)))
        if record is None or record.status != "done":
            continue
        read_back += int(record.result.get("verified", 0))
        found = record.result.get("parity", {})
        days += any(view["compared"] for view in found.values())
        for name, view in found.items():
            compared += view["compared"]
            rows.update({f"{name}.{feature}": view["compared"] for feature in view["equal"]})
            equal.update({f"{name}.{feature}": count for feature, count in view["equal"].items()})
            differing += view["differing"]
    shares = {name: equal[name] / count for name, count in rows.items() if count}
    worst = min(shares, key=lambda name: shares[name], default="")
    return ServingEvidence(days, read_back, compared, worst, shares.get(worst), tuple(differing[:SHOWN]))


def _days_used(version: Version) -> list[date]:
    """The held days that were not left out of training, as the candidate's own record says."""
    return [date.fromisoformat(text) for text in version.metrics.get("unfit_days_used", [])]


def _order(
    holdouts: Mapping[str, Holdout], known_from: datetime, training: Sequence[Mapping[str, Any]]
) -> OrderEvidence:
    """Time order, measured on the very rows that were judged, and on the rows that each model says it was fitted on."""
    from ml.features.point_in_time import KNOWN_FROM_SUFFIX
    from ml.market.hotel_bookings import LEAKY_COLUMNS
    from ml.models.candidate import NEWEST_KNOWN
    from ml.promotion.evidence import OrderEvidence
    from ml.promotion.measure import count_future_rows

    future = 0
    for held_out in holdouts.values():
        stamps = [name for name in held_out.rows.columns if name.endswith(KNOWN_FROM_SUFFIX)]
        if not stamps:
            raise NoData("the evaluation rows do not say when their features became known")
        known = held_out.rows[stamps].apply(lambda column: column.dt.tz_localize(None)).to_numpy("datetime64[us]")
        decided = held_out.rows["decision_at"].dt.tz_localize(None).to_numpy("datetime64[us]")
        future += count_future_rows(known, decided)
    settled = holdouts["value"].rows["outcome_known_at"]
    newest = [str(record[NEWEST_KNOWN]) for record in training if record.get(NEWEST_KNOWN)]
    return OrderEvidence(
        trained_known_by=known_from,
        newest_fitted=max(map(datetime.fromisoformat, newest)) if newest and len(newest) == len(training) else None,
        evaluated_known_from=settled.min().to_pydatetime() if len(settled) else None,
        rows_with_future_features=future,
        leaky_columns=tuple(LEAKY_COLUMNS),
    )


def _delayed(platform: Platform, day: date, model: ModelEvidence, held_out: Holdout) -> ModelEvidence:
    """With how mature the judged labels are, and how well their lateness was foretold."""
    from ml.steps.judge_paired import delay_backtest

    if held_out.known_share is None:
        return model
    return replace(
        model,
        matured_share=float(held_out.known_share.mean()),
        delay=delay_backtest(platform, day, exclude_days=held_days(platform, day)),
    )


def _measure(
    name: str,
    training: Mapping[str, Any],
    holdouts: Mapping[str, Holdout],
    *,
    models: Models,
    champion: Models | None,
    seed: int,
) -> ModelEvidence:
    import numpy as np

    from ml.evaluation.columns import strongest
    from ml.evaluation.paired import ratio_bootstrap
    from ml.evaluation.slices import slice_labels
    from ml.promotion.gates.leakage import auc_standard_error
    from ml.promotion.measure import Outcomes, TrainingRows, measure_model
    from ml.steps.judge_paired import by_field

    held_out = holdouts[name]
    evidence = measure_model(
        name,
        TrainingRows(
            inputs=tuple(training["inputs"]),
            rows=training["rows"],
            certain=training["certain"],
            corrected=training["corrected"],
        ),
        Outcomes(
            label=held_out.label,
            block=held_out.block,
            value=held_out.value_micros,
            hotel=held_out.rows["hotel_id"].to_numpy(dtype=object),
            slices=slice_labels(held_out.rows),
        ),
        candidate=_said(models[name], held_out),
        baseline=_said(models[f"{name}_baseline"], held_out),
        champion=None if champion is None or name not in champion else _said(champion[name], held_out),
        seed=seed,
    )
    due = holdouts.get(f"{name}_due")
    # Of whole cohorts, where there are any: among outcomes that became certain in a window, a late date of arrival alone tells that
    # a booking was cancelled.
    cohort = held_out if due is None else due
    column, best = strongest(cohort.rows, training["inputs"], cohort.label, cohort.block)
    positives = int(cohort.label.sum())
    error = auc_standard_error(best, positives=positives, negatives=len(cohort.label) - positives)
    evidence = replace(evidence, strongest_column=column, strongest_auc=best, strongest_error=error)
    if due is None or due.value_micros is None:
        said = np.asarray(_said(models[name], held_out).probability, dtype=np.float64)
        return by_field(evidence, replace(held_out, value_micros=None), said, said_label=said)
    answer = _said(models[name], due)
    assert answer.value is not None  # noqa: S101  (a model with due cohorts predicts values)
    expected = np.asarray(answer.value, dtype=np.float64)
    evidence = by_field(evidence, due, expected, said_label=np.asarray(answer.probability, dtype=np.float64))
    return replace(evidence, calibration=ratio_bootstrap(expected, due.value_micros, due.block, seed=seed))


def _said(model: BidModel, held_out: Holdout) -> Predictions:
    from ml.promotion.measure import Predictions

    said = model.predict(held_out.rows)
    values = said["net_value_micros"].to_numpy(dtype=float) if "net_value_micros" in said else None
    return Predictions(probability=held_out.of_label(said[model.outputs[0]].to_numpy(dtype=float)), value=values)
