"""What the gates judge: the numbers about one candidate, typed, and nothing else.

`None` means that a number was not measured. It never means "fine": a gate that needs it holds. All of it goes
into the decision, so that a promotion can be understood from the ledger alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from numbers import Integral, Real
from typing import Any

from ml.core.digests import Digest
from ml.evaluation.interval import Interval
from ml.promotion.evidence_bids import BiddingEvidence


class _Json:
    """Gives a frozen dataclass its JSON form."""

    def as_json(self) -> dict[str, Any]:
        """Every field by name; days and instants as ISO text, NaN and infinity as text."""
        return {field.name: to_json(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class InputEvidence(_Json):
    """The days that the candidate was trained and judged on.

    `last_day` is the newest day with data; `held_days` were stopped at ingest or held by the drift check;
    `unfit_days_used` are missing or held days of which rows were used all the same; `watermark` is the last day
    that every feature view holds in the online store.
    """

    data_digest: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    missing_days: tuple[date, ...] | None = None
    held_days: tuple[date, ...] | None = None
    unfit_days_used: tuple[date, ...] | None = None
    watermark: date | None = None


@dataclass(frozen=True)
class ServingEvidence(_Json):
    """Whether the online store serves what the offline tables say, over the last days.

    `read_back` entities were read after they were put online, and were equal, else the day would have stopped. Of the
    decisions of `days` days `compared` entities were held against what was being served; `worst_feature` had the least
    exact matches, `worst_share` of them (0 to 1). `differing` are the first values that were not the same.
    """

    days: int | None = None
    read_back: int | None = None
    compared: int | None = None
    worst_feature: str = ""
    worst_share: float | None = None
    differing: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class OrderEvidence(_Json):
    """Whether evaluation comes after training, and features before decisions.

    The candidate saw what was known before `trained_known_by`; the first outcome it was judged on became known
    at `evaluated_known_from`. `rows_with_future_features` counts training and evaluation rows with a feature
    that became known after the row's decision. `leaky_columns` are those the market fills in after the decision.
    """

    trained_known_by: datetime | None = None
    evaluated_known_from: datetime | None = None
    rows_with_future_features: int | None = None
    leaky_columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class LossEvidence(_Json):
    """One loss (lower is better) of the candidate, its baseline and the champion on the same rows.

    `over_baseline` and `over_champion` are intervals of the candidate's mean loss minus theirs, by day.
    """

    name: str
    candidate: float | None = None
    baseline: float | None = None
    champion: float | None = None
    over_baseline: Interval | None = None
    over_champion: Interval | None = None


@dataclass(frozen=True)
class ModelEvidence(_Json):
    """One model of the bundle.

    `inputs` are the columns it reads. Of `training_rows`, `certain_rows` had a certain outcome, and
    `corrected_rows` an open one that entered as its expectation. `positives` are the evaluation rows with a 1.
    None of `losses` may get worse than the champion's. `baseline_loss` is the loss on which it must gain on its
    baseline, on rows that are fair to both: as a rule the first of `losses`. `calibration` is predicted over
    realised: net value of a value model, events of the others.
    """

    name: str
    inputs: tuple[str, ...] | None = None
    training_rows: int | None = None
    certain_rows: int | None = None
    corrected_rows: int | None = None
    evaluation_rows: int | None = None
    positives: int | None = None
    auc: float | None = None
    baseline_auc: float | None = None
    champion_auc: float | None = None
    losses: tuple[LossEvidence, ...] = ()
    baseline_loss: LossEvidence | None = None
    calibration: Interval | None = None


@dataclass(frozen=True)
class BidChange(_Json):
    """A partner's cells (or the value table) as the candidate sees them against the champion.

    Changes are shares of the last published amount, weighted by expected volume: `median_change` and
    `p99_change` of their absolute size, `spend_change` of the total (negative: less). `matched_share` is the
    share of volume in cells that both tables have. `top_hotels` are the hotels with the most volume: name, share of the
    volume, and change of the mean amount.
    """

    name: str
    cells: int | None = None
    matched_share: float | None = None
    median_change: float | None = None
    p99_change: float | None = None
    spend_change: float | None = None
    top_hotels: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class BidEvidence(_Json):
    """How the candidate's bids would differ from the champion's; `published_before` is False while there is none."""

    published_before: bool | None = None
    changes: tuple[BidChange, ...] = ()


@dataclass(frozen=True)
class Evidence(_Json):
    """All that is known about a candidate on a market day.

    `champion_generation` is that of the champion it was compared with, 0 when there was none.
    `model_names` are the models of the bundle; each needs its `ModelEvidence`.
    """

    day: date
    candidate: Digest
    champion_generation: int | None = None
    model_names: tuple[str, ...] = ()
    inputs: InputEvidence | None = None
    serving: ServingEvidence | None = None
    order: OrderEvidence | None = None
    models: tuple[ModelEvidence, ...] = ()
    bids: BidEvidence | None = None
    bidding: BiddingEvidence | None = None


def to_json(value: Any) -> Any:
    """A value as canonical JSON can hold it; a number that is not finite becomes its name as text.

    >>> to_json((1.5, float("nan"), None))
    [1.5, 'nan', None]
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, date):  # an instant too
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if math.isfinite(value) else str(float(value))
