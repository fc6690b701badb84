"""Every planted candidate by name. To add one: a class, and its line here."""

from __future__ import annotations

from collections.abc import Mapping

from ml.challenge import good, wrong_bids, wrong_rows
from ml.challenge.planted import Planted

CANDIDATES: Mapping[str, Planted] = {
    "leaky_feature": wrong_rows.LeakyFeature(),
    "over_calibrated": wrong_rows.OverCalibrated(),
    "per_night_as_per_stay": wrong_bids.PerNightAsPerStay(),
    "stale_features": wrong_rows.StaleFeatures(),
    "wrong_currency": wrong_bids.WrongCurrency(),
    "non_monotone": wrong_rows.NonMonotone(),
    "tracking_outage": wrong_rows.TrackingOutage(),
    "random_split": wrong_rows.RandomSplit(),
    "cancellations_ignored": wrong_rows.CancellationsIgnored(),
    "unshaded": wrong_bids.Unshaded(),
    "raw_ratio_hotels": wrong_rows.RawRatioHotels(),
    "budget_blind": wrong_bids.BudgetBlind(),
    "plain_retrain": good.PlainRetrain(),
    "price_war_retrain": good.RetrainAfterPriceWar(),
    "first_champion": good.FirstChampion(),
    "other_recipe": good.OtherRecipe(),
}
