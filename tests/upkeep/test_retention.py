"""What is older than the settings keep goes, and nothing that the platform still needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ml import status
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.errors import StoreUnavailable
from ml.evaluation import tracking
from ml.ledger import champion, decisions, incidents, partitions, upkeep, versions
from ml.ledger.champion import Champion
from ml.market.tables import TABLES
from ml.platform import Platform
from ml.retention import clean_up, day_of, kinds, needed_days
from ml.steps.watch_series import SERIES_DAYS
from tests.upkeep.conftest import NOW, New, with_clock

KINDS = ("files", "servers")
NEWEST = date(2026, 3, 8)


def landed(new: New, kind: str = "files", **settings: object) -> Platform:
    """A platform whose newest market day is NEWEST."""
    platform = new(kind, **settings)
    platform.db.migrate()
    entry = partitions.PartitionEntry("clicks", Digest("a" * 64), 1, 1, 0, {})
    partitions.land(platform.db, "m0", NEWEST, [entry], NOW)
    return platform


def put(platform: Platform, pattern: str, ages: range | list[int], *, store: str = "lake") -> None:
    """A small file for each age in days, at a key with `{day}` in it."""
    where = platform.lake.blobs if store == "lake" else platform.blobs
    for age in ages:
        where.put(pattern.format(day=NEWEST - timedelta(days=age)), b"12345")


def ages(platform: Platform, prefix: str, *, store: str = "lake") -> list[int]:
    where = platform.lake.blobs if store == "lake" else platform.blobs
    return sorted((NEWEST - day).days for key in where.list(prefix) if (day := day_of(key)))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_keeps_the_days_of_its_own_setting_and_the_day_itself_counts(kind: str, new: New) -> None:
    platform = landed(
        new, kind, keep_quarantine_days=5, keep_reports_days=3, keep_replaced_days=2, keep_decisions_days=100
    )  # fmt: skip
    put(platform, "m0/quarantine/day={day}/part-0.parquet", range(8))
    put(platform, "m0/bid_decisions/day={day}/" + "ab.parquet", [0, 50, 99, 100, 400])
    put(platform, "reports/m0/{day}.html", range(6), store="blobs")
    put(platform, "reports/m0/{day}-traffic.html", range(6), store="blobs")
    put(platform, "replaced/m0/google/{day}/bids.csv", range(4), store="blobs")
    told = clean_up(platform)
    assert ages(platform, "m0/quarantine/") == [0, 1, 2, 3, 4]
    assert ages(platform, "m0/bid_decisions/") == [0, 50, 99]
    assert ages(platform, "reports/m0/", store="blobs") == [0, 0, 1, 1, 2, 2]
    assert ages(platform, "replaced/m0/", store="blobs") == [0, 1]
    assert told["removed"] == {
        "quarantine": {"files": 3, "bytes": 15},
        "bid_decisions": {"files": 2, "bytes": 10},
        "reports": {"files": 6, "bytes": 30},
        "replaced bids": {"files": 2, "bytes": 10},
    }
    assert told["space"]["quarantine"] == {"files": 5, "bytes": 25}
    assert told["space"]["platform database"]["bytes"] > 0


def test_a_dry_run_says_what_the_next_run_does_and_does_nothing(new: New) -> None:
    platform = landed(new, keep_quarantine_days=2)
    put(platform, "m0/quarantine/day={day}/part-0.parquet", range(5))
    said = clean_up(platform, dry_run=True)
    assert ages(platform, "m0/quarantine/") == [0, 1, 2, 3, 4]
    assert upkeep.last(platform.db, "clean_up", "m0") is None
    done = clean_up(platform)
    assert (said["removed"], said["kept_from"]) == (done["removed"], done["kept_from"])
    assert (said["dry_run"], done["dry_run"]) == (True, False)


def test_a_second_run_removes_nothing_and_finds_the_same_space(new: New) -> None:
    platform = landed(new, keep_quarantine_days=2, keep_reports_days=1)
    put(platform, "m0/quarantine/day={day}/part-0.parquet", range(5))
    put(platform, "reports/m0/{day}.html", range(5), store="blobs")
    first, second = clean_up(platform), clean_up(platform)
    assert second["removed"] == {}
    changing = {"platform database"}  # it has a row more
    assert {k: v for k, v in second["space"].items() if k not in changing} == {
        k: v for k, v in first["space"].items() if k not in changing
    }


def test_windows_of_training_and_drift_stay_however_short_the_settings_are(new: New) -> None:
    short = dict.fromkeys(("keep_traffic_days", "keep_bookings_days", "keep_features_days", "keep_decisions_days"), 1)
    platform = landed(new, **short)
    needed = needed_days()
    for table in ("clicks", "opportunities", "bookings", "features_hotel_traffic"):
        days = needed.get(table, needed["bookings"])
        put(platform, f"m0/{table}/" + "day={day}/part-0.parquet", [0, days - 1, days, days + 1])
    put(platform, "m0/bid_decisions/day={day}/ab.parquet", [0, 89, 90])
    told = clean_up(platform)
    for table in ("clicks", "opportunities", "bookings", "features_hotel_traffic"):
        assert ages(platform, f"m0/{table}/") == [0, needed.get(table, needed["bookings"]) - 1]
    assert ages(platform, "m0/bid_decisions/") == [0, 89]
    assert {one["why"] for one in told["kept_from"].values()} == {"training, judging or drift"}


def test_every_table_of_the_market_has_a_setting_and_a_need_that_covers_what_reads_it(new: New) -> None:
    from ml.evaluation.holdout import DELAY_DAYS
    from ml.features.build import _REACH_DAYS
    from ml.features.rolling import LONGEST_WINDOW_DAYS
    from ml.models.maturity import LOOKBACK_DAYS
    from ml.models.rows import BOOKING_DAYS, CLICK_DAYS, OFFER_DAYS
    from ml.steps.judge_bids import LEARNED_DAYS
    from ml.steps.watch_extras import LAST_YEAR_DAYS
    from monitoring.windows import WINDOWS

    needed = needed_days()
    assert set(needed) == {*TABLES, "settlements"}
    for table in ("bookings", "booking_events", "settlements"):
        assert needed[table] >= BOOKING_DAYS + LONGEST_WINDOW_DAYS
        assert needed[table] >= LOOKBACK_DAYS + _REACH_DAYS
    for table in ("clicks", "opportunities"):
        assert needed[table] > max(CLICK_DAYS, OFFER_DAYS, DELAY_DAYS, LEARNED_DAYS, LAST_YEAR_DAYS)
        assert needed[table] > WINDOWS.year_of_use[0]
    assert {kind.name for kind in kinds(landed(new))} >= {*needed, "features", "bid_decisions", "quarantine", "reports"}


def test_an_open_incident_keeps_its_days_and_those_that_its_pages_draw(new: New) -> None:
    platform = landed(new, keep_quarantine_days=5)
    put(platform, "m0/quarantine/day={day}/part-0.parquet", [0, 4, 5, 20, 20 + SERIES_DAYS, 21 + SERIES_DAYS])
    raised, _ = incidents.raise_incident(
        platform.db, "m0", "drift:feed", day=NEWEST - timedelta(days=20), severity="warning", title="t", details={}, at=NOW
    )  # fmt: skip
    told = clean_up(platform)
    assert ages(platform, "m0/quarantine/") == [0, 4, 5, 20, 20 + SERIES_DAYS]
    assert told["kept_from"]["quarantine"]["why"] == "an open incident"
    incidents.resolve(platform.db, "m0", raised.cause, day=NEWEST, at=NOW, reason="over")
    clean_up(platform)
    assert ages(platform, "m0/quarantine/") == [0, 4]


def test_what_is_of_no_kind_of_another_market_or_without_a_day_stays(new: New) -> None:
    every = {name: 1 for name in type(new("files").settings).model_fields if name.startswith("keep_")}
    platform = landed(new, **every)
    old = NEWEST - timedelta(days=4000)
    lake = [f"m1/quarantine/day={old}/part-0.parquet", f"m0/of_a_plugin/day={old}/x", "m0/quarantine/notes.txt"]
    blobs = [
        "bundles/ab/manifest.json", f"bids/m0/google/{old}/bids.csv", "bids/m0/serving/ab", f"reports/m0/scorecard/{old}.json",
        f"reports/m1/{old}.html",
    ]  # fmt: skip
    for key in lake:
        platform.lake.blobs.put(key, b"x")
    for key in blobs:
        platform.blobs.put(key, b"x")
    clean_up(platform)
    assert (platform.lake.blobs.list(""), platform.blobs.list("")) == (sorted(lake), sorted(blobs))


def test_days_are_counted_from_the_newest_landed_so_that_a_market_that_stands_still_loses_nothing(new: New) -> None:
    platform = landed(new, keep_quarantine_days=5)
    put(platform, "m0/quarantine/day={day}/part-0.parquet", range(5))
    years_later = with_clock(platform, FixedClock(NOW + timedelta(days=2000)))
    assert clean_up(years_later)["removed"] == {}
    empty = new("files", keep_quarantine_days=1)
    empty.db.migrate()
    put(empty, "m0/quarantine/day={day}/part-0.parquet", range(5))
    assert (clean_up(empty)["newest"], ages(empty, "m0/quarantine/")) == (None, [0, 1, 2, 3, 4])


def test_a_clean_up_that_broke_off_leaves_the_newer_days_and_goes_on(new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = landed(new, keep_quarantine_days=1)
    put(platform, "m0/quarantine/day={day}/part-0.parquet", range(6))
    whole, deleted = platform.lake.blobs.delete, []

    def fail_after_two(key: str) -> None:
        if len(deleted) == 2:
            raise StoreUnavailable("the store went away")
        deleted.append(key)
        whole(key)

    monkeypatch.setattr(platform.lake.blobs, "delete", fail_after_two)
    with pytest.raises(StoreUnavailable, match="went away"):
        clean_up(platform)
    assert ages(platform, "m0/quarantine/") == [0, 1, 2, 3], "the oldest went first"
    monkeypatch.undo()
    clean_up(platform)
    assert ages(platform, "m0/quarantine/") == [0]


def reign(platform: Platform, run_id: str) -> Champion:
    digest, day = Digest("c" * 64), NEWEST
    versions.register(platform.db, versions.Version(digest, "m0", day, "u", digest, day, {}, run_id), NOW)
    decision = decisions.Decision("m0", day, digest, None, 0, decisions.Verdict.PASS, [], Digest("e" * 64), None)
    made = decisions.record(platform.db, decision, NOW)
    return champion.move(platform.db, "m0", digest=digest, expected_generation=0, decision_id=made, day=day, at=NOW)


def test_old_runs_of_mlflow_go_with_their_plots_and_those_of_champions_stay(new: New) -> None:
    platform = landed(new, keep_mlflow_days=30)

    def run(name: str) -> str:
        return tracking.log_run(
            platform.settings, name=name, params={}, metrics={}, plots=lambda: {"a.png": b"png"}, tags={"digest": name}
        )  # fmt: skip

    kept, gone = run("champion"), run("held")
    assert kept
    assert gone
    reign(platform, kept)
    artefacts = platform.settings.home / "mlflow" / "artifacts"
    assert len(list(artefacts.rglob("a.png"))) == 2
    now = with_clock(platform, FixedClock(datetime.now(UTC)))
    assert "mlflow runs" not in clean_up(now)["removed"], "they are new"
    later = with_clock(platform, FixedClock(datetime.now(UTC) + timedelta(days=31)))
    assert clean_up(later, dry_run=True)["removed"]["mlflow runs"]["files"] == 1
    assert clean_up(later)["removed"]["mlflow runs"]["files"] == 1
    assert [path for path in artefacts.rglob("a.png") if kept in path.parts] == list(artefacts.rglob("a.png"))
    assert "mlflow runs" not in clean_up(later)["removed"]


def test_the_space_is_a_figure_of_the_status(new: New) -> None:
    platform = landed(new)
    assert status.overview(platform, days=3)["space"] is None
    put(platform, "m0/clicks/day={day}/part-0.parquet", range(3))
    clean_up(platform)
    found: Mapping[str, Any] = status.overview(platform, days=3)["space"]
    assert found["kinds"]["clicks"] == {"files": 3, "bytes": 15}
    assert found["bytes"] == sum(one["bytes"] for one in found["kinds"].values())
    assert found["at"] == NOW.isoformat()
