"""A candidate is what the data of its day make it: the same again, nothing from later, registered only when sound."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.core.clock import FixedClock
from ml.core.errors import CorruptArtefact, NoData, UsageError
from ml.core.settings import load_settings
from ml.core.units import days_between, known_by
from ml.ledger import stages, training_sets, versions
from ml.models.candidate import build_candidate
from ml.models.rows import training_rows
from ml.models.rows import training_sets as read_sets
from ml.platform import Platform
from ml.promotion.bundle import load_models, read_bundle

DAYS = 45
HOLDOUT_DAYS = 12


def open_platform(home: Path, **given: Any) -> Platform:
    settings = load_settings(
        home=home, source="simulator", simulator_opportunities_per_day=4_000, holdout_days=HOLDOUT_DAYS, **given
    )
    return Platform(settings, FixedClock(known_by(date(2026, 1, 1))))


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with 45 market days and their features."""
    from ml.features.build import build_days, market_views
    from ml.market.ingest import ingest_range

    home = tmp_path_factory.mktemp("market")
    platform = open_platform(home)
    platform.db.migrate()
    first = platform.source.first_day()
    span = days_between(first, first + timedelta(days=DAYS - 1))
    ingest_range(
        platform.source,
        platform.lake,
        platform.db,
        market=platform.market,
        days=span,
        at=platform.clock.now(),
        progress=None,
    )
    build_days(platform.lake, market_views(platform.lake).values(), span)
    return home


@pytest.fixture
def platform(market: Path, tmp_path: Path) -> Platform:
    """The market in a folder of its own, with a tracking store that cannot be reached."""
    home = tmp_path / "home"
    shutil.copytree(market, home)
    return open_platform(home, mlflow_url="sqlite:////dev/null/mlflow.db")


def last_day(platform: Platform) -> date:
    return max(platform.lake.days("bookings"))


def test_it_is_built_verified_and_registered(platform: Platform) -> None:
    day = last_day(platform)
    version = build_candidate(platform, day)
    assert versions.get(platform.db, platform.market, version.digest) == version
    assert version.trained_through == day - timedelta(days=HOLDOUT_DAYS)
    bundle = read_bundle(platform.blobs, version.digest, platform.keys)
    models = load_models(bundle)
    assert set(models) == {
        "value", "conversion", "click", "value_baseline", "conversion_baseline", "click_baseline",
    }  # fmt: skip
    assert {"golden.json", "reference.json", "value/model.txt", "value_baseline/logistic.json"} <= set(bundle.artefacts)
    for name in ("value", "conversion", "click"):
        training = bundle.meta["training"][name]
        assert training["rows"] == training["certain"] + training["corrected"] > 0
        assert training["inputs"] == list(models[name].inputs)
        assert version.metrics[name]["rows"] > 0
        assert version.metrics[name]["baseline"]["log_loss"] > 0
    for name in ("value", "conversion"):
        for measured in (version.metrics[name], version.metrics[name]["baseline"]):
            money = measured["money"]
            leads = money["by"]["lead_bucket"].values()
            assert sum(row["rows"] for row in leads) == money["whole"]["rows"] > 0
            assert sum(row["predicted"] for row in leads) == pytest.approx(money["whole"]["predicted"], abs=1.0)
            assert money["cost"]["lead_bucket"]["total"] > 0.0
    assert "money" not in version.metrics["click"]
    # MLflow could not be reached, and that is all that happened.
    assert version.mlflow_run_id == ""


@pytest.mark.ml_test_score("infra1")
def test_the_same_data_give_the_same_digest(market: Path, platform: Platform, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(market, other)
    day = last_day(platform)
    first = build_candidate(platform, day)
    assert build_candidate(platform, day) == first
    elsewhere = build_candidate(open_platform(other, mlflow_url="sqlite:////dev/null/mlflow.db"), day)
    assert elsewhere.digest == first.digest
    assert len(versions.newest(platform.db, platform.market, 9)) == 1


def test_what_became_known_in_the_holdout_does_not_reach_the_models(platform: Platform) -> None:
    day = last_day(platform)
    before = read_bundle(platform.blobs, build_candidate(platform, day).digest, platform.keys)
    through = day - timedelta(days=HOLDOUT_DAYS)
    for later in days_between(through + timedelta(days=1), day):
        events = platform.lake.read("booking_events", later)
        swapped = events.assign(kind=events["kind"].map({"cancelled": "stayed", "stayed": "cancelled"}))
        assert len(events)
        platform.lake.write("booking_events", later, swapped)
    after = read_bundle(platform.blobs, build_candidate(platform, day).digest, platform.keys)
    assert after.artefacts == before.artefacts
    assert after.meta["metrics"] != before.meta["metrics"]


def test_held_days_are_left_out(platform: Platform) -> None:
    day = last_day(platform)
    held = day - timedelta(days=HOLDOUT_DAYS + 5)
    key = stages.StageKey(platform.market, "ingest", held)
    stages.record(platform.db, key, status="stopped", result={}, at=platform.clock.now())
    rows = training_rows(platform, as_of=known_by(day - timedelta(days=HOLDOUT_DAYS)), exclude_days=[held])
    assert all(held not in set(frame["known_at"].dt.date) for frame in rows.values())
    meta = read_bundle(platform.blobs, build_candidate(platform, day).digest, platform.keys).meta
    assert meta["held_days"] == [held.isoformat()]
    assert meta["unfit_days_used"] == []


def test_a_bundle_that_does_not_verify_is_not_registered(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(bundle: Any) -> None:
        raise CorruptArtefact(f"{bundle.digest[:12]} does not parse")

    monkeypatch.setattr("ml.promotion.sandbox.verify_in_child", refuse)
    with pytest.raises(CorruptArtefact):
        build_candidate(platform, last_day(platform))
    assert versions.newest(platform.db, platform.market, 9) == []
    assert platform.blobs.list("bundles/") == [], "neither stored nor signed"


def test_without_a_key_that_counts_nothing_is_trained(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.models.rows.training_rows", lambda *_, **__: pytest.fail("it was trained"))
    production = open_platform(platform.settings.home, production=True)
    with pytest.raises(
        UsageError, match=r"no key to sign bundles with; a development key does not count here, because"
    ):
        build_candidate(production, last_day(platform))


def test_a_registered_version_without_its_signature_is_signed_again_by_the_same_training(platform: Platform) -> None:
    day = last_day(platform)
    version = build_candidate(platform, day)
    platform.blobs.delete(f"bundles/{version.digest}/signature.json")
    with pytest.raises(CorruptArtefact, match=r"signature\.json is missing, so nobody vouches for it"):
        read_bundle(platform.blobs, version.digest, platform.keys)
    assert build_candidate(platform, day) == version
    assert read_bundle(platform.blobs, version.digest, platform.keys).signed_by


def test_too_little_history_is_said_and_leaves_nothing(platform: Platform) -> None:
    early = min(platform.lake.days("bookings")) + timedelta(days=HOLDOUT_DAYS)
    with pytest.raises(NoData):
        build_candidate(platform, early)
    assert versions.newest(platform.db, platform.market, 9) == []
    assert platform.blobs.list("bundles/") == []


def test_what_a_person_reads_is_json_without_gaps(platform: Platform) -> None:
    version = build_candidate(platform, last_day(platform))
    assert json.loads(json.dumps(version.metrics, allow_nan=False)) == version.metrics


@pytest.mark.ml_test_score("model5")
def test_where_the_trees_show_no_gain_their_baseline_serves(platform: Platform) -> None:
    """Forty-five small days show little; what the version says must be what predicts."""
    bundle = read_bundle(platform.blobs, build_candidate(platform, last_day(platform)).digest, platform.keys)
    serves = bundle.meta["serves"]
    assert set(serves) == {"value", "conversion", "click"}
    assert "click_baseline" in serves.values() or "conversion_baseline" in serves.values()
    models = load_models(bundle)
    for name, by in serves.items():
        assert type(models[name]).name == by


def test_the_ledger_keeps_what_each_model_was_fitted_on_and_by_which_queries(platform: Platform) -> None:
    """The rows that the kept digest speaks of come again from the lake at the same instant."""
    day = last_day(platform)
    version = build_candidate(platform, day)
    kept = training_sets.of_version(platform.db, platform.market, version.digest)
    as_of = known_by(day - timedelta(days=HOLDOUT_DAYS))
    again = read_sets(platform, as_of=as_of, exclude_days=[])
    assert [entry.model for entry in kept] == sorted(again)
    for entry in kept:
        assert (entry.digest, entry.rows) == (again[entry.model].digest, len(again[entry.model].rows))
        assert (entry.query, entry.as_of) == (again[entry.model].query, as_of)
        assert "known_at" in entry.query and "day=" in entry.query


@pytest.mark.ml_test_score("model1")
@pytest.mark.parametrize(("stated", "clean"), [("ab" * 20, True), ("ab" * 20 + "+", False)])
def test_the_signed_manifest_names_the_commit_and_whether_the_tree_was_clean(
    platform: Platform, stated: str, clean: bool
) -> None:
    of_commit = replace(platform, settings=platform.settings.model_copy(update={"code_version": stated}))
    bundle = read_bundle(platform.blobs, build_candidate(of_commit, last_day(platform)).digest, platform.keys)
    assert bundle.meta["code"] == {"commit": "ab" * 20, "clean": clean}
