"""A setting has one value, from one place that a person can find."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.core.errors import UsageError
from ml.core.settings import Settings, load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    return tmp_path


def test_the_environment_wins_over_the_file_and_an_argument_over_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "bidwright.toml").write_text("retrain_every_days = 3\nseed = 1\nholdout_days = 9\n")
    monkeypatch.setenv("BIDWRIGHT_SEED", "2")
    settings = load_settings(holdout_days=5)
    assert (settings.retrain_every_days, settings.seed, settings.holdout_days) == (3, 2, 5)


def test_an_unknown_name_in_the_file_is_refused_by_name(home: Path) -> None:
    (home / "bidwright.toml").write_text("retrain_evry_days = 3\n")
    with pytest.raises(UsageError, match="retrain_evry_days"):
        load_settings()


def test_a_wrong_value_names_the_setting_and_where_to_correct_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDWRIGHT_SMTP_PORT", "70000")
    with pytest.raises(UsageError, match=r"smtp_port.*BIDWRIGHT_SMTP_PORT"):
        load_settings()


def test_the_password_never_shows_in_a_printed_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDWRIGHT_SMTP_PASSWORD", "letmein-42")
    assert "letmein-42" not in repr(load_settings())


def test_reading_the_settings_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "not-there"
    monkeypatch.setenv("BIDWRIGHT_HOME", str(home))
    assert load_settings().home == home
    assert not home.exists()


def test_every_store_defaults_to_the_working_folder(home: Path) -> None:
    settings: Settings = load_settings()
    assert settings.lake == str(home / "lake")
    assert settings.blobs == str(home / "blobs")
    assert settings.database == f"sqlite:///{home}/bidwright.db"


def test_rates_are_read_by_pair_from_the_file_and_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "bidwright.toml").write_text('account_currency = "USD"\nfx_rates = { "EUR/USD" = 1.08 }\n')
    settings = load_settings()
    assert (settings.bids_in, settings.rates) == ("USD", {("EUR", "USD"): 1.08})
    monkeypatch.setenv("BIDWRIGHT_FX_RATES", '{"EUR/GBP": 0.85}')
    assert ("EUR", "GBP") in load_settings().rates


def test_accounts_bid_in_the_markets_currency_unless_told_otherwise(home: Path) -> None:
    assert load_settings(currency="GBP").bids_in == "GBP"


@pytest.mark.parametrize("rates", ['{"EURUSD": 1.08}', '{"EUR/USD": 0}', '{"EUR/USD": "NaN"}', "EUR/USD=1.08"])
def test_a_rate_that_is_none_is_refused_in_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, rates: str
) -> None:
    monkeypatch.setenv("BIDWRIGHT_FX_RATES", rates)
    with pytest.raises(UsageError, match="fx_rates"):
        load_settings()
