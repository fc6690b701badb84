"""Gather what the gates about bids judge: what a candidate's models and bids do, against the champion's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.steps.bid_study import NO_RESPONSE, BidStudy, Models, said_by

if TYPE_CHECKING:
    import pandas as pd

    from ml.evaluation.holdout import Holdout
    from ml.platform import Platform
    from ml.promotion.bundle import Bundle
    from ml.promotion.evidence import BidEvidence
    from ml.promotion.evidence_bids import BiddingEvidence, DoesNotApply
    from ml.promotion.yardstick import Floats, Yardstick
    from ml.steps.portfolio import Wanted


PROBED_ROWS, PROBED_BOOKINGS = 1_500, 1_000
"""Real rows that are asked with one thing changed; chosen by the seed."""

LEARNED_DAYS = 60
"""Clicks of these days before the end of training tell of each hotel's bookings."""

TOP_HOTELS = 100

TRIED_DAYS, TRIED_CLICKS = 7, 50
"""With fewer days or clicks of bids that were moved at random nothing can be said of a landscape."""

MARGIN = 0.02
"""A loss of more than this share of the champion's profit is what the replay asks the probability of."""

BUDGET_TOLERANCE, FLOOR_TOLERANCE = 0.10, 0.05
"""What a simulated week may spend above the budget, and return below the floor. The days are not all alike: the budget is what a
day of the mean is expected to cost."""

NO_PARTNER = "nobody is bid to in this market, which publishes a value table"
NO_CHAMPION = "there is no champion to compare with"


def gather_bids(
    platform: Platform,
    day: date,
    *,
    bundle: Bundle,
    models: Models,
    champion: Models | None,
    champion_meta: Mapping[str, Any],
    holdouts: Mapping[str, Holdout],
) -> tuple[BidEvidence | None, BiddingEvidence]:
    """How publishing the candidate changes bids, and the evidence of gates 8 to 19.

    A part whose measurement fails is missing, with the error beside it: its gate holds. Shadow runs and rollback drills (18, 19) are
    not gathered here: they are facts of a rollout (`ml.steps.judge_rollout`).

    Args:
        platform: the platform.
        day: the market day.
        bundle: the candidate's.
        models: loaded from it.
        champion: the live champion's models, if any.
        champion_meta: the meta data of its bundle; empty without one.
        holdouts: from `ml.evaluation.rows.evaluation_rows`.
    """
    from ml.promotion.evidence_bids import BiddingEvidence

    study = Measured(platform, day, bundle, models, champion, champion_meta, holdouts)
    failed: list[tuple[str, str]] = []

    def part(name: str, measure: Callable[[], Any]) -> Any:
        try:
            return measure()
        except Exception as error:  # noqa: BLE001  (fail closed: what could not be measured holds its gate, with the reason)
            failed.append((name, f"{type(error).__name__}: {error}"))
            return None

    # Another process answers it, on another core: it is asked first and read last.
    sample = part("serving", study.served_rows)
    with ThreadPoolExecutor(max_workers=1) as beside:
        rehearsal = None if sample is None else beside.submit(part, "serving", lambda: study.serving(sample))
        parts = _parts(study, part)
        changes: BidEvidence | None = part("bid_change", study.changes)
    parts["serving"] = None if rehearsal is None else rehearsal.result()
    return changes, BiddingEvidence(failed=tuple(failed), **parts)


def _parts(study: Measured, part: Callable[[str, Callable[[], Any]], Any]) -> dict[str, Any]:
    """Each part that is measured in this process."""
    return {
        name: part(name, measure)
        for name, measure in {
            "sparse_hotels": study.sparse_hotels,
            "landscape": study.landscape,
            "monotonicity": study.monotonicity,
            "replay": study.replay,
            "off_policy": study.off_policy,
            "stress": study.stress,
            "constraints": study.constraints,
            "partner_dry_run": study.partner_dry_run,
        }.items()
    }


@dataclass(frozen=True)
class Measured(BidStudy):
    """The parts of the evidence, each measured when it is asked for."""

    def changes(self) -> BidEvidence:
        """What the candidate thinks that cells are worth against what the champion thinks, on the same day."""
        from ml.bidding.table import CLICK_LEVELS, VALUE_LEVELS, VALUE_TABLE
        from ml.promotion.evidence import BidEvidence
        from ml.promotion.measure import measure_bid_change
        from ml.steps.publish import value_cells

        if self.champion is None:
            return BidEvidence(published_before=False)
        if not self.has_partners:
            before, wanted = (value_cells(models, self.recent[0]) for models in (self.champion, self.models))
            return BidEvidence(
                published_before=True,
                changes=(
                    measure_bid_change(
                        VALUE_TABLE, before, wanted, keys=VALUE_LEVELS, amount="net_value_micros", volume="bookings",
                        top=TOP_HOTELS,
                    ),
                ),
            )  # fmt: skip
        tables = [
            {str(name): own for name, own in cells.groupby("partner", sort=True)}
            for cells in (
                found.assign(worth_micros=found["p_book"] * found["net_value_micros"])
                for found in (self.scored(self.champion)[0], self.scored(self.models)[0])
            )
        ]
        return BidEvidence(
            published_before=True,
            changes=tuple(
                measure_bid_change(
                    name, table, tables[1][name], keys=CLICK_LEVELS, amount="worth_micros", volume="clicks_seen",
                    top=TOP_HOTELS,
                )
                for name, table in tables[0].items()
            ),
        )  # fmt: skip

    def sparse_hotels(self) -> Any:
        """Gate 8."""
        from ml.features.training_set import click_rows
        from ml.models.conversion import known_share
        from ml.promotion.evidence_bids import DoesNotApply
        from ml.promotion.measure_probes import measure_sparse_hotels
        from ml.steps.rows import held_days

        if not self.has_partners:
            return DoesNotApply(NO_PARTNER)
        until = self.known_from
        clicks = click_rows(
            self.platform.lake, as_of=until, first=until.date() - timedelta(days=LEARNED_DAYS), views=(),
            exclude_days=held_days(self.platform, self.day),
        )  # fmt: skip
        later = self.holdouts["conversion"]
        conversion = self.models["conversion"]
        worth = self.ours.promise.p_book * self.ours.promise.net_value_micros * self.platform.settings.take_share
        weight = self.ours.cells["clicks_seen"].to_numpy(dtype=float)
        return measure_sparse_hotels(
            clicks,
            known_share(clicks, learned_from=clicks, as_of=until),
            lambda rows: said_by(conversion, rows, "p_book"),
            bid_share=float(weight @ self.ours.wanted.bids_micros) / max(float(weight @ worth), 1e-9),
            later=later.rows,
            later_share=np.ones(len(later.label)) if later.known_share is None else later.known_share,
            seed=self.seed,
        )

    def landscape(self) -> Any:
        """Gate 9."""
        from ml.models.response import Response
        from ml.promotion.evidence_bids import DoesNotApply
        from ml.promotion.measure_bids import measure_landscape
        from ml.steps.portfolio import codes_of, kinds_of

        if not self.has_partners:
            return DoesNotApply(NO_PARTNER)
        if self.platform.settings.explored_share == 0:
            return DoesNotApply("nothing is tried on purpose in this market (explored_share is 0)")
        if self.champion is None:
            return DoesNotApply("nothing was published yet, so that nothing was tried on purpose")
        if self.ours.wanted.landscape is None or self.ours.auctions is None:
            return DoesNotApply(NO_RESPONSE)
        moved = self.moved()
        tried = self.auctions.take(moved)
        days, clicks = len(np.unique(tried.day)), int(tried.clicked.sum())
        if days < TRIED_DAYS or clicks < TRIED_CLICKS:
            return DoesNotApply(
                f"bids that were moved on purpose on {days} of the last days brought {clicks} clicks; "
                f"{TRIED_CLICKS} of {TRIED_DAYS} days are needed to say more"
            )
        kinds, rows = kinds_of(self.ours.cells.assign(worth_micros=self.worth), self.ours.auctions[~moved])
        response = Response.fit(rows)
        partners = np.unique(self.ours.cells["partner"].to_numpy(dtype=object), return_inverse=True)[1]
        return measure_landscape(
            tried, response, codes_of(response, kinds), self.worth,
            partners.astype(np.int64), seed=self.seed,
        )  # fmt: skip

    def monotonicity(self) -> Any:
        """Gate 10."""
        from ml.promotion.evidence_bids import Monotonicity
        from ml.promotion.measure_probes import measure_monotonicity, rising_bids, rising_curves

        bookings, traffic = self.recent
        shown = None if traffic is None else _sample(traffic, PROBED_ROWS, self.seed)
        found = measure_monotonicity(self.models, traffic=shown, bookings=_sample(bookings, PROBED_BOOKINGS, self.seed))
        if traffic is None or self.ours.wanted.landscape is None or self.ours.auctions is None:
            return found
        from ml.steps.portfolio import kinds_of

        kinds, _ = kinds_of(self.ours.cells.assign(worth_micros=self.worth), self.ours.auctions)
        land = self.ours.wanted.landscape
        return Monotonicity(
            (
                *found.probes,
                rising_bids(
                    kinds.tolist(), self.worth, self.ours.wanted.bids_micros,
                    weights=self.ours.cells["clicks_seen"].to_numpy(dtype=float),
                ),
                rising_curves(land.clicks, land.cost_micros),
            )
        )  # fmt: skip

    def replay(self) -> Any:
        """Gate 11."""
        from ml.promotion.measure_bids import measure_replay

        obstacle = self._no_comparison()
        if obstacle is not None:
            return obstacle
        assert self.theirs is not None  # noqa: S101  (there is a champion)
        settings = self.platform.settings
        return measure_replay(
            self.auctions,
            _yardstick(self.yardstick),
            self.belief,
            candidate=(self.ours.wanted.bids_micros, self.ours.promise),
            champion=(self.theirs.wanted.bids_micros, self.theirs.promise),
            take_share=settings.take_share,
            budget_micros=settings.daily_budget_micros,
            cap=settings.spend_cap,
            margin=MARGIN,
            seed=self.seed,
        )

    def off_policy(self) -> Any:
        """Gate 12."""
        from ml.promotion.measure_bids import measure_off_policy

        obstacle = self._no_comparison()
        if obstacle is not None:
            return obstacle
        assert self.theirs is not None and self.auction_rows is not None  # noqa: S101  (there is a champion)
        matured = self.holdouts["conversion"]
        days = matured.rows["ts"].dt.floor("D")
        rows = self.auction_rows
        there = ((rows["ts"] >= days.min()) & (rows["ts"] < days.max() + timedelta(days=1))).to_numpy()
        value = _realised(matured, self.holdouts, take_share=self.platform.settings.take_share)
        came = value.reindex(rows["opportunity_id"][there]).fillna(0.0).to_numpy(dtype=np.float64)
        return measure_off_policy(
            self.auctions.take(there),
            _yardstick(self.yardstick),
            value_micros=np.asarray(came, dtype=np.float64),
            candidate_micros=self.ours.wanted.bids_micros,
            champion_micros=self.theirs.wanted.bids_micros,
            seed=self.seed,
        )

    def stress(self) -> Any:
        """Gate 13."""
        from ml.promotion.evidence_bids import DoesNotApply
        from ml.promotion.measure_stress import measure_stress

        if not self.has_partners:
            return DoesNotApply(NO_PARTNER)
        yard = self.yardstick
        if isinstance(yard, DoesNotApply):
            return yard
        theirs = self.theirs.wanted if self.theirs else None
        ours = self.ours.wanted
        return measure_stress(
            self._counts().mean(axis=0),
            yard,
            candidate_micros=ours.bids_micros,
            champion_micros=None if theirs is None else theirs.bids_micros,
            plans_micros=(_planned(ours), _planned(theirs or ours)),
            cap=self.platform.settings.spend_cap,
        )

    def constraints(self) -> Any:
        """Gate 14."""
        from ml.promotion.evidence_bids import DoesNotApply
        from ml.promotion.measure_stress import measure_constraints

        if not self.has_partners:
            return DoesNotApply(NO_PARTNER)
        yard = self.yardstick
        if isinstance(yard, DoesNotApply):
            return yard
        settings = self.platform.settings
        return measure_constraints(
            self._counts(),
            yard,
            self.ours.wanted.bids_micros,
            plan_micros=_planned(self.ours.wanted),
            budget_micros=settings.daily_budget_micros,
            poas_floor=settings.poas_floor,
            max_bid_micros=settings.max_bid_micros,
            budget_tolerance=BUDGET_TOLERANCE,
            floor_tolerance=FLOOR_TOLERANCE,
            seed=self.seed,
        )

    def partner_dry_run(self) -> Any:
        """Gate 16."""
        from ml.promotion.evidence_bids import DoesNotApply, PartnerDryRun

        if not self.has_partners:
            return DoesNotApply(NO_PARTNER)
        from ml.steps.dry_run import dry_run, published_losses

        champion_loss = published_losses(self.platform, self.day)
        runs = dry_run(self.platform, self.shipped, self.day, self.ours.cells, self.ours.wanted)
        return PartnerDryRun(tuple(replace(run, champion_loss=champion_loss.get(run.partner)) for run in runs))

    def served_rows(self) -> dict[str, pd.DataFrame]:
        """Recent rows that each model is asked about, drawn by the seed."""
        bookings, traffic = self.recent
        rows = {"value": _sample(bookings, PROBED_BOOKINGS, self.seed)}
        if traffic is not None:
            shown = _sample(traffic, PROBED_ROWS, self.seed)
            rows |= {name: shown for name in ("conversion", "click") if name in self.models}
        return rows

    def serving(self, rows: Mapping[str, pd.DataFrame]) -> Any:
        """Gate 17."""
        from ml.promotion.rehearsal import rehearse_serving

        return rehearse_serving(self.bundle, self.models, rows)

    def _no_comparison(self) -> DoesNotApply | None:
        from ml.promotion.evidence_bids import DoesNotApply

        if not self.has_partners:
            return DoesNotApply(NO_PARTNER)
        if self.champion is None:
            return DoesNotApply(NO_CHAMPION)
        return self.yardstick if isinstance(self.yardstick, DoesNotApply) else None

    def _counts(self) -> Floats:
        return self.auctions.counts(len(self.ours.cells))


def _yardstick(found: Yardstick | DoesNotApply) -> Yardstick:
    from ml.promotion.yardstick import Yardstick

    assert isinstance(found, Yardstick)  # noqa: S101  (asked after the obstacles)
    return found


def _planned(wanted: Wanted) -> float:
    """What bids are expected to cost a day by their own landscape, in micros."""
    return 0.0 if wanted.landscape is None else float(wanted.landscape.at(wanted.bids_micros)[1].sum())


def _sample(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most so many of the rows, chosen by the seed, in their order."""
    if len(rows) <= most:
        return rows
    return rows.iloc[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def _realised(matured: Holdout, holdouts: Mapping[str, Holdout], *, take_share: float) -> pd.Series[float]:
    """What came of each mature click, in micros, by opportunity: its stay net of the kept share, for bookings to come too."""
    import pandas as pd

    from ml.core.units import MICROS_PER_UNIT
    from ml.evaluation.worth import worth_rows

    money = worth_rows("conversion", holdouts)
    stay = np.zeros(len(matured.label)) if money is None else money.scale * MICROS_PER_UNIT
    share = np.ones(len(matured.label)) if matured.known_share is None else matured.known_share
    value = pd.Series(matured.label / share * stay * take_share, index=matured.rows["opportunity_id"].to_numpy())
    return value.groupby(level=0).sum()
