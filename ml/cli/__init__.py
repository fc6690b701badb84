"""The `bidwright` command: every use case without Airflow."""

from __future__ import annotations

from ml.cli.app import main

__all__ = ["main"]
