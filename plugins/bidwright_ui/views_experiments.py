"""Experiments: not there yet; the page says what will come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View

if TYPE_CHECKING:
    from ml.platform import Platform


def experiments(platform: Platform) -> View:  # noqa: ARG001  (every view takes the platform)
    """Nothing yet."""
    return {"experiments": []}


PAGES: Final = {
    "/experiments": Page(
        "experiments",
        experiments,
        "experiments",
        "Experiments of this market.",
        {"experiments": "One object per experiment; empty until there are any."},
    )
}
