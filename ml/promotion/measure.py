"""Evidence from arrays: the same rows scored by candidate, baseline and champion, and tables of bids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.evaluation.interval import Interval
from ml.evaluation.metrics import auc, log_losses, mean, value_deviances
from ml.evaluation.paired import paired_bootstrap, ratio_bootstrap
from ml.promotion.evidence import BidChange, DelayEvidence, LossEvidence, ModelEvidence
from ml.promotion.measure_paired import auc_difference, difference, measure_slices, wape

if TYPE_CHECKING:
    import pandas as pd

Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What one model said of the evaluation rows: probability of the label, and expected net value if it has one.

    Shapes (rows,); `value` in any unit of money, the same for all models and for the outcomes.
    """

    probability: npt.ArrayLike
    value: npt.ArrayLike | None = None


@dataclass(frozen=True)
class Outcomes:
    """What came of the evaluation rows: label (0 or 1), the block it is resampled with, realised net value.

    Shapes (rows,). The block is the row's day. With hotels given, candidate and champion are compared by hotel and day.
    `slices` are the label of each row by field; None where slices are not measured.
    """

    label: npt.ArrayLike
    block: npt.ArrayLike
    value: npt.ArrayLike | None = None
    hotel: npt.ArrayLike | None = None
    slices: Mapping[str, npt.NDArray[np.object_]] | None = None


@dataclass(frozen=True)
class TrainingRows:
    """What a model was trained on: see `ModelEvidence`."""

    inputs: tuple[str, ...]
    rows: int
    certain: int
    corrected: int


def measure_model(
    name: str,
    training: TrainingRows,
    outcomes: Outcomes,
    *,
    candidate: Predictions,
    baseline: Predictions,
    champion: Predictions | None,
    seed: int,
) -> ModelEvidence:
    """The evidence about one model of a candidate.

    Log loss is the primary loss. Where candidate and outcomes have values, the deviance of the net value is
    the second, and calibration is in money; else calibration is events predicted over events realised.
    NaN in a prediction becomes NaN in the evidence, on which every gate holds.
    """
    labels = np.asarray(outcomes.label, dtype=np.float64)
    losses = [_loss("log_loss", [_log_losses(labels, p) for p in (candidate, baseline, champion)], outcomes, seed)]
    predicted, realised = candidate.probability, outcomes.label
    if candidate.value is not None and outcomes.value is not None:
        deviances = [_deviances(outcomes, p) for p in (candidate, baseline, champion)]
        losses.append(_loss("net_value_deviance", deviances, outcomes, seed))
        predicted, realised = candidate.value, outcomes.value
    found = ModelEvidence(
        name=name,
        inputs=training.inputs,
        training_rows=training.rows,
        certain_rows=training.certain,
        corrected_rows=training.corrected,
        evaluation_rows=len(labels),
        positives=int((labels == 1).sum()),
        auc=auc(labels, candidate.probability),
        baseline_auc=auc(labels, baseline.probability),
        champion_auc=None if champion is None else auc(labels, champion.probability),
        losses=tuple(losses),
        baseline_loss=losses[0],
        calibration=ratio_bootstrap(predicted, realised, outcomes.block, seed=seed),
        matured_share=1.0,
        slices=(),
        wape=None if candidate.value is None or outcomes.value is None else wape(outcomes.value, candidate.value),
        delay=DelayEvidence(applies=False),
    )
    return found if champion is None else _beside(found, outcomes, candidate=candidate, champion=champion)


def _beside(
    found: ModelEvidence, outcomes: Outcomes, *, candidate: Predictions, champion: Predictions
) -> ModelEvidence:
    """With what is measured of candidate and champion together."""
    labels, days, hotels = np.asarray(outcomes.label, dtype=np.float64), outcomes.block, outcomes.hotel
    ours, theirs = log_losses(labels, candidate.probability), log_losses(labels, champion.probability)
    slices = None if outcomes.slices is None else measure_slices(ours, theirs, labels, outcomes.slices, days, hotels)
    ranked = auc_difference(labels, candidate.probability, champion.probability, days, hotels)
    found = replace(found, slices=slices, auc_over_champion=ranked)
    if candidate.value is None or champion.value is None or outcomes.value is None:
        return found
    came = np.asarray(outcomes.value, dtype=np.float64)
    errors = [np.abs(came - np.asarray(said.value, dtype=np.float64)) for said in (candidate, champion)]
    gap = difference(errors[0], errors[1], days, hotels)
    scale = float(came.mean())
    return replace(
        found,
        champion_wape=wape(came, champion.value),
        wape_over_champion=replace(gap, mid=gap.mid / scale, error=gap.error / scale) if scale > 0 else None,
    )


def measure_gain(outcomes: Outcomes, *, candidate: Predictions, baseline: Predictions, seed: int) -> LossEvidence:
    """The log loss of a model and of its baseline on rows of their own: a `ModelEvidence.baseline_loss`.

    For rows that neither has learned from, where the rows that the champion is compared on are too few to show
    a gain, or are a mix of seasons.
    """
    labels = np.asarray(outcomes.label, dtype=np.float64)
    return _loss("log_loss", [_log_losses(labels, candidate), _log_losses(labels, baseline), None], outcomes, seed)


def measure_bid_change(
    name: str, old: pd.DataFrame, new: pd.DataFrame, *, keys: Sequence[str], amount: str, volume: str, top: int = 0
) -> BidChange:
    """How a candidate's table differs from the champion's.

    Args:
        name: the partner, or the name of the value table.
        old: the champion's: `keys`, unique, and `amount` in micros.
        new: the candidate's: `keys`, unique, `amount` in micros, `volume` (expected events, 0 or more).
        keys: the columns of a cell.
        amount: the worth, bid or value.
        volume: what weighs a cell.
        top: how many hotels are listed, those with the most volume.

    Returns:
        Changes over the cells in both tables whose old amount is above 0. None where no volume is left to
        compare.
    """
    both = new[[*keys, amount, volume]].merge(
        old[[*keys, amount]], on=list(keys), suffixes=("", "_old"), validate="1:1"
    )
    both = both[both[f"{amount}_old"] > 0]
    weight = both[volume].to_numpy(dtype=np.float64)
    total, matched = float(new[volume].sum()), float(weight.sum())
    if not (total > 0 and matched > 0):
        return BidChange(name, cells=len(both), matched_share=0.0 if total > 0 else None)
    before, after = both[f"{amount}_old"].to_numpy(dtype=np.float64), both[amount].to_numpy(dtype=np.float64)
    size = np.abs(after / before - 1)
    return BidChange(
        name,
        cells=len(both),
        matched_share=matched / total,
        median_change=weighted_quantile(size, weight, 0.5),
        p99_change=weighted_quantile(size, weight, 0.99),
        spend_change=float(weight @ after) / float(weight @ before) - 1,
        top_hotels=_top_hotels(both["hotel_id"].to_numpy(dtype=object), weight, before, after, top) if top else (),
    )


def _top_hotels(
    hotels: npt.NDArray[np.object_], weight: Losses, before: Losses, after: Losses, top: int
) -> tuple[tuple[str, float, float], ...]:
    """The hotels with the most volume: name, share of the volume, change of the mean amount."""
    names, code = np.unique(hotels.astype(str), return_inverse=True)
    volume, old, new = (np.bincount(code, values) for values in (weight, weight * before, weight * after))
    order = np.argsort(-volume, kind="stable")[:top]
    changes = np.divide(new, old, out=np.ones(len(names)), where=old > 0) - 1
    return tuple((str(names[n]), float(volume[n] / weight.sum()), float(changes[n])) for n in order)


def weighted_quantile(values: npt.ArrayLike, weights: npt.ArrayLike, share: float) -> float:
    """The smallest value that with all smaller ones has at least `share` of the weight; NaN if a value is NaN.

    >>> weighted_quantile([0.1, 0.5, 9.0], [90, 9, 1], 0.99)
    0.5
    """
    v, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(v).all() and np.isfinite(w).all()):
        return float("nan")
    order = np.argsort(v, kind="stable")
    reached = np.cumsum(w[order]) / w.sum()
    return float(v[order][min(int(np.searchsorted(reached, share - 1e-12)), len(v) - 1)])


def count_future_rows(feature_known_at: Any, decision_at: Any) -> int:
    """How many rows have a feature that became known after the row's decision; a missing instant is no feature.

    Args:
        feature_known_at: instants in UTC, shape (rows,) or, for several features, (rows, features).
        decision_at: instants in UTC, shape (rows,).
    """
    known = np.asarray(feature_known_at, dtype="datetime64[us]")
    decided = np.asarray(decision_at, dtype="datetime64[us]").reshape((-1,) + (1,) * (known.ndim - 1))
    later = known > decided
    return int((later.any(axis=1) if later.ndim > 1 else later).sum())


def _log_losses(labels: Losses, said: Predictions | None) -> Losses | None:
    return None if said is None else log_losses(labels, said.probability)


def _deviances(outcomes: Outcomes, said: Predictions | None) -> Losses | None:
    if said is None or said.value is None or outcomes.value is None:
        return None
    return value_deviances(outcomes.value, said.value)


def _loss(name: str, losses: Sequence[Losses | None], outcomes: Outcomes, seed: int) -> LossEvidence:
    """The losses of candidate, baseline and champion, in this order; None where there is no such model."""
    ours, baseline, champion = losses

    def over(theirs: Losses | None) -> Interval | None:
        if ours is None or theirs is None:
            return None
        return paired_bootstrap(ours, theirs, outcomes.block, seed=seed)

    paired = None if ours is None or champion is None else difference(ours, champion, outcomes.block, outcomes.hotel)
    return LossEvidence(
        name=name,
        candidate=_mean(ours),
        baseline=_mean(baseline),
        champion=_mean(champion),
        over_baseline=over(baseline),
        over_champion=over(champion) if paired is None or outcomes.hotel is None else paired.interval(),
        paired=paired,
    )


def _mean(losses: Losses | None) -> float | None:
    return None if losses is None else mean(losses)
