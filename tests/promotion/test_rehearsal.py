"""A candidate is served in a child before any traffic: equal predictions are counted, and whatever goes wrong is a fault."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from ml.core.digests import Digest, canonical_json
from ml.core.units import known_by
from ml.core.verdict import Verdict
from ml.models.click import ClickBaseline
from ml.promotion.bundle import Bundle
from ml.promotion.gates.serving import Serving
from ml.promotion.rehearsal import rehearse_serving

ROWS = 1_200


@pytest.fixture(scope="module")
def offers() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    at = pd.Timestamp("2025-03-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 86_400, ROWS), unit="s")
    clicked = rng.random(ROWS) < 0.1
    frame = pd.DataFrame(
        {
            "opportunity_id": [f"o{n}" for n in range(ROWS)], "ts": at, "known_at": at,
            "clicked_known_at": pd.Series(at).where(clicked), "position": rng.integers(1, 5, ROWS),
            "partner": "google", "hotel_id": rng.choice(["a", "b"], ROWS), "device": "mobile", "user_country": "DE",
            "check_in": pd.Timestamp("2025-04-01"), "lead_days": rng.integers(1, 60, ROWS),
            "los_nights": rng.integers(1, 5, ROWS), "default_date": False, "price_micros": 100_000_000,
            "rival_price_micros": rng.integers(80, 120, ROWS) * 1_000_000,
        }
    )  # fmt: skip
    history = [name for name in ClickBaseline.inputs if name not in frame]
    return frame.assign(**dict.fromkeys(history, 0.1))


@pytest.fixture(scope="module")
def candidate(offers: pd.DataFrame) -> tuple[Bundle, ClickBaseline]:
    """A bundle of one small model; golden predictions are the sandbox's own test."""
    from datetime import date

    from ml.models.golden import golden

    model = ClickBaseline.fit(offers, as_of=known_by(date(2025, 3, 2)), seed=1)
    artefacts = {**model.artefacts(), "golden.json": golden({"click_baseline": model}, {"click_baseline": offers})}
    return Bundle(Digest("e" * 64), artefacts, {"serves": {}}), model


def test_the_child_repeats_every_prediction_bit_for_bit(
    candidate: tuple[Bundle, ClickBaseline], offers: pd.DataFrame
) -> None:
    bundle, model = candidate
    found = rehearse_serving(bundle, {"click_baseline": model}, {"click_baseline": offers[:300]}, timed=60)
    assert (found.fault, found.compared, found.matched_share, found.timed) == ("", 300, 1.0, 60)


def test_a_model_that_says_something_else_there_is_seen(
    candidate: tuple[Bundle, ClickBaseline], offers: pd.DataFrame
) -> None:
    bundle, model = candidate
    other = ClickBaseline.fit(offers[: ROWS - 100], as_of=pd.Timestamp("2025-03-03", tz="UTC"), seed=1)
    found = rehearse_serving(bundle, {"click_baseline": other}, {"click_baseline": offers[:200]}, timed=60)
    assert found.matched_share == 0.0
    assert Serving().examine_part(found).verdict is Verdict.FAIL
    assert model is not other


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("import os; os.abort()", "ended with code -6"),
        ("import time; time.sleep(60)", "did not answer within 1 s"),
        ("print('hello')", "without an answer"),
        ("""print('{"fault": "MemoryError: "}')""", "MemoryError"),
        ("""print('{"fault": null, "said": {}, "times_ms": []}')""", "did not answer for every model"),
    ],
    ids=["dies", "hangs", "nonsense", "refused", "silent"],
)
def test_whatever_goes_wrong_in_the_child_is_a_fault_and_the_gate_fails(
    candidate: tuple[Bundle, ClickBaseline], offers: pd.DataFrame, program: str, fault: str
) -> None:
    bundle, model = candidate
    found = rehearse_serving(
        bundle, {"click_baseline": model}, {"click_baseline": offers[:50]},
        timeout_s=1.0 if "sleep" in program else 60.0, command=[sys.executable, "-c", program],
    )  # fmt: skip
    assert fault in (found.fault or "")
    assert Serving().examine_part(found).verdict is Verdict.FAIL


def test_a_text_that_is_no_model_is_a_fault_of_the_candidate(
    candidate: tuple[Bundle, ClickBaseline], offers: pd.DataFrame
) -> None:
    bundle, model = candidate
    broken = Bundle(
        bundle.digest, {**bundle.artefacts, "click_baseline/logistic.json": canonical_json({})}, bundle.meta
    )
    found = rehearse_serving(broken, {"click_baseline": model}, {"click_baseline": offers[:50]})
    assert "CorruptArtefact" in (found.fault or "")
