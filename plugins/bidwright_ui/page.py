"""What a page is: a template, the view that both it and its JSON twin show, and how the twin is described."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, Final

View = dict[str, Any]

NAVIGATION: Final[Mapping[str, tuple[str, str]]] = {
    "overview": ("", "Overview"),
    "model": ("model", "Model"),
    "drift": ("drift", "Drift"),
    "bids": ("bids", "Bids"),
    "incidents": ("incidents", "Incidents"),
    "approvals": ("approvals", "Approvals"),
    "experiments": ("experiments", "Experiments"),
    "features": ("features", "Features"),
}
"""The navigation: the path below the front page and the words, by the name that a page gives for `under`."""


@dataclass(frozen=True)
class Page:
    """A page and its JSON twin below /api.

    Attributes:
        template: name of the template, without `.html.j2`.
        view: takes the platform and what the path and the query name; returns plain JSON values.
        under: the entry of the navigation to which it belongs.
        says: one sentence for the OpenAPI document.
        answers: the keys of the view, each with its meaning, for the OpenAPI document.
        takes: what the query may give, by name: a FastAPI annotation and the default; a path's names are text and
            need no entry, but for another type.
    """

    template: str
    view: Callable[..., View]
    under: str
    says: str
    answers: Mapping[str, str]
    takes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """A value of the ledger as JSON: records as objects, days and instants as ISO text.

    >>> plain({"day": date(2026, 3, 2), "rows": (1, 2)})
    {'day': '2026-03-02', 'rows': [1, 2]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    for kind, turn in _PLAIN:
        if isinstance(value, kind):
            return turn(value)
    return value


_PLAIN: Sequence[tuple[type | tuple[type, ...], Callable[[Any], Any]]] = (
    (Enum, lambda v: v.value),
    (str, str),
    ((date, datetime), lambda v: v.isoformat()),
    (Mapping, lambda v: {str(key): plain(entry) for key, entry in v.items()}),
    (Sequence, lambda v: [plain(entry) for entry in v]),
)
