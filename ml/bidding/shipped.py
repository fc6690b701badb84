"""What of the settings decides bids, and so ships with a version: a change of it goes through the gates as a model does.

The limits that protect the account (the cap of a bid, its largest change, the budget, the floor, the spend cap) are not
among it: they stay the platform's own, so that a person can tighten them at once and no version can loosen them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ml.core.errors import CorruptArtefact

if TYPE_CHECKING:
    from ml.core.settings import Settings

SHIPPED = "bidding"
"""In a bundle's meta data: these settings by name."""

NAMES = ("bid_strategy", "target_cost_share", "take_share", "account_currency", "fx_rates", "payment_models")


def shipped(settings: Settings) -> dict[str, Any]:
    """The settings that ship with a version that is trained under them."""
    said = settings.model_dump(mode="json", include=set(NAMES))
    return {name: said[name] for name in NAMES}


def under(settings: Settings, meta: Mapping[str, Any]) -> Settings:
    """The settings, with those that ship with the version of this meta data; a version without any leaves them.

    Raises:
        CorruptArtefact: a name that does not ship, or a value that is none of the setting's.
    """
    carried = meta.get(SHIPPED)
    if carried is None:
        return settings
    strange = sorted(set(carried) - set(NAMES))
    if strange:
        raise CorruptArtefact(f"a version may not carry the setting {strange[0]}", next="train the version again")
    try:
        return type(settings).model_validate({**settings.model_dump(), **carried})
    except ValueError as error:
        raise CorruptArtefact(
            "the settings that ship with the version are not valid", next="train the version again"
        ) from error
