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
from ml.evaluation.two_way import Estimate
from ml.promotion.evidence_bids import BiddingEvidence


class _Json:
    """Gives a frozen dataclass its JSON form."""

    def as_json(self) -> dict[str, Any]:
        """Every field by name; days and instants as ISO text, NaN and infinity as text."""
        return {field.name: to_json(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class CodeEvidence(_Json):
    """The code that trained the candidate: its commit (empty: not known), whether the tree held nothing besides (None: not known),
    and whether this is production, where that counts."""

    commit: str = ""
    clean: bool | None = None
    production: bool | None = None


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
    that became known after the row's decision. `leaky_columns` are those the market fills in after the decision. Of all rows that
    the models were really fitted on, the newest became known at `newest_fitted`.
    """

    trained_known_by: datetime | None = None
    newest_fitted: datetime | None = None
    evaluated_known_from: datetime | None = None
    rows_with_future_features: int | None = None
    leaky_columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class LossEvidence(_Json):
    """One loss (lower is better) of the candidate, its baseline and the champion on the same rows.

    `over_baseline` and `over_champion` are intervals of the candidate's mean loss minus theirs. `paired` is the difference from the
    champion with its error by hotel and day, on which the claim of a gain rests.
    """

    name: str
    candidate: float | None = None
    baseline: float | None = None
    champion: float | None = None
    over_baseline: Interval | None = None
    over_champion: Interval | None = None
    paired: Estimate | None = None


@dataclass(frozen=True)
class SliceEvidence(_Json):
    """The primary loss in one slice: `difference` is the candidate's mean minus the champion's there."""

    field: str
    label: str
    rows: int
    positives: int
    champion: float
    difference: Estimate


@dataclass(frozen=True)
class FieldEvidence(_Json):
    """What was promised in one slice over what came: `ratio` with its error.

    `events` are the events expected there; `predicted` and `realised` are in money for a model of worth, else events.
    """

    field: str
    label: str
    rows: int
    events: float
    predicted: float
    realised: float
    ratio: Estimate


@dataclass(frozen=True)
class DelayEvidence(_Json):
    """How well the completion factors of some days ago foretold what has come since.

    `applies` is False for a model whose labels are not late. `error` is foretold over known by now, less 1, for clicks that were
    `age_days` old or more then; `spread` its standard error.
    """

    applies: bool
    age_days: int | None = None
    bookings: int | None = None
    error: float | None = None
    spread: float | None = None


@dataclass(frozen=True)
class ModelEvidence(_Json):
    """One model of the bundle.

    `inputs` are the columns it reads. Of `training_rows`, `certain_rows` had a certain outcome, and
    `corrected_rows` an open one that entered as its expectation. `positives` are the evaluation rows with a 1.
    None of `losses` may get worse than the champion's. `baseline_loss` is the loss on which it must gain on its
    baseline, on rows that are fair to both: as a rule the first of `losses`. `calibration` is predicted over
    realised: net value of a value model, events of the others. `strongest_column` tells the outcome best of all columns by itself, with
    the AUC `strongest_auc` and its standard error (`ml.evaluation.columns`; on whole cohorts where the model has such).

    `matured_share` is the share of the judged rows' outcomes that can be known by now. `auc_over_champion` is the difference of
    AUC with its error. `slices` compare the loss with the champion's, `fields` what was promised with what came; `cancelled` are the same in
    cancellations, by lead bucket, of a value model. `wape` is the sum of absolute errors of net value over the net value.
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
    strongest_column: str = ""
    strongest_auc: float | None = None
    strongest_error: float | None = None
    losses: tuple[LossEvidence, ...] = ()
    baseline_loss: LossEvidence | None = None
    calibration: Interval | None = None
    matured_share: float | None = None
    auc_over_champion: Estimate | None = None
    slices: tuple[SliceEvidence, ...] | None = None
    fields: tuple[FieldEvidence, ...] | None = None
    cancelled: tuple[FieldEvidence, ...] = ()
    wape: float | None = None
    champion_wape: float | None = None
    wape_over_champion: Estimate | None = None
    delay: DelayEvidence | None = None


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
class ComparisonEvidence(_Json):
    """What candidate and champion are, beside each other.

    `data_digest` covers the data that each may have learned from, up to the market day `trained_through`. `last_look` is the last
    day on which a candidate was held against this champion, None where none was. `incidents` are the causes of the open incidents that
    a newer model may cure. Of a market without a champion only the candidate's are known.
    """

    candidate_data_digest: str | None = None
    candidate_trained_through: date | None = None
    champion: str | None = None
    champion_data_digest: str | None = None
    champion_trained_through: date | None = None
    champion_since: date | None = None
    last_look: date | None = None
    incidents: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RowCount(_Json):
    """Rows of a table over the last days against what the same weekdays of the weeks before let expect; None: too young to say."""

    table: str
    rows: int | None = None
    expected: float | None = None
    days: int | None = None


@dataclass(frozen=True)
class ProfitEvidence(_Json):
    """What the clicks that were won would have earned at bids by each model's worth (`ml.evaluation.profit`).

    `applies` is False where there is no partner to bid to. Profits are in currency units, of all clicks; `difference` is the
    candidate's minus the champion's as a share of the champion's.
    """

    applies: bool
    clicks: int | None = None
    bookings: int | None = None
    candidate: float | None = None
    champion: float | None = None
    difference: Estimate | None = None


@dataclass(frozen=True)
class Evidence(_Json):
    """All that is known about a candidate on a market day.

    `champion_generation` is that of the champion it was compared with, 0 when there was none.
    `model_names` are the models of the bundle; each needs its `ModelEvidence`. `gathered` is False where gathering failed, and
    `failure` says how. `rejections` are the sentences that people answered about this very candidate.
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
    gathered: bool | None = None
    failure: str = ""
    rejections: tuple[str, ...] | None = None
    comparison: ComparisonEvidence | None = None
    row_counts: tuple[RowCount, ...] | None = None
    profit: ProfitEvidence | None = None
    bidding: BiddingEvidence | None = None
    code: CodeEvidence | None = None


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
