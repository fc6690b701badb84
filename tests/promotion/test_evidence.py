from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np

from ml.core.digests import canonical_json
from ml.evaluation.interval import Interval
from ml.promotion.evidence import Evidence, LossEvidence, to_json


def test_every_number_is_in_the_json_form_and_missing_ones_are_null(good: Evidence) -> None:
    record = good.as_json()
    assert record["models"][0]["losses"][0]["over_baseline"] == {
        "low": -0.04, "mid": -0.03, "high": -0.02, "blocks": 14, "rows": 2000, "level": 0.9,
    }  # fmt: skip
    assert record["inputs"]["watermark"] == "2025-03-10"
    assert record["order"]["trained_known_by"] == "2025-02-25T00:00:00+00:00"
    assert LossEvidence("log_loss").as_json()["champion"] is None
    assert canonical_json(record)


def test_numbers_that_are_not_finite_are_named_because_json_has_none() -> None:
    interval = Interval(float("-inf"), float("nan"), float("inf"), blocks=1, rows=2)
    assert to_json({"i": interval}) == {
        "i": {"low": "-inf", "mid": "nan", "high": "inf", "blocks": 1, "rows": 2, "level": 0.9}
    }


def test_numbers_of_numpy_and_instants_become_plain() -> None:
    value = to_json([np.int64(3), np.float32(0.5), True, date(2025, 1, 6), datetime(2025, 1, 6, tzinfo=UTC)])
    assert value == [3, 0.5, True, "2025-01-06", "2025-01-06T00:00:00+00:00"]
    assert [type(v) for v in value[:3]] == [int, float, bool]
