"""Every feature: its meaning, its window, who reads it, and up to which day it is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View

if TYPE_CHECKING:
    from ml.platform import Platform


def features(platform: Platform) -> View:
    """Every feature view with its features, who reads them, and the market day up to which it is served."""
    from ml.catalogue import catalogue, served

    return {"views": catalogue(served(platform))}


PAGES: Final = {
    "/features": Page(
        "features",
        features,
        "features",
        "Every feature view, its features and the market day up to which it is served.",
        {"views": "One object per feature view."},
    )
}
