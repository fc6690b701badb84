"""The signing key reaches the one task that trains, from a connection, and no process besides."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.signing import SIGNING_CONNECTION, signing_settings
from ml.promotion.signature import Kind, SecretKey

SECRET = SecretKey.generate(Kind.RELEASE)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were asked for; there is one."""
    found: list[str] = []

    def get(name: str) -> Any:
        found.append(name)
        return SimpleNamespace(password=SECRET.reveal())

    monkeypatch.setattr("airflow.sdk.Connection.get", get)
    return found


def test_the_key_of_the_connection_signs_and_is_not_left_in_the_environment(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIDWRIGHT_TRUSTED_KEYS", json.dumps([SECRET.public.text]))
    assert signing_settings() == {"signing_key": SECRET.reveal()}
    assert asked == [SIGNING_CONNECTION]
    assert SECRET.reveal() not in os.environ.values()


def test_a_key_in_the_environment_comes_first(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDWRIGHT_TRUSTED_KEYS", json.dumps([SECRET.public.text]))
    monkeypatch.setenv("BIDWRIGHT_SIGNING_KEY", SECRET.reveal())
    assert signing_settings() == {}
    assert asked == []


def test_on_a_machine_without_keys_of_its_own_nobody_asks(asked: list[str]) -> None:
    assert signing_settings() == {}
    assert asked == []


def test_a_missing_connection_is_left_to_the_training_to_complain_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowNotFoundException

    def get(name: str) -> Any:
        raise AirflowNotFoundException(name)

    monkeypatch.setattr("airflow.sdk.Connection.get", get)
    monkeypatch.setenv("BIDWRIGHT_TRUSTED_KEYS", json.dumps([SECRET.public.text]))
    assert signing_settings() == {}
