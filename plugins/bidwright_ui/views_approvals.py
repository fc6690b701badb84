"""Approvals: promotions that wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bidwright_ui.page import Page, View, plain

if TYPE_CHECKING:
    from ml.platform import Platform

LOOKED_AT = 200


def approvals(platform: Platform) -> View:
    """The newest decisions for which a person was asked, with the answer where there is one."""
    from ml.ledger import decisions

    asked = [one for one in decisions.latest(platform.db, platform.market, LOOKED_AT) if one.approval is not None]
    return {"approvals": plain(asked)}


PAGES: Final = {
    "/approvals": Page(
        "approvals",
        approvals,
        "approvals",
        "Decisions that asked a person.",
        {"approvals": "The decisions, newest first; `approval` holds what was asked and what was answered."},
    )
}
