"""Passwords in addresses and options are not shown, and nothing else is taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.core.errors import UsageError
from ml.core.hidden import hidden
from ml.core.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@db:5432/x", "postgresql://u:***@db:5432/x"),
        ("postgresql://u:p@w/or d@db/x", "postgresql://u:***@db/x"),
        (
            "postgresql://db/x?user=u&password=p&sslmode=require",
            "postgresql://db/x?user=u&password=***&sslmode=require",
        ),
        ("redis:6379,username=u,password=p,ssl=true", "redis:6379,username=u,password=***,ssl=true"),
        ("https://u:p@mlflow.example/path", "https://u:***@mlflow.example/path"),
        ("fs.s3a.secret.key=p", "fs.s3a.secret.key=***"),
    ],
)
def test_a_password_is_not_shown(text: str, shown: str) -> None:
    assert hidden(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/var/lib/bidwright",
        "sqlite:////tmp/a.db",
        "s3://bucket/prefix",
        "http://127.0.0.1:8080",
        "bid-team@localhost",
        "postgresql://u@h/x",
    ],
)
def test_what_holds_none_is_shown_as_it_is(text: str) -> None:
    assert hidden(text) == text


def test_options_are_judged_by_their_names_too() -> None:
    options = {"spark.hadoop.fs.s3a.secret.key": "p", "spark.driver.memory": "2g", "token": ""}
    assert hidden(options) == {"spark.hadoop.fs.s3a.secret.key": "***", "spark.driver.memory": "2g", "token": ""}
    assert hidden(7) == 7


def test_an_endpoint_with_a_user_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="an endpoint holds no user") as refused:
        load_settings(s3_endpoint="http://user:planted@s3")
    assert "planted" not in str(refused.value)


def test_a_file_that_is_not_toml_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bidwright.toml").write_text("seed = 'seven")
    with pytest.raises(UsageError, match=r"bidwright\.toml is not TOML"):
        load_settings(home=tmp_path)


def test_a_copy_of_settings_keeps_what_is_hidden() -> None:
    url = "postgresql://u:p@db/x"
    settings = Settings(database_url=url)
    assert settings.model_copy(update={"seed": 8}).database == settings.model_dump()["database_url"] == url
