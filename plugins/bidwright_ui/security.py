"""Who may read the pages, and what a browser lets them do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

READERS_OF: Final = "promote_bid_model"
"""Who may read this DAG in Airflow may read the pages. Its readers see verdicts, prices and money there anyway."""

_COMMON: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

PAGE_HEADERS: Final[Mapping[str, str]] = {
    **_COMMON,
    # Scripts and styles from our own files alone, no inline ones: a name with markup in it stays a name.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
}

REPORT_HEADERS: Final[Mapping[str, str]] = {
    **_COMMON,
    # The report draws itself with its own scripts. They may run, but in a document that belongs to no origin:
    # they reach neither the session nor the network.
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
}

DATA_HEADERS: Final[Mapping[str, str]] = {**_COMMON, "Cache-Control": "no-store"}

ASSET_HEADERS: Final[Mapping[str, str]] = {**_COMMON, "Cache-Control": "private, max-age=31536000, immutable"}
