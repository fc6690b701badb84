"""Nobody's identity, and nothing that the law protects, is an input of a model, whatever a later feature is called."""

from __future__ import annotations

import re

import pytest

from ml.features.definitions import FEATURE_VIEWS
from ml.models import MODELS

DENIED = re.compile(
    r"(^|_)(user|traveller|guest|person|customer|session|cookie|device|advertising|visitor|account)_?ids?($|_)"
    r"|(^|_)(ip|email|mail|phone|name|surname|address|passport|birth|birthday|age|gender|sex|religion|ethnicity|race"
    r"|disability|health|orientation|latitude|longitude|gps|idfa|gaid)($|_)"
)
"""Whole words of a name: identities of people, and what must not tell one guest from another."""

ROWS_IDS = re.compile(r"(booking|click|opportunity|trace|search|auction)_id$")
"""The name of one event, from which a model could only learn it by heart."""


@pytest.mark.ml_test_score("data4")
@pytest.mark.parametrize("name", list(MODELS))
def test_no_model_reads_who_somebody_is_nor_which_event_it_is(name: str) -> None:
    denied = [one for one in MODELS[name].inputs if DENIED.search(one) or ROWS_IDS.search(one)]
    assert denied == []


@pytest.mark.ml_test_score("data4")
@pytest.mark.parametrize("name", list(FEATURE_VIEWS))
def test_no_feature_or_key_of_a_view_does_either(name: str) -> None:
    view = FEATURE_VIEWS[name]
    assert [one for one in (*view.feature_names, *view.entity) if DENIED.search(one) or ROWS_IDS.search(one)] == []


@pytest.mark.parametrize("name", ["user_id", "guest_email", "ip", "session_id", "age", "gender_7d", "device_ids"])
def test_such_a_name_would_be_seen(name: str) -> None:
    assert DENIED.search(name)


@pytest.mark.parametrize("name", ["device", "agent_id", "hotel_id", "agent_bookings_28d", "stage", "lead_days"])
def test_a_name_that_only_looks_so_is_not(name: str) -> None:
    assert not DENIED.search(name)
