"""Evidence of a good candidate with some numbers of one part of its bidding evidence changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ml.promotion.evidence import Evidence
from ml.promotion.evidence_bids import DoesNotApply


def changed(good: Evidence, part: str, **changes: Any) -> Evidence:
    assert good.bidding is not None
    return put(good, part, replace(getattr(good.bidding, part), **changes))


def put(good: Evidence, part: str, value: Any) -> Evidence:
    assert good.bidding is not None
    return replace(good, bidding=replace(good.bidding, **{part: value}))


def missing(good: Evidence, part: str, why: str) -> Evidence:
    assert good.bidding is not None
    return replace(good, bidding=replace(good.bidding, failed=((part, why),), **{part: None}))


def not_applying(good: Evidence, part: str) -> Evidence:
    return put(good, part, DoesNotApply("nobody is bid to here"))
