"""Settings of who is told what and when: what they mean, and a clear sentence for each that is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml.core.alerting import Route, quiet_until
from ml.core.errors import UsageError
from ml.core.settings import Settings, load_settings

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "hours", "zone", "until"),
    [
        ("2026-05-20T12:00", "22:00-07:00", "UTC", "2026-05-20T12:00"),
        ("2026-05-20T22:00", "22:00-07:00", "UTC", "2026-05-21T07:00"),
        ("2026-05-21T06:59", "22:00-07:00", "UTC", "2026-05-21T07:00"),
        ("2026-05-21T07:00", "22:00-07:00", "UTC", "2026-05-21T07:00"),
        ("2026-05-21T12:30", "12:00-13:00", "UTC", "2026-05-21T13:00"),
        ("2026-05-20T20:00", "22:00-07:00", BERLIN, "2026-05-21T05:00"),
        ("2026-03-28T22:30", "22:00-07:00", BERLIN, "2026-03-29T05:00"),  # the night in which clocks go forward
        ("2026-10-24T22:30", "22:00-07:00", BERLIN, "2026-10-25T06:00"),  # and back
        ("2026-05-20T23:00", "", "UTC", "2026-05-20T23:00"),
    ],
)
def test_quiet_hours_end_by_the_clocks_of_their_zone(now: str, hours: str, zone: str, until: str) -> None:
    assert quiet_until(at(now), hours, zone) == at(until)


def test_a_route_fits_a_cause_and_what_has_it_as_prefix() -> None:
    route = Route(markets=("hotels",), causes=("ingest", "drift:feed"), severities=("critical", "warning"))
    assert route.fits("hotels", "ingest:schema", "critical")
    assert route.fits("hotels", "drift:feed", "warning")
    assert not route.fits("hotels", "drift", "warning")
    assert not route.fits("hotels", "ingested", "warning")
    assert not route.fits("flights", "ingest", "warning")
    assert not route.fits("hotels", "ingest", "info")
    assert Route().fits("any", "cause", "info")


def test_routes_are_read_from_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "bidwright.toml").write_text(
        'quiet_hours = "22:00-07:00"\n[[routes]]\ncauses = ["ingest"]\nmail = ["feeds@example.com"]\nowner = "feeds"\n'
    )
    settings = load_settings(home=tmp_path)
    assert settings.routes == (Route(causes=("ingest",), mail=("feeds@example.com",), owner="feeds"),)
    assert settings.quiet_hours == "22:00-07:00"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('[[routes]]\nseverities = ["loud"]', "the setting 'routes.0.severities.0' is wrong"),
        ('[[routes]]\nmial = ["a@x"]', "the setting 'routes.0.mial' is wrong"),
        ('[[routes]]\nmail = ["nobody"]', "the setting 'routes.0.mail.0' is wrong"),
        ('quiet_hours = "22-7"', "'quiet_hours' is wrong: Value error, write when they begin and end"),
        ('quiet_hours = "07:00-07:00"', "'quiet_hours' is wrong"),
        ('quiet_hours = "22:00-07:00+02:00"', "'quiet_hours' is wrong"),
        ('time_zone = "Mars/Olympus"', "'time_zone' is wrong: Value error, there is no such time zone"),
        ('time_zone = "../../etc/passwd"', "'time_zone' is wrong"),
        ('digest_at = "7am"', "'digest_at' is wrong"),
        ("escalate_after_minutes = -1", "'escalate_after_minutes' is wrong"),
        ("deadline_hours = 9999", "'deadline_hours' is wrong"),
    ],
)
def test_what_is_wrong_is_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bidwright.toml").write_text(line)
    with pytest.raises(UsageError) as caught:
        load_settings(home=tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example.com/T0SECRET", "hooks.example.com/T0SECRET", "ftp://x/T0SECRET", "https:///T0SECRET", ""],
)
def test_a_webhook_is_https_and_its_address_is_in_no_complaint(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BIDWRIGHT_WEBHOOKS", json.dumps({"team": url}))
    with pytest.raises(UsageError) as caught:
        load_settings(home=tmp_path)
    assert "the setting 'webhooks.team' is wrong" in str(caught.value)
    assert "SECRET" not in repr(caught.value)


def test_webhooks_that_are_no_json_are_refused_without_showing_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BIDWRIGHT_WEBHOOKS", "https://hooks.example.com/T0SECRET")
    with pytest.raises(UsageError) as caught:
        load_settings(home=tmp_path)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://hooks.example.com/T0SECRET", "http://127.0.0.1:80/x", "http://[::1]/x"])
def test_a_webhook_may_be_https_or_on_this_machine(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIDWRIGHT_WEBHOOKS", json.dumps({"team": url}))
    settings = load_settings(home=tmp_path)
    assert settings.webhooks["team"].get_secret_value() == url
    assert "SECRET" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_a_webhook_in_the_settings_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bidwright.toml").write_text('[webhooks]\nteam = "https://hooks.example.com/T0SECRET"\n')
    with pytest.raises(
        UsageError, match=r"'webhooks' is in bidwright.toml, .* set BIDWRIGHT_WEBHOOKS in the environment"
    ):
        load_settings(home=tmp_path)


def test_without_any_of_it_everything_goes_to_mail_at_once() -> None:
    settings = Settings()
    assert (settings.routes, settings.webhooks, settings.quiet_hours) == ((), {}, "")
