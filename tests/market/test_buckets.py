"""Lead and stay buckets: every value has one, and the scalar and the array form agree."""

from __future__ import annotations

import numpy as np
import pytest

from ml.market.buckets import (
    LEAD_BUCKETS,
    LEAD_STARTS,
    LOS_BUCKETS,
    LOS_STARTS,
    lead_bucket,
    lead_buckets,
    los_bucket,
    los_buckets,
)


@pytest.mark.parametrize(
    ("days", "label"),
    [
        (0, "000-001"),
        (1, "000-001"),
        (2, "002-007"),
        (7, "002-007"),
        (8, "008-014"),
        (14, "008-014"),
        (15, "015-030"),
        (30, "015-030"),
        (31, "031-090"),
        (90, "031-090"),
        (91, "091-180"),
        (180, "091-180"),
        (181, "181+"),
    ],
)
def test_lead_bucket_edges(days: int, label: str) -> None:
    assert lead_bucket(days) == label


@pytest.mark.parametrize(
    ("nights", "label"),
    [(0, "01"), (1, "01"), (2, "02"), (3, "03-04"), (4, "03-04"), (5, "05-07"), (7, "05-07"), (8, "08+"), (60, "08+")],
)
def test_los_bucket_edges(nights: int, label: str) -> None:
    assert los_bucket(nights) == label


def test_arrays_and_scalars_agree_on_every_possible_value() -> None:
    values = np.arange(0, 800)
    assert lead_buckets(values).tolist() == [lead_bucket(int(value)) for value in values]
    assert los_buckets(values).tolist() == [los_bucket(int(value)) for value in values]
    assert set(lead_buckets(values)) == set(LEAD_BUCKETS)
    assert set(los_buckets(values)) == set(LOS_BUCKETS)
    assert lead_buckets([]).shape == (0,)


def test_each_label_starts_with_its_first_value() -> None:
    for starts, labels in ((LEAD_STARTS, LEAD_BUCKETS), (LOS_STARTS, LOS_BUCKETS)):
        assert [int(label[:3].rstrip("+-")) for label in labels] == list(starts)
