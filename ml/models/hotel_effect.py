"""What a hotel books above what its searches say: a multiplier per hotel on top of a model that does not know hotels.

Histories of a hotel at a partner (times shown, click rate, cost of a click) tell a model much about the hotel, and as much
about the bids of those weeks: once bids change, they mislead. On the simulated market a champion that read them expected
nearly twice the worth a week after its own bids had replaced the former ones. Bookings per click do not depend on the
bid; shrunk multipliers (`ml.models.shrinkage`) take what they tell and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ml.core.errors import CorruptArtefact
from ml.models.encoding import Columns
from ml.models.numbers import Floats
from ml.models.shrinkage import FILE as SHRUNK
from ml.models.shrinkage import Multipliers

if TYPE_CHECKING:
    from ml.models.base import Prepared

HIGHEST = 0.95
"""No click books with more than this probability."""


def fit_hotels(prepared: Prepared, probability: Floats) -> Multipliers:
    """Multipliers of the hotels of these rows.

    Args:
        prepared: with `hotels` and `known_share`.
        probability: what the model without hotels says of each row; shape (n,).
    """
    if prepared.hotels is None or prepared.known_share is None:
        raise ValueError("the prepared rows do not say which hotel each is of")
    found = Multipliers.fit([prepared.hotels], prepared.examples.labels, probability * prepared.known_share)
    # As it will be read back, so that a model predicts the same before and after it was written.
    return Multipliers.load(found.artefacts())


def of_hotels(multipliers: Multipliers, columns: Columns, probability: Floats) -> Floats:
    """Probabilities with the multiplier of each row's hotel; a hotel that is not known has that of the typical one."""
    hotels = list(map(str, columns["hotel_id"]))
    return np.minimum(probability * multipliers.of([hotels], shade=None), HIGHEST)


def hotel_artefacts(name: str, multipliers: Multipliers) -> dict[str, bytes]:
    """`<name>/hotels.json`."""
    return {f"{name}/hotels.json": multipliers.artefacts()[SHRUNK]}


def load_hotels(name: str, artefacts: Mapping[str, bytes]) -> Multipliers:
    """Read back `hotel_artefacts`; CorruptArtefact when the file is missing or not of its form."""
    if f"{name}/hotels.json" not in artefacts:
        raise CorruptArtefact(f"{name}/hotels.json is missing", next="train the version again")
    return Multipliers.load({SHRUNK: artefacts[f"{name}/hotels.json"]})
