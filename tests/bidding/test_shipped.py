"""What of the settings ships with a version."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.bidding.shipped import NAMES, SHIPPED, shipped, under
from ml.core.clock import SystemClock
from ml.core.errors import CorruptArtefact
from ml.core.settings import Settings, load_settings
from ml.platform import Platform


def settings(home: Path, **given: object) -> Settings:
    return load_settings(home=home, source="simulator", simulator_hotels=20, **given)


def test_a_version_bids_under_the_settings_it_was_trained_under(tmp_path: Path) -> None:
    trained = settings(tmp_path, target_cost_share=0.04, account_currency="USD", fx_rates={"EUR/USD": 1.1})
    found = under(settings(tmp_path, target_cost_share=0.09), {SHIPPED: shipped(trained)})
    assert {name: getattr(found, name) for name in NAMES} == {name: getattr(trained, name) for name in NAMES}


def test_no_version_carries_a_limit_that_protects_the_account(tmp_path: Path) -> None:
    loose = settings(tmp_path, max_bid_micros=90_000_000, max_bid_change=1.0, spend_cap=9.0, daily_budget_micros=None)
    strict = settings(tmp_path, max_bid_micros=1_000_000, daily_budget_micros=5_000_000)
    found = under(strict, {SHIPPED: shipped(loose)})
    for name in ("max_bid_micros", "max_bid_change", "spend_cap", "daily_budget_micros", "poas_floor"):
        assert getattr(found, name) == getattr(strict, name)
    with pytest.raises(CorruptArtefact, match="may not carry the setting max_bid_micros"):
        under(strict, {SHIPPED: shipped(loose) | {"max_bid_micros": 90_000_000}})


def test_a_version_without_bid_settings_bids_under_those_of_the_platform(tmp_path: Path) -> None:
    own = settings(tmp_path, target_cost_share=0.09)
    assert under(own, {}) is own


def test_bid_settings_that_are_not_valid_are_refused(tmp_path: Path) -> None:
    own = settings(tmp_path)
    with pytest.raises(CorruptArtefact, match="not valid"):
        under(own, {SHIPPED: shipped(own) | {"take_share": 7}})


def test_a_platform_under_the_settings_of_a_version_shares_its_stores(tmp_path: Path) -> None:
    platform = Platform(settings(tmp_path), SystemClock())
    platform.db.migrate()
    found = platform.under({SHIPPED: shipped(settings(tmp_path, take_share=0.2))})
    assert found.settings.take_share == 0.2
    assert (found.db, found.lake, found.source, found.blobs) == (
        platform.db,
        platform.lake,
        platform.source,
        platform.blobs,
    )
