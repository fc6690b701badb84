"""The campaign of detection counts what people are told, against the same market without the scenario."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import detection, detection_world
from benchmarks.common import run
from benchmarks.detection_page import page
from benchmarks.detection_peer import stock_drift
from benchmarks.detection_rows import _NUMBER, Before, _joined, _Kept, _Said, read_once
from benchmarks.detection_summary import Alarm, alarms, figures, judge, quiet, quiet_table, table
from benchmarks.detection_truth import RIGHT, expected_profit_micros, likely, names_rightly
from benchmarks.detection_world import BARE, QUIET_PARTS, Size, Watched, build_base, watch_scenario
from ml.core.units import known_by
from ml.features.tally import Tally
from ml.ledger import reports
from ml.market.simulator.day import resolve
from ml.market.simulator.scenarios import SCENARIOS, parse_scenarios
from ml.market.simulator.scorecard import expected_profit
from ml.market.simulator.source import FIRST_DAY, make_market

DAY = date(2026, 3, 19)
DAYS = ["2026-03-02", "2026-03-03", "2026-03-04"]
CALM = Watched(DAYS, {}, [{}, {}, {"calibration": "warning"}], profit_micros=[100, 100, 100], peer=[0.0, 0.6, 0.0])
WAR = Watched(
    DAYS,
    {"mail": "warning"},
    [{"mail": "warning"}, {"drift:rivals": "warning", "mail": "warning"}, {"drift:rivals": "critical", "calibration": "warning"}],
    instants={"drift:rivals": "2026-03-02T06:00:00+00:00"},
    profit_micros=[70, 60, 50],
    peer=[0.4, 0.7, 0.8],
)  # fmt: skip


def test_an_alarm_is_an_incident_that_opens_or_becomes_critical_and_not_one_that_stood_before() -> None:
    assert alarms(WAR) == [
        Alarm(1, "drift:rivals", "warning"),
        Alarm(2, "calibration", "warning"),
        Alarm(2, "drift:rivals", "critical"),
    ]


def test_what_the_quiet_market_is_told_on_the_same_day_is_no_alarm_of_the_scenario() -> None:
    found = judge("price_war", WAR, CALM)
    assert (found.first, found.cause, found.right, found.critical) == (2, "drift:rivals", 2, 1)
    assert found.hours == 6.0
    assert found.peer == 3
    assert judge("price_war", CALM, CALM).first is None


def test_money_is_lost_until_the_day_of_the_first_alarm_or_until_the_watch_ends() -> None:
    assert judge("price_war", WAR, CALM).lost_micros == 30 + 40
    assert judge("price_war", replace(WAR, open=CALM.open), CALM).lost_micros == 30 + 40 + 50


def test_another_cause_is_found_and_not_named_right() -> None:
    found = judge("site_bug", WAR, CALM)
    assert (found.first, found.right) == (2, None)
    told = figures({"site_bug": [found, found]}, [])
    assert (told["site_bug_found"].ours, told["site_bug_named_right"].ours) == (1.0, 0.0)
    assert "| `site_bug` | 2 of 2 | 2 | 6 h | `drift:rivals` 2 | 0 of 2 | 0 | 2 of 2 | 3 |" in table(
        {"site_bug": [found, found]}
    )


def test_a_miss_stays_in_the_table_without_days() -> None:
    missed = judge("price_war", replace(CALM, profit_micros=[100, 100, -900_000]), CALM)
    told = figures({"price_war": [missed]}, [])
    assert told["price_war_found"].ours == 0.0
    assert "price_war_days" not in told
    assert "| `price_war` | 0 of 1 | - | - | - | 0 of 1 | 1 or the end | 0 of 1 | - |" in table({"price_war": [missed]})


def test_every_critical_alarm_of_a_season_counts_against_the_limit_of_none() -> None:
    told = figures({"season_up": [judge("season_up", WAR, CALM)]}, [])
    assert (told["season_up_critical"].ours, told["season_up_critical"].limit) == (1.0, 0.0)


def test_quiet_days_count_by_the_month() -> None:
    told = figures({}, [quiet(WAR), quiet(CALM)])
    assert told["quiet_critical"].ours == pytest.approx(365.25 / 12 / 6, abs=0.01)
    assert told["quiet_critical"].peer == pytest.approx(365.25 / 12 * 3 / 6, abs=0.01)
    assert told["quiet_critical"].limit == 1.0
    assert "| `drift:rivals` | 5.07 | 5.07 |" in quiet_table([quiet(WAR), quiet(CALM)])


def test_every_scenario_has_causes_that_name_it() -> None:
    assert set(RIGHT) == set(SCENARIOS)
    assert names_rightly("tracking_outage", "drift:tracking")
    assert not names_rightly("tracking_outage", "drift:unknown")
    assert likely("completeness") == ""


def test_a_commission_is_charged_to_the_profit_and_not_the_whole_partner() -> None:
    day = FIRST_DAY + timedelta(days=30)
    free = resolve(make_market(7, 20, 3_000, ()), day, {})
    charged = resolve(make_market(7, 20, 3_000, parse_scenarios([f"net_cpa@{day}"])), day, {})
    assert expected_profit_micros(free) == round(expected_profit(free) * 1e6)
    assert expected_profit(charged) * 1e6 < expected_profit_micros(charged) < 1.5 * expected_profit_micros(free)


class _Tables:
    """A lake whose bookings cost ten times as much on the last day, in half of the columns."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def days(self, table: str) -> list[date]:
        return [FIRST_DAY + timedelta(days=n) for n in range(15)] if table == "booking_events" else []

    def read(self, _: str, day: date) -> pd.DataFrame:
        rng = np.random.default_rng(day.toordinal())
        amounts = rng.normal(100, 10, 200) * (self.factor if day == self.days("booking_events")[-1] else 1.0)
        return pd.DataFrame({"kind": ["cancelled", "stayed"] * 100, "amount_micros": amounts})


@pytest.mark.parametrize(("factor", "share"), [(1.0, 0.0), (10.0, 0.5)])
def test_stock_evidently_counts_columns_by_its_own_defaults(factor: float, share: float) -> None:
    found = stock_drift(_Tables(factor), FIRST_DAY + timedelta(days=14), seed=1)
    assert (found.share, found.drifted) == (share, share >= 0.5)


def test_a_file_delivered_twice_is_found_and_the_quiet_market_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a champion, so that it takes seconds: the steps, the copies and the ledger are the real ones."""
    monkeypatch.setattr(detection_world, "crown", lambda *_: None)
    monkeypatch.setattr(detection_world, "SETTLING_DAYS", 1)
    size = Size(opportunities=300, hotels=20, quiet_days=0, days=1, peer_every=0, onset=3)
    base = tmp_path / "base"
    build_base(base, 201, size)
    kept = _files(base / BARE)
    calm, late = (watch_scenario(base, tmp_path / name, name, 201, size) for name in ("quiet", "report_delay"))
    assert [alarm for alarm in alarms(calm) if alarm.severity == "critical"] == []
    found = judge("report_delay", late, calm)
    assert (found.first, found.cause, found.right, found.lost_micros) == (1, "ingest:repeated", 1, 0)
    assert _files(base / BARE) == kept


def test_rows_read_once_for_many_days_give_each_day_the_numbers_that_its_own_rows_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection_world, "crown", lambda *_: None)
    size = Size(opportunities=300, hotels=20, quiet_days=0, days=1, peer_every=0, onset=40)
    build_base(tmp_path, 202, size)
    told = {}
    shared = Before(FIRST_DAY + timedelta(days=39))
    for name, first in (("alone", 39), ("again", 38), ("first of two", 38), ("second of two", 38)):
        home = tmp_path / name
        detection_world.fork(tmp_path / BARE, home)
        platform, clock = detection_world._open(home, 202, size)
        days = [FIRST_DAY + timedelta(days=n) for n in range(first, 40)]
        once = read_once(days[0], days[-1], shared if name.endswith("two") else None)
        with once if name != "alone" else nullcontext():
            for day in days:
                clock.day = day
                detection_world._judge(platform, day)
        told[name] = reports.get(platform.db, platform.market, days[-1])
    alone, again, first_of_two, second_of_two = (report.numbers for report in told.values() if report)
    assert {str(key).split("'")[1] for key in shared.read} == {"decisions", "tally"}, "they were kept for the second"
    assert first_of_two == second_of_two == again
    assert {key for key in alone if alone[key] != again[key]} <= {"columns", "reports"}
    assert again["watchers"]
    for ours, theirs in zip(again["columns"], alone["columns"], strict=True):
        assert (ours["name"], ours["past_windows"]) == (theirs["name"], theirs["past_windows"])
        assert ours["score"] == pytest.approx(theirs["score"], abs=0.01, nan_ok=True)


def test_a_partner_that_comes_when_ways_part_is_counted_beside_those_before_it() -> None:
    none = np.zeros(2, dtype=np.int64)
    before = Tally(np.array([[3, 1], [2, 2]]), none, none, None, ("google", "trivago"))
    after = Tally(np.array([[4, 5], [6, 7]]), none, none, None, ("amber", "trivago"))
    both = _joined(before, after)
    assert both.labels == ("amber", "google", "trivago")
    assert both.counts.tolist() == [[0, 3, 1], [0, 2, 2], [4, 0, 5], [6, 0, 7]]


def test_rows_of_a_year_before_move_with_the_judged_day_and_those_of_the_champion_s_training_stay() -> None:
    """Else a campaign read the clicks of last year for those that the champion had learned from, and none were there."""
    kept = _Kept(date(2026, 3, 19), date(2026, 3, 29))
    day, trained = date(2026, 3, 19), date(2026, 3, 4)
    assert kept._until(day, known_by(day)) == date(2026, 3, 29)
    assert kept._until(day - timedelta(days=364), known_by(day)) == date(2026, 3, 29) - timedelta(days=364)
    assert kept._until(trained, known_by(trained)) == trained


def test_what_clicks_told_of_delays_is_asked_once_and_anew_of_other_clicks() -> None:
    kept, answers = _Kept(DAY, DAY), itertools.count(1)
    kept._completion_of = lambda *_, **__: next(answers)
    one, other = (pd.DataFrame({_NUMBER: numbers}) for numbers in ([1, 2], [2, 3]))
    early, late = known_by(DAY), known_by(DAY + timedelta(days=1))
    told = [
        kept.completion_of(clicks, as_of=at) for clicks, at in ((one, early), (one, early), (other, early), (one, late))
    ]
    assert told == [1, 1, 2, 3]
    unnumbered = pd.DataFrame({"partner": ["google"]})
    assert [kept.completion_of(unnumbered, as_of=early) for _ in range(2)] == [4, 5]


class _Half:
    """A model that halves a rate, and counts the rows that it was asked about."""

    outputs = ("p",)

    def __init__(self) -> None:
        self.asked = 0

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        self.asked += len(rows)
        return pd.DataFrame({"p": rows["rate"] / 2 / rows["position"]}, index=rows.index)


def test_a_champion_is_asked_once_about_each_row_and_anew_where_the_place_is_another() -> None:
    said, model = _Said(), _Half()
    said._predict = lambda task, rows: task.predict(rows)
    said._loaded["digest"] = {"half": model}
    rows = pd.DataFrame({"rate": [2.0, 4.0, 8.0, 16.0], "position": [1, 2, 1, 4], _NUMBER: range(4)})
    first, second = rows.iloc[:3], rows.iloc[[3, 1, 2]]
    assert said.predict(model, first)["p"].tolist() == [1.0, 1.0, 4.0]
    pd.testing.assert_frame_equal(said.predict(model, second), model.predict(second))
    assert model.asked == 4 + len(second), "three rows, the fourth, and what this test asked itself"
    assert said.predict(model, rows.assign(position=1))["p"].tolist() == [1.0, 2.0, 4.0, 8.0]
    other = _Half()
    assert said.predict(other, first)["p"].tolist() == [1.0, 1.0, 4.0]
    assert other.asked == 3, "a model that is not kept is asked itself"


def _files(folder: Path) -> list[tuple[Path, bytes]]:
    return sorted((path, path.read_bytes()) for path in folder.rglob("*.parquet"))


def _given(folder: Path, **others: Any) -> argparse.Namespace:
    size = Size()
    defaults = {
        "seeds": 2, "first_seed": 301, "only": ["price_war"], "days": 3, "quiet_days": 12, "workers": 2, "keep": folder, "bases": folder / "bases",
        "opportunities": size.opportunities, "peer_every": 7, "write": folder / "page.md",
    }  # fmt: skip
    return argparse.Namespace(**(defaults | others))


def test_the_command_watches_each_job_once_and_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def stand_in(
        names: Sequence[str], seed: int, _bases: Path, _size: Size, watched: Callable[[str, str], None]
    ) -> None:
        for name in names:
            asked.append((name, seed))
            watched(name, json.dumps(asdict(WAR if name == "price_war" else CALM)))

    monkeypatch.setattr(detection, "_child", stand_in)
    told = detection.measure(_given(tmp_path / "keep"))
    assert told["price_war_days"].runs == (2.0, 2.0)
    assert told["quiet_days"].ours == 3.0 * 2 * QUIET_PARTS
    assert sorted(set(asked)) == sorted(asked)
    assert sum(name == "base" for name, _ in asked) == 2
    text = (tmp_path / "keep" / "page.md").read_text()
    assert "| `price_war` | 2 of 2 |" in text
    assert "Seeds: 301, 302." in text
    asked.clear()
    assert detection.measure(_given(tmp_path / "keep")) == told
    assert asked == []


def test_a_run_adds_its_seeds_to_those_that_were_watched_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_in(
        names: Sequence[str], _seed: int, _bases: Path, _size: Size, watched: Callable[[str, str], None]
    ) -> None:
        for name in names:
            watched(name, json.dumps(asdict(WAR if name == "price_war" else CALM)))

    monkeypatch.setattr(detection, "_child", stand_in)
    told = detection.measure(_given(tmp_path))
    again = detection.measure(_given(tmp_path, first_seed=302, seeds=3))
    assert (len(told["price_war_days"].runs), len(again["price_war_days"].runs)) == (2, 4)
    assert again["quiet_days"].ours == 2 * told["quiet_days"].ours
    assert again["quiet_critical"].peer == told["quiet_critical"].peer
    text = (tmp_path / "page.md").read_text()
    assert "| `price_war` | 4 of 4 |" in text
    assert "Seeds: 301, 302, 303, 304." in text
    other = detection.measure(_given(tmp_path, first_seed=305, seeds=1, days=2))
    assert len(other["price_war_days"].runs) == 1, "markets of another size are another campaign"


def test_a_scenario_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(SystemExit, match="there is no scenario 'flood'; choose of season_up"):
        run("detection", detection.measure, arguments=detection._arguments, argv=["--only", "flood"])


def test_what_rules_were_made_after_is_told_apart_from_what_proves_them() -> None:
    found = {"price_war": [judge("price_war", WAR, CALM)] * 2, "season_up": [judge("season_up", CALM, CALM)]}
    learned = page(found, [], seeds=[101], size=Size(), argv=[], name="page.json")
    proven = page(found, [], seeds=[101, 104], size=Size(), argv=[], name="page.json", unseen=(found, [quiet(CALM)]))
    assert "nothing was learned" not in learned
    assert "are the proof: 2 of 2 faults were found, 2 were named right, critical alarms on 1 seasons: 0" in proven
    assert "a quiet month had 0.00 critical alarms and 10.15 warnings." in proven


def test_a_run_without_a_quiet_year_says_so() -> None:
    found = {"price_war": [judge("price_war", WAR, CALM)]}
    told = page(found, [], seeds=[101], size=Size(), argv=["--json"], name="page.json")
    assert "Not watched in this run." in told
    assert "Not watched in this run: `season_up`, `season_down`, `rival_bid_cut`" in told
