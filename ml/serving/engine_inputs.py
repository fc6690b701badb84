"""What engines read: online features by key, and candidates as the columns of the models of searches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ml.core.errors import BidwrightError
from ml.serving.engine_protocol import Matrix
from ml.serving.messages import BidRequest, Layout

if TYPE_CHECKING:
    from ml.models.encoding import Values
    from ml.models.numbers import Floats

_LOG = logging.getLogger(__name__)

DAY_US = 86_400_000_000
_FIRST_DAY = date(1970, 1, 1).toordinal()
_NO_DAY = int(np.iinfo(np.int64).min)
"""How numpy writes NaT."""


class FeatureReader(Protocol):
    """The chosen columns of an online view (`ml.features.online.direct.DirectReader`)."""

    def read(self, *keys: Any, not_before_us: int | None = None) -> Matrix:
        """Shape (entities, columns), NaN where nothing is known."""
        ...


OpenView = Callable[[str, Sequence[str]], FeatureReader]
"""Reader of these columns of the view of that name; nothing is read yet."""


class Online:
    """Features by key, as NaN where they cannot be read: a bid with defaults is better than none.

    Attributes:
        layout: their columns, and the type that they are kept in.
    """

    def __init__(self, reader: FeatureReader | None, columns: Sequence[str], *, probe: Sequence[Sequence[str]]) -> None:
        self._reader, self._troubled = reader, False
        self.layout = Layout("<f8", tuple(columns))
        self._type: np.dtype[Any] = np.dtype(np.float64)
        if reader is not None and (found := self._tried(*probe, not_before_us=None)) is not None:
            self._type = found.dtype
            self.layout = Layout(found.dtype.newbyteorder("<").str, tuple(columns))

    def read(self, *keys: Sequence[str], not_before_us: int | None) -> Matrix:
        """Shape (n, columns), in the type of the layout."""
        found = None if self._reader is None else self._tried(*keys, not_before_us=not_before_us)
        if found is None:
            return np.full((len(keys[0]), len(self.layout.columns)), np.nan, dtype=self._type)
        return found if found.dtype == self._type else found.astype(self._type)

    def _tried(self, *keys: Sequence[str], not_before_us: int | None) -> Matrix | None:
        try:
            found = self._reader.read(*keys, not_before_us=not_before_us) if self._reader is not None else None
        except BidwrightError as error:
            if not self._troubled:
                _LOG.warning("online features cannot be read, so bids are made without them: %s", error)
            self._troubled = True
            return None
        self._troubled = False
        return found


def search_columns(requests: Sequence[BidRequest], *, at_us: int) -> dict[str, Values]:
    """The inputs of the models of searches, one row per candidate: `ml.models.context.SEARCH_INPUTS`.

    Days ahead are counted from the UTC day, as they are in the market's data. A stay that began yesterday counts as one of today:
    where the traveller is, it may still be today.
    """
    candidates = [candidate for request in requests for candidate in request.candidates]
    users = [request.user for request in requests for _ in request.candidates]
    days = np.array([_day(candidate.check_in) for candidate in candidates], dtype=np.int64)
    lead = np.where(days == _NO_DAY, np.nan, days - at_us // DAY_US)
    return {
        "partner": [user.partner for user in users],
        "hotel_id": [candidate.hotel_id for candidate in candidates],
        "device": [user.device for user in users],
        "user_country": [user.country for user in users],
        "ts": np.full(len(candidates), at_us, dtype=np.int64).view("datetime64[us]"),
        "check_in": days.view("datetime64[D]").astype("datetime64[us]"),
        "lead_days": np.where(lead == -1, 0.0, lead),
        "los_nights": np.array([candidate.los_nights for candidate in candidates], dtype=np.float64),
        "default_date": np.array([candidate.default_date for candidate in candidates], dtype=np.float64),
        "price_micros": amounts(candidate.price_micros for candidate in candidates),
        "rival_price_micros": amounts(candidate.rival_price_micros for candidate in candidates),
    }


def _day(day: date | None) -> int:
    """Days since 1970; numpy would take ten times as long to read a date."""
    return _NO_DAY if day is None else day.toordinal() - _FIRST_DAY


def amounts(micros: Iterator[int | None]) -> Floats:
    """Money as floats, NaN where there is none; shape (n,)."""
    return np.array([np.nan if amount is None else amount for amount in micros], dtype=np.float64)
