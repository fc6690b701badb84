"""What every model and every baseline keeps to, whichever it is."""

from __future__ import annotations

import json
import multiprocessing
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, NoData, SchemaBreak
from ml.models import MODELS, PAIRS, baseline_of
from ml.models.protocol import BidModel
from tests.models.conftest import AS_OF, as_known, clicks_known

EVERY = pytest.mark.parametrize("name", list(MODELS))


def task(name: str) -> str:
    return name.removesuffix("_baseline")


@pytest.fixture(scope="module")
def fitted(rows: dict[str, pd.DataFrame]) -> dict[str, BidModel]:
    return {name: kind.fit(rows[task(name)], as_of=AS_OF, seed=7) for name, kind in MODELS.items()}


def scores(model: BidModel, rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    return model.predict(rows)[model.outputs[0]].to_numpy(dtype=float)


@pytest.mark.ml_test_score("infra2")
@EVERY
def test_it_keeps_to_the_protocol(name: str, fitted: dict[str, BidModel]) -> None:
    assert isinstance(fitted[name], BidModel)
    assert fitted[name].name == name


def test_each_model_has_a_baseline_of_its_own() -> None:
    assert set(MODELS) == {*PAIRS, *(baseline_of(name) for name in PAIRS)}


@pytest.mark.ml_test_score("infra1")
@EVERY
def test_the_same_rows_in_another_order_give_the_same_bytes(
    name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]
) -> None:
    shuffled = rows[task(name)].sample(frac=1.0, random_state=5)
    assert MODELS[name].fit(shuffled, as_of=AS_OF, seed=7).artefacts() == fitted[name].artefacts()


@pytest.mark.ml_test_score("infra2")
@EVERY
def test_it_reads_back_from_its_artefacts_with_the_same_predictions(
    name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]
) -> None:
    again = MODELS[name].load(fitted[name].artefacts())
    pd.testing.assert_frame_equal(again.predict(rows[task(name)]), fitted[name].predict(rows[task(name)]))
    assert again.features == fitted[name].features


@EVERY
def test_its_artefacts_are_text_in_its_own_folder(name: str, fitted: dict[str, BidModel]) -> None:
    for file, data in fitted[name].artefacts().items():
        assert file.startswith(f"{name}/")
        text = data.decode()
        if file.endswith(".json"):
            assert isinstance(json.loads(text), dict)


@EVERY
def test_a_missing_artefact_is_named(name: str, fitted: dict[str, BidModel]) -> None:
    files = fitted[name].artefacts()
    for lost in files:
        with pytest.raises(CorruptArtefact, match=lost):
            MODELS[name].load({file: data for file, data in files.items() if file != lost})


@EVERY
@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"\xff\xfe", b"{}"])
def test_json_of_another_form_is_refused(name: str, junk: bytes, fitted: dict[str, BidModel]) -> None:
    for file in fitted[name].artefacts():
        if file.endswith(".json"):
            with pytest.raises(CorruptArtefact):
                MODELS[name].load(fitted[name].artefacts() | {file: junk})


@EVERY
def test_it_reads_its_inputs_and_nothing_else(
    name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]
) -> None:
    model, frame = fitted[name], rows[task(name)].tail(200)
    np.testing.assert_array_equal(scores(model, frame[list(model.inputs)]), scores(model, frame))
    for column in model.inputs:
        with pytest.raises((SchemaBreak, KeyError)):
            model.predict(frame[list(model.inputs)].drop(columns=column))


@pytest.mark.ml_test_score("data4")
@EVERY
def test_no_outcome_is_among_its_inputs(name: str) -> None:
    later = {"outcome", "outcome_known_at", "net_value_micros", "clicked", "booked", "booking_known_at", "shown"}
    assert not later & set(MODELS[name].inputs)


@EVERY
def test_predictions_are_probabilities_under_the_index_of_the_rows(
    name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]
) -> None:
    frame = rows[task(name)].tail(300)
    said = fitted[name].predict(frame)
    assert list(said.columns) == list(fitted[name].outputs)
    pd.testing.assert_index_equal(said.index, frame.index)
    assert said.iloc[:, 0].between(0, 1).all()
    assert fitted[name].predict(frame.iloc[:0]).empty


@EVERY
def test_each_row_is_scored_by_itself(name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]) -> None:
    frame = rows[task(name)].tail(40)
    whole = scores(fitted[name], frame)
    alone = [scores(fitted[name], frame.iloc[[n]])[0] for n in range(len(frame))]
    np.testing.assert_allclose(alone, whole, rtol=1e-12)


@EVERY
def test_the_mean_prediction_is_the_mean_truth(
    name: str, bookings: pd.DataFrame, offers: pd.DataFrame, fitted: dict[str, BidModel]
) -> None:
    truth = {"value": "p_true", "conversion": "p_book_true", "click": "p_click_true"}[task(name)]
    frame = bookings if task(name) == "value" else offers
    assert scores(fitted[name], frame).mean() == pytest.approx(frame[truth].mean(), rel=0.12)


@pytest.mark.ml_test_score("model5")
@pytest.mark.parametrize("name", list(PAIRS))
def test_the_model_is_nearer_to_the_truth_than_its_baseline(
    name: str, bookings: pd.DataFrame, offers: pd.DataFrame, fitted: dict[str, BidModel]
) -> None:
    """The small market has an interaction in each task that a line in log odds cannot tell."""
    truth = {"value": "p_true", "conversion": "p_book_true", "click": "p_click_true"}[name]
    frame = bookings if name == "value" else offers
    ours, theirs = (np.mean((scores(fitted[who], frame) - frame[truth]) ** 2) for who in (name, baseline_of(name)))
    if name != "conversion":  # its truth is a line, so that it can only be matched
        assert ours < theirs
    assert ours < np.var(frame[truth])


@pytest.mark.ml_test_score("infra2")
@EVERY
def test_what_happens_after_the_instant_changes_nothing(
    name: str, bookings: pd.DataFrame, offers: pd.DataFrame
) -> None:
    """Everything that became known after T, shuffled, leaves the version trained at T the same, byte for byte."""
    at = AS_OF - timedelta(days=14)
    rng = np.random.default_rng(9)

    def train(scramble: bool) -> dict[str, bytes]:
        if task(name) == "value":
            frame = bookings.copy()
            later = (frame["outcome_known_at"] >= at).to_numpy()
            shuffled = rng.permutation(np.flatnonzero(later))
            if scramble:
                for column in ("outcome", "net_value_micros"):
                    frame.loc[later, column] = frame[column].to_numpy()[shuffled]
                moved = frame.loc[later, "outcome_known_at"] + pd.to_timedelta(
                    rng.integers(0, 99, later.sum()), unit="D"
                )
                frame.loc[later, "outcome_known_at"] = moved
            known = as_known(frame, at)
        else:
            frame = offers.copy()
            later = (frame["ts"] >= at).to_numpy()
            if scramble:
                frame.loc[later, "position"] = rng.integers(1, 5, later.sum())
                frame.loc[later, "clicked"] = rng.random(later.sum()) < 0.5
                waits = frame["booking_known_at"] >= at
                frame.loc[waits, "booking_known_at"] = pd.NaT
                assert waits.any()
            known = clicks_known(frame, at) if task(name) == "conversion" else frame[frame["ts"] < at]
        assert later.any()
        return MODELS[name].fit(known, as_of=at, seed=7).artefacts()

    assert train(scramble=True) == train(scramble=False)


@EVERY
def test_rows_that_carry_the_future_train_the_same_as_rows_that_do_not(
    name: str, bookings: pd.DataFrame, offers: pd.DataFrame
) -> None:
    """Even handed outcomes from after T, a fit as of T does not look at them."""
    at = AS_OF - timedelta(days=14)
    if task(name) == "value":
        future, past = bookings[bookings["booked_at"] < at], as_known(bookings, at)
    elif task(name) == "conversion":
        future, past = offers[offers["clicked"] & (offers["ts"] < at)], clicks_known(offers, at)
    else:
        future, past = offers, offers[offers["ts"] < at]
    kind = MODELS[name]
    assert kind.fit(future, as_of=at, seed=7).artefacts() == kind.fit(past, as_of=at, seed=7).artefacts()


@EVERY
def test_next_to_nothing_is_not_fitted(name: str, rows: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(NoData, match="rows"):
        MODELS[name].fit(rows[task(name)].head(50), as_of=AS_OF, seed=7)


@EVERY
def test_reference_statistics_are_finite_json(
    name: str, rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]
) -> None:
    found = fitted[name].reference(rows[task(name)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found["features"]) == set(fitted[name].features)
    assert set(found["predictions"]) == set(fitted[name].outputs)


def predict_in_child(name: str, files: dict[str, bytes], frame: pd.DataFrame) -> list[float]:
    return [float(value) for value in scores(MODELS[name].load(files), frame)]


def test_a_spawned_process_predicts_the_same(rows: dict[str, pd.DataFrame], fitted: dict[str, BidModel]) -> None:
    """As the bid service and the backtest do it: started, not forked, each model read from its text."""
    jobs = [(name, model.artefacts(), rows[task(name)].tail(100)) for name, model in fitted.items()]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.starmap(predict_in_child, jobs)
    for (name, _, frame), values in zip(jobs, there, strict=True):
        np.testing.assert_array_equal(values, scores(fitted[name], frame))
