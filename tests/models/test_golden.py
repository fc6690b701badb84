"""Golden predictions find a model that says otherwise than it did."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact
from ml.models.golden import GOLDEN_ROWS, differences, golden
from ml.models.protocol import BidModel
from ml.models.value import ValueBaseline, ValueModel
from tests.models.conftest import AS_OF


@pytest.fixture(scope="module")
def models(rows: dict[str, pd.DataFrame]) -> dict[str, BidModel]:
    return {kind.name: kind.fit(rows["value"], as_of=AS_OF, seed=7) for kind in (ValueModel, ValueBaseline)}


@pytest.fixture(scope="module")
def kept(models: dict[str, BidModel], rows: dict[str, pd.DataFrame]) -> bytes:
    return golden(models, dict.fromkeys(models, rows["value"]))


def test_a_model_repeats_its_predictions(models: dict[str, BidModel], kept: bytes) -> None:
    assert differences(models, kept) == []


def test_a_model_read_back_repeats_them(models: dict[str, BidModel], kept: bytes) -> None:
    again = {name: type(model).load(model.artefacts()) for name, model in models.items()}
    assert differences(again, kept) == []


def test_it_holds_fifty_rows_of_inputs_alone(models: dict[str, BidModel], kept: bytes) -> None:
    value = json.loads(kept)["value"]
    assert set(value["rows"]) == set(models["value"].inputs)
    assert {len(column) for column in value["rows"].values()} == {GOLDEN_ROWS}


def test_one_leaf_that_was_changed_is_found(models: dict[str, BidModel], kept: bytes) -> None:
    files = models["value"].artefacts()
    text = files["value/model.txt"].decode()
    start = text.index("leaf_value=") + len("leaf_value=")
    values = text[start : text.index("\n", start)].split(" ")
    changed = " ".join(str(float(v) + 0.3) for v in values)
    broken = text[:start] + changed + text[text.index("\n", start) :]
    # The lengths of the trees stand in the head; without the line LightGBM finds the trees by reading.
    head, _, tail = broken.partition("tree_sizes=")
    broken = head + tail[tail.index("\n") + 1 :]
    other = ValueModel.load(files | {"value/model.txt": broken.encode()})
    found = differences({"value": other}, kept)
    assert found
    assert any(line.startswith("value.p_cancel of golden row") for line in found)


def test_another_calibration_is_found(models: dict[str, BidModel], kept: bytes) -> None:
    files = dict(models["value"].artefacts())
    settings = json.loads(files["value/calibration.json"])
    files["value/calibration.json"] = json.dumps(settings | {"intercept": settings["intercept"] + 1e-6}).encode()
    assert differences({"value": ValueModel.load(files)}, kept)


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b'{"value": {"rows": {}, "predictions": 3}}'])
def test_a_golden_file_of_another_form_is_refused(models: dict[str, BidModel], junk: bytes) -> None:
    with pytest.raises(CorruptArtefact):
        differences(models, junk)


def test_a_prediction_that_is_not_a_number_is_found(models: dict[str, BidModel], kept: bytes) -> None:
    value = json.loads(kept)
    value["value"]["predictions"]["p_cancel"][3] = None
    assert differences({"value": models["value"]}, json.dumps(value).encode())
