"""A market day's features: built, online, read back, and only then below the watermark; dying anywhere is harmless."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast.infra.passthrough_provider import PassthroughProvider

from ml.core.errors import NoData, StoreUnavailable
from ml.core.settings import Settings
from ml.core.units import days_between, known_by
from ml.features import build, materialize
from ml.features.build import build_days, market_views
from ml.features.definitions import FEATURE_VIEWS
from ml.features.materialize import materialize_day, materialize_history
from ml.features.store import FeatureStore
from ml.lake.lake import Lake
from ml.ledger import watermarks
from ml.ledger.database import Database

Copy = Callable[[Path, Path], Lake]
AT = datetime(2030, 1, 1, tzinfo=UTC)
FIRST, DAY = date(2024, 2, 1), date(2024, 2, 10)
AGENTS = FEATURE_VIEWS["agent_history"]


@pytest.fixture(scope="module")
def template(landed_folder: Path, copy_lake: Copy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template")
    lake = copy_lake(landed_folder, home)
    build_days(lake, market_views(lake).values(), days_between(FIRST, DAY - timedelta(days=1)))
    return home / "lake"


@pytest.fixture
def landed(template: Path, tmp_path: Path, copy_lake: Copy) -> Lake:
    """A lake with features up to the day before DAY."""
    return copy_lake(template, tmp_path)


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(landed: Lake, db: Database, settings: Settings) -> Run:
    def day(day: date = DAY) -> dict[str, Any]:
        return materialize_day(landed, db, settings, market="m", day=day, at=AT)

    return day


def online(settings: Settings, lake: Lake, day: date = DAY) -> dict[str, pd.DataFrame]:
    """Everything that the online store says of the entities of a day."""
    opened = FeatureStore.open(settings, lake)
    return {
        name: opened.read_online(name, lake.read(view.table, day)[list(view.entity)])
        for name, view in opened.views.items()
    }


def test_a_day_is_built_served_read_back_and_marked(run: Run, landed: Lake, db: Database, settings: Settings) -> None:
    result = run()
    assert set(result["views"]) == set(FEATURE_VIEWS)
    for name, view in FEATURE_VIEWS.items():
        told = result["views"][name]
        assert told["rows"] == len(landed.read(view.table, DAY)) > 0
        assert told["digest"] == landed.digest(view.table, DAY)
        assert told["verified"] == min(told["rows"], materialize.SAMPLE_ROWS)
        assert watermarks.get(db, "m", name) == DAY
    assert result["rows"] == sum(told["rows"] for told in result["views"].values())
    for rows in online(settings, landed).values():
        assert set(rows["event_timestamp"]) == {known_by(DAY)}


def test_running_it_again_changes_nothing(run: Run, landed: Lake, settings: Settings) -> None:
    first = run()
    served = online(settings, landed)
    assert run() == first
    for name, rows in online(settings, landed).items():
        pd.testing.assert_frame_equal(rows, served[name])


Ended = tuple[dict[str, Any], dict[str, pd.DataFrame]]


@pytest.fixture(scope="module")
def undisturbed(template: Path, copy_lake: Copy, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The result of a day that nothing disturbed, and what is online after it."""
    home = tmp_path_factory.mktemp("undisturbed")
    lake = copy_lake(template, home)
    settings = Settings(home=home, market="m")
    db = Database.open(settings.database)
    db.migrate()
    return materialize_day(lake, db, settings, market="m", day=DAY, at=AT), online(settings, lake)


class Killed(BaseException):
    """Not an Exception, so that nothing on the way can mistake it for an error to handle."""


STEPS = [
    ("before the build", build, "build_days", 1, False),
    ("while partitions are written", Lake, "write", 3, False),
    ("after the build", build, "build_days", 1, True),
    ("before the views are applied", FeatureStore, "apply", 1, False),
    ("after the views are applied", FeatureStore, "apply", 1, True),
    ("between two views online", FeatureStore, "_refuse_future", 2, False),
    ("after the first view is online", PassthroughProvider, "materialize_single_feature_view", 1, True),
    ("after all views are online", FeatureStore, "materialize", 1, True),
    ("between two read-backs", FeatureStore, "verify_sample", 2, False),
    ("before the first watermark", watermarks, "advance", 1, False),
    ("between two watermarks", watermarks, "advance", 2, True),
]


@pytest.mark.parametrize(("step", "owner", "name", "call", "after"), STEPS, ids=[step[0] for step in STEPS])
def test_killed_at_any_step_and_run_again_it_ends_the_same(
    step: str,
    owner: Any,
    name: str,
    call: int,
    after: bool,
    run: Run,
    landed: Lake,
    db: Database,
    settings: Settings,
    undisturbed: Ended,
) -> None:
    true, calls = getattr(owner, name), 0

    def dies(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Killed(step)
        answer = true(*args, **kwargs)
        if calls == call:
            raise Killed(step)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, dies)
        with pytest.raises(Killed, match=step):
            run()
    marked = {view: watermarks.get(db, "m", view) for view in FEATURE_VIEWS}
    assert None in marked.values(), "no watermark may claim what was not finished"
    result = run()
    assert {view: watermarks.get(db, "m", view) for view in FEATURE_VIEWS} == dict.fromkeys(FEATURE_VIEWS, DAY)
    assert result == undisturbed[0]
    for view, rows in online(settings, landed).items():
        pd.testing.assert_frame_equal(rows, undisturbed[1][view])


def test_a_store_that_does_not_give_back_what_was_written_stops_the_watermark(
    run: Run, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = FeatureStore._read

    def lies(self: FeatureStore, view: Any, entities: pd.DataFrame) -> dict[str, list[Any]]:
        read = true(self, view, entities)
        read["agent_bookings_28d"] = [-1 for _ in read["agent_bookings_28d"]] if "agent_bookings_28d" in read else []
        return read

    monkeypatch.setattr(FeatureStore, "_read", lies)
    with pytest.raises(StoreUnavailable, match=r"agent_bookings_28d of .* -1 instead of"):
        run()
    assert watermarks.all_views(db, "m") == {}


def test_a_day_that_comes_late_is_known_from_the_watermark_on_and_does_not_set_the_store_back(
    run: Run, landed: Lake, db: Database, settings: Settings
) -> None:
    late = DAY - timedelta(days=1)
    run(late)
    run(DAY)
    served = online(settings, landed)
    former = landed.read(AGENTS.table, late)
    landed.write("bookings", late, landed.read("bookings", late).assign(value_micros=123))
    run(late)
    assert watermarks.get(db, "m", "agent_history") == DAY
    rows = landed.read(AGENTS.table, late)
    old = rows[rows["created_timestamp"] == known_by(late)].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, former)
    assert set(rows["created_timestamp"]) == {known_by(late), known_by(DAY)}
    for name, frame in online(settings, landed).items():
        pd.testing.assert_frame_equal(frame, served[name])


def test_importing_history_again_keeps_what_was_known_of_days_already_served(
    run: Run, landed: Lake, db: Database, settings: Settings
) -> None:
    early, day = DAY - timedelta(days=2), DAY - timedelta(days=1)
    run(day)
    run(DAY)
    before = {each: landed.digest(AGENTS.table, each) for each in (early, day, DAY)}
    materialize_history(landed, db, settings, market="m", first=early, last=DAY, at=AT)
    assert {each: landed.digest(AGENTS.table, each) for each in before} == before, "nothing came out otherwise"
    landed.write("bookings", early, landed.read("bookings", early).assign(value_micros=123))
    materialize_history(landed, db, settings, market="m", first=early, last=DAY, at=AT)
    rows = landed.read(AGENTS.table, day)
    assert set(rows["created_timestamp"]) == {known_by(day), known_by(DAY)}
    assert set(landed.read(AGENTS.table, DAY)["created_timestamp"]) == {known_by(DAY)}


def test_a_day_of_which_nothing_landed_is_refused(run: Run, landed: Lake) -> None:
    with pytest.raises(NoData, match="2035-01-01"):
        run(date(2035, 1, 1))
    assert date(2035, 1, 1) not in landed.days(AGENTS.table)


def test_after_an_import_an_entity_last_seen_weeks_ago_is_served_the_row_that_still_counts(
    full: Lake, db: Database, settings: Settings
) -> None:
    gone, last = date(2024, 2, 1), date(2024, 3, 5)
    for table in ("opportunities", "clicks", "bookings"):
        for day in set(days_between(gone, last)) & set(full.days(table)):
            rows = full.read(table, day)
            kept = rows["click_id"].isna() if table == "bookings" else rows["hotel_id"] != "h1"
            full.write(table, day, rows[kept].reset_index(drop=True))
    materialize_history(full, db, settings, market="m", first=date(2024, 1, 25), last=last, at=AT)
    view = FEATURE_VIEWS["hotel_traffic"]
    until = max(day for day in full.days(view.table) if "h1" in set(full.read(view.table, day)["hotel_id"]))
    assert timedelta(days=settings.lateness_days) < last - until < timedelta(days=view.ttl_days)
    asked = pd.DataFrame({"hotel_id": ["h1"], "partner": ["google"]})
    served = FeatureStore.open(settings, full).read_online(view.name, asked, day=last)
    rows = full.read(view.table, until)
    offline = rows[rows["hotel_id"] == "h1"].reset_index(drop=True)
    names = list(view.feature_names)
    pd.testing.assert_frame_equal(served[names], offline[names].astype("float64"))


def test_history_in_bulk_is_the_same_as_day_by_day(
    landed: Lake, db: Database, settings: Settings, template: Path, tmp_path: Path, copy_lake: Copy
) -> None:
    first = DAY - timedelta(days=1)
    by_day = [materialize_day(landed, db, settings, market="m", day=day, at=AT) for day in days_between(first, DAY)]
    bulk = tmp_path / "bulk"
    other = copy_lake(template, bulk)
    (bulk / "home").mkdir()
    ledger = Database.open(f"sqlite:///{bulk / 'ledger.db'}")
    ledger.migrate()
    at_once = settings.model_copy(update={"home": bulk / "home"})
    result = materialize_history(other, ledger, at_once, market="m", first=first, last=DAY, at=AT)
    assert result["rows"] == sum(day["rows"] for day in by_day)
    for view in FEATURE_VIEWS.values():
        for day in days_between(first, DAY):
            assert other.digest(view.table, day) == landed.digest(view.table, day)
    assert watermarks.all_views(ledger, "m") == watermarks.all_views(db, "m")
    expected = online(settings, landed)
    for name, rows in online(at_once, other).items():
        pd.testing.assert_frame_equal(rows, expected[name])
