"""The key that signs bundles, from an Airflow connection, for the one task that trains."""

from __future__ import annotations

from ml.core.settings import load_settings

SIGNING_CONNECTION = "bidwright_signing"
"""A connection (of any type) whose password is the secret key."""


def signing_settings() -> dict[str, str]:
    """`signing_key` from the connection, where the settings name the keys that count and no key to sign with.

    It is handed on as an argument, so that no other process inherits it. Empty where there is no such connection: the
    training then says what is missing.
    """
    settings = load_settings()
    if not settings.trusted_keys or settings.signing_key.get_secret_value():
        return {}
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        password = Connection.get(SIGNING_CONNECTION).password
    except AirflowNotFoundException:
        return {}
    return {"signing_key": password} if password else {}
