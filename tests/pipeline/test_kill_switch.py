"""A kill switch is rehearsed without a trace, decides the next auctions at once, and stands until a person releases it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml import pipeline
from ml.bidding.publish import read_files, read_table
from ml.bidding.say import SaidBids
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.errors import NoData, UsageError
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, incidents, outbox, stages, switches, versions
from ml.ledger.publications import Publication
from ml.market.buckets import LEAD_BUCKETS, LOS_BUCKETS
from ml.market.tables import DEVICES
from ml.platform import Platform
from ml.promotion.bundle import Bundle
from ml.steps import publish, switched

AT = datetime(2026, 3, 6, tzinfo=UTC)
HOTELS = 20
PARTNERS = ("google", "trivago", "tripadvisor")
OLD, LIVE = Digest("a" * 64), Digest("c" * 64)


def table(partner: str, micros: int) -> pd.DataFrame:
    """The same bid in every cell; half of the hotels are sold in DE, half in FR."""
    cells = pd.MultiIndex.from_product(
        [[f"h{number:03d}" for number in range(1, HOTELS + 1)], DEVICES, LEAD_BUCKETS, LOS_BUCKETS],
        names=["hotel_id", "device", "lead_bucket", "los_bucket"],
    ).to_frame(index=False)
    market = cells["hotel_id"].map(lambda name: "DE" if name <= f"h{HOTELS // 2:03d}" else "FR")
    return cells.assign(
        partner=partner, market=market, clicks_seen=2, p_book=0.03, net_value_micros=4e8, bid_micros=micros
    )


class World:
    """A market with a champion, whose bids are the same in every cell, so that whose bids stand can be seen."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        first = platform.source.first_day()
        assert first is not None
        self.days = [first + timedelta(days=n) for n in range(6)]
        self.wanted, self.baseline = 900_000, 500_000

    def lives(self, day: date, micros: int | None = None, *, version: Digest = LIVE, **status: Any) -> None:
        """A market day runs; with `micros`, bids are published on it."""
        key = stages.StageKey(self.platform.market, "drift", day)
        stages.record(self.platform.db, key, status=status.get("drift", "done"), result={}, at=AT)
        for partner in PARTNERS if micros is not None else ():
            said = switched.say_as_is(self.platform, partner, table(partner, micros or 0))
            publish.publish_said(
                self.platform, day, partner, said, version=version, generation=1, policy=publish.bid_policy(self.platform)
            )  # fmt: skip

    def build(self, _: Platform, __: date, models: dict[str, Any], **___: Any) -> dict[str, SaidBids]:
        micros = self.baseline if models["value"] == "the baseline" else self.wanted
        return {partner: switched.say_as_is(self.platform, partner, table(partner, micros)) for partner in PARTNERS}

    def promote(self, digest: Digest, day: date) -> None:
        db, market = self.platform.db, self.platform.market
        live = champion.current(db, market)
        generation = live.generation if live else 0
        versions.register(db, versions.Version(digest, market, day, "u", Digest("d" * 64), day, {}, ""), AT)
        found = decisions.record(
            db,
            decisions.Decision(
                market, day, digest, live.digest if live else None, generation, Verdict.PASS, [], Digest("e" * 64), None
            ),
            AT,
        )
        champion.move(db, market, digest=digest, expected_generation=generation, decision_id=found, day=day, at=AT)

    def standing(self, partner: str) -> Publication:
        found = switched.standing(self.platform, partner, self.days[-1])
        assert found is not None
        return found

    def bids(self, partner: str, market: str = "") -> tuple[int, int]:
        """The lowest and the highest bid that stand, in a market."""
        stands = read_table(self.platform.blobs, self.standing(partner).uri)
        rows = stands[stands["market"] == market] if market else stands
        return int(rows["bid_micros"].min()), int(rows["bid_micros"].max())

    def causes(self) -> list[str]:
        return [one.cause for one in incidents.open_incidents(self.platform.db, self.platform.market)]

    def subjects(self) -> list[str]:
        return [mail.subject for mail in outbox.pending(self.platform.db)]

    def pull(self, level: int, **scope: str) -> dict[str, Any]:
        return pipeline.pull_switch(self.platform, level, why="too high", by="anna", **scope)

    def release(self, **scope: str) -> dict[str, Any]:
        return pipeline.release_switch(self.platform, why="mended", by="ben", **scope)

    def publish(self, day: date) -> dict[str, Any]:
        key = stages.StageKey(self.platform.market, "ingest", day)
        stages.record(self.platform.db, key, status="done", result={}, at=AT)
        return pipeline.publish_bids(self.platform, day)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    settings = load_settings(
        source="simulator", home=tmp_path, simulator_opportunities_per_day=600, simulator_hotels=HOTELS, smtp_port=9
    )
    it = World(Platform(settings, FixedClock(AT)))
    it.platform.db.migrate()
    it.promote(LIVE, it.days[0])
    models = {"value": "the model", "value_baseline": "the baseline"}
    monkeypatch.setattr("ml.promotion.bundle.read_bundle", lambda *_: Bundle(LIVE, {}, {}))
    monkeypatch.setattr("ml.promotion.bundle.load_models", lambda _, **_types: dict(models))
    monkeypatch.setattr(publish, "build_bids", it.build)
    monkeypatch.setattr(switched, "build_bids", it.build)
    return it


def published(world: World) -> dict[str, bytes]:
    home = world.platform.settings.home / "blobs" / "bids"
    return {path.as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_rehearsal_says_what_would_be_sent_and_writes_nothing(world: World, level: int) -> None:
    world.lives(world.days[0], 600_000)
    world.lives(world.days[1], 900_000, drift="held")
    before = published(world)
    found = pipeline.rehearse_switch(world.platform, level)
    assert published(world) == before
    assert switches.history(world.platform.db, world.platform.market, 9) == []
    assert (world.causes(), world.subjects()) == ([], [])
    sent = {0: 600_000, 1: 600_000, 2: 300_000, 3: 0}[level]
    assert found["spend_ratio"] == pytest.approx(sent / 900_000, rel=0.05)
    assert found["changed"] == found["cells"] == 3 * HOTELS * 105
    assert sorted(found["partners"]) == sorted(PARTNERS)
    assert found["partners"]["google"]["spend_ratio"] == pytest.approx(sent / 900_000, rel=0.05)


def test_after_a_pause_of_google_the_next_auctions_are_held_without_our_bids_there(world: World) -> None:
    world.lives(world.days[0], 900_000)
    found = world.pull(3, partner="google")
    assert found["published"] == ["google"]
    assert world.bids("google") == (0, 0)
    searched = world.platform.source.fetch(world.days[1])["opportunities"]
    google = searched["partner"] == "google"
    assert searched.loc[google, "bid_micros"].max() == 0
    assert not searched.loc[google, "shown"].any()
    assert searched.loc[~google, "bid_micros"].min() > 0


def test_the_partners_files_are_those_of_the_table_that_stands(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(3, partner="trivago")
    stands = world.standing("trivago")
    base = pd.read_csv(io.BytesIO(read_files(world.platform.blobs, stands.uri)["base_bids.csv"]))
    assert len(base) == HOTELS
    assert base["amount_micros"].max() == 0
    manifest = json.loads(world.platform.blobs.get(f"{stands.uri}/manifest.json"))
    assert manifest["rows"] == stands.rows == HOTELS * 105


def test_a_pause_of_one_market_leaves_the_others(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(3, point_of_sale="DE")
    for partner in PARTNERS:
        assert world.bids(partner, "DE") == (0, 0)
        assert world.bids(partner, "FR")[0] > 850_000


def test_freeze_sends_the_last_bids_of_a_day_that_raised_no_alarm(world: World) -> None:
    for day, micros in zip(world.days, (500_000, 600_000, 700_000, 900_000), strict=False):
        world.lives(day, micros, drift="held" if micros == 700_000 else "done")
    incidents.raise_incident(
        world.platform.db, world.platform.market, "predictions", day=world.days[3], severity="critical", title="t",
        details={}, at=AT,
    )  # fmt: skip
    world.pull(0)
    for partner in PARTNERS:
        assert world.bids(partner)[0] == pytest.approx(600_000, rel=0.03)
        assert world.standing(partner).day == world.days[3]


def test_freezing_bids_that_are_good_sends_them_as_they_are_to_the_last_byte(world: World) -> None:
    world.lives(world.days[0], 900_000)
    before = published(world)
    world.pull(0)
    assert published(world) == before
    assert world.standing("google").switches == (1,)


def test_revert_sends_the_bids_that_the_live_champion_published_first(world: World) -> None:
    world.lives(world.days[0], 400_000, version=OLD)
    world.lives(world.days[1], 600_000)
    world.lives(world.days[2], 900_000)
    world.pull(1, partner="google")
    assert world.bids("google")[0] == pytest.approx(600_000, rel=0.03)


def test_safe_bids_are_below_the_last_good_and_six_tenths_of_the_baselines_in_every_cell(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(2)
    for partner in PARTNERS:
        low, high = world.bids(partner)
        assert 0.9 * 300_000 < low <= high <= 300_000


@pytest.mark.parametrize(
    ("level", "said"), [(0, "no good bids were published before"), (1, "no snapshot of the champion's bids")]
)
def test_a_level_without_its_evidence_is_refused_in_one_sentence_and_changes_nothing(
    world: World, level: int, said: str
) -> None:
    world.lives(world.days[0], 900_000, version=OLD, drift="held")
    before = published(world)
    with pytest.raises(NoData, match=rf"{said} \(partner google\); nothing was changed; use level 3 \(pause\)"):
        world.pull(level)
    assert published(world) == before
    assert switches.active(world.platform.db, world.platform.market) == []
    assert world.causes() == []


def test_the_same_pull_again_changes_nothing_and_mails_nothing(world: World) -> None:
    world.lives(world.days[0], 600_000)
    world.lives(world.days[1], 900_000)
    world.pull(2)
    before, mails = published(world), world.subjects()
    again = world.pull(2)
    assert again["published"] == []
    assert published(world) == before
    assert world.subjects() == mails


def test_a_pull_that_was_killed_before_it_published_is_finished_by_the_next_one_or_by_the_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.lives(world.days[0], 900_000)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    finish: list[Callable[[], Any]] = [lambda: world.pull(3), lambda: world.publish(world.days[1])]
    for after in finish:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr("ml.steps.switch.publish_said", die)
            world.pull(3)
        assert world.bids("google")[0] > 0
        after()
        assert [world.bids(partner) for partner in PARTNERS] == [(0, 0)] * 3
        world.release()
        world.lives(world.days[0], 900_000)


def test_bids_that_were_being_published_while_the_switch_was_pulled_do_not_outlive_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.lives(world.days[0], 900_000)
    real = publish.publish_said

    def late(*arguments: Any, **more: Any) -> int:
        if not switches.active(world.platform.db, world.platform.market):
            world.pull(3)
        return real(*arguments, **more)

    monkeypatch.setattr(publish, "publish_said", late)
    world.publish(world.days[1])
    assert [world.bids(partner) for partner in PARTNERS] == [(0, 0)] * 3


def test_a_paused_partner_has_no_bids_in_the_daily_publication_and_the_result_says_so(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(3, partner="google")
    result = world.publish(world.days[1])
    assert world.standing("google").day == world.days[1]
    assert world.bids("google") == (0, 0)
    assert world.bids("trivago")[0] > 0
    said = "kill switch level 3 (pause) at google since 2025-01-06, by anna: no bids"
    assert result["switch"] == [said]
    assert said in result["reasons"]["google"]
    assert "trivago" not in result["reasons"]
    assert world.standing("trivago").switches == ()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_while_bids_are_frozen_reverted_or_safe_nothing_new_is_published_for_them(world: World, level: int) -> None:
    world.lives(world.days[0], 600_000)
    world.lives(world.days[1], 900_000, drift="held")
    world.pull(level, partner="google")
    stood = world.bids("google")
    result = world.publish(world.days[2])
    assert sorted(result["partners"]) == ["tripadvisor", "trivago"]
    assert world.standing("google").day == world.days[1]
    assert world.bids("google") == stood
    assert result["reasons"]["google"][0].endswith("by anna: the bids that stand are kept")


def test_a_frozen_market_keeps_its_bids_and_the_rest_of_the_partner_is_bid_on_anew(world: World) -> None:
    world.lives(world.days[0], 600_000)
    world.pull(0, partner="google", point_of_sale="DE")
    world.publish(world.days[1])
    assert world.standing("google").day == world.days[1]
    assert world.bids("google", "DE")[1] == pytest.approx(600_000, rel=0.03)
    assert world.bids("google", "FR")[0] == pytest.approx(900_000, rel=0.03)


def test_a_second_switch_never_loosens_a_higher_one(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(3, partner="google")
    assert world.pull(2)["published"] == ["tripadvisor", "trivago"]
    assert world.bids("google") == (0, 0)
    with pytest.raises(UsageError, match="release the higher switch"):
        world.pull(0, partner="google", point_of_sale="DE")
    world.publish(world.days[1])
    assert world.bids("google") == (0, 0)


@pytest.mark.parametrize("between", [False, True])
def test_where_the_higher_switch_is_released_the_wider_one_that_still_stands_takes_over(
    world: World, between: bool
) -> None:
    world.lives(world.days[0], 600_000)
    world.pull(3, partner="google")
    world.pull(1)
    if between:
        world.publish(world.days[1])
    world.release(partner="google")
    assert world.bids("google") == (0, 0)
    world.publish(world.days[2])
    assert world.bids("google")[0] == pytest.approx(600_000, rel=0.03)


def test_a_wider_switch_that_finds_no_evidence_leaves_the_bids_and_the_publication_says_so(world: World) -> None:
    world.lives(world.days[0], 600_000, version=OLD)
    world.pull(3, partner="google")
    world.publish(world.days[1])
    world.pull(1)
    world.release(partner="google")
    result = world.publish(world.days[1])
    assert world.bids("google") == (0, 0)
    assert any("no snapshot of the champion's bids (partner google)" in line for line in result["switch"])


@pytest.mark.parametrize("level", [0, 1])
def test_bids_that_a_pause_replaced_can_still_be_frozen_or_reverted_to(world: World, level: int) -> None:
    world.lives(world.days[0], 600_000)
    before = {name: read_table(world.platform.blobs, world.standing(name).uri) for name in PARTNERS}
    world.pull(3)
    assert world.bids("google") == (0, 0)
    world.pull(level)
    for name in PARTNERS:
        after = read_table(world.platform.blobs, world.standing(name).uri)
        assert after["bid_micros"].tolist() == pytest.approx(before[name]["bid_micros"].tolist(), rel=0.03)


def test_another_level_of_the_same_scope_takes_over_and_worse_is_mailed(world: World) -> None:
    world.lives(world.days[0], 600_000)
    world.lives(world.days[1], 900_000, drift="held")
    world.pull(0)
    world.pull(3)
    assert world.bids("google") == (0, 0)
    assert [subject.split("]")[0] for subject in world.subjects()] == ["[warning", "[critical"]
    assert world.causes() == ["kill-switch"]


def test_an_incident_stands_with_the_switch_day_after_day_and_ends_with_its_release(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(3, partner="google")
    assert world.causes() == ["kill-switch:google"]
    assert world.subjects() == ["[critical] Kill switch in simulator on 2025-01-06: level 3 (pause) at google"]
    world.publish(world.days[1])
    (incident,) = incidents.open_incidents(world.platform.db, world.platform.market)
    assert (incident.first_day, incident.last_day) == (world.days[0], world.days[1])
    assert len(world.subjects()) == 1
    world.release(partner="google")
    assert world.causes() == []
    assert len(world.subjects()) == 2
    assert world.subjects()[1].startswith("[resolved]")


def test_a_held_day_under_a_switch_still_says_that_the_switch_stands(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(3)
    world.lives(world.days[1], drift="held")
    result = pipeline.publish_bids(world.platform, world.days[1])
    assert result["reason"].startswith("the day is held")
    assert result["switch"] == ["kill switch level 3 (pause) everywhere since 2025-01-06, by anna: no bids"]


def test_only_a_release_lets_the_champion_bid_again_and_the_next_publication_does(world: World) -> None:
    world.lives(world.days[0], 900_000)
    world.pull(3)
    for day in world.days[1:3]:
        world.publish(day)
        assert world.bids("google") == (0, 0)
    assert f"publish-bids --day {world.days[2]}" in world.release()["next"]
    assert world.bids("google") == (0, 0)
    result = world.publish(world.days[3])
    assert world.bids("google")[0] > 850_000
    assert "switch" not in result
    assert world.standing("google").switches == ()


def test_a_release_of_another_scope_names_those_that_stand(world: World) -> None:
    world.lives(world.days[0], 900_000)
    with pytest.raises(UsageError, match="no kill switch stands everywhere; nothing was changed; none stands anywhere"):
        world.release()
    world.pull(3, partner="google")
    with pytest.raises(UsageError, match="give the scope of one that stands: at google"):
        world.release()
    assert world.causes() == ["kill-switch:google"]


@pytest.mark.parametrize(
    ("level", "scope", "said"),
    [
        (4, {}, r"no kill switch level 4; nothing was changed; choose 0 \(freeze\)"),
        (3, {"partner": "bing"}, "no bids are published to the partner 'bing'; nothing was changed; use one of google"),
        (3, {"point_of_sale": "US"}, "no bids are out in US; nothing was changed"),
    ],
)
def test_a_wrong_level_partner_or_market_is_refused(world: World, level: int, scope: dict[str, str], said: str) -> None:
    world.lives(world.days[0], 900_000)
    for call in (lambda: world.pull(level, **scope), lambda: pipeline.rehearse_switch(world.platform, level, **scope)):
        with pytest.raises(UsageError, match=said):
            call()
    assert switches.history(world.platform.db, world.platform.market, 9) == []


def test_without_any_bids_out_there_is_nothing_to_switch(world: World) -> None:
    with pytest.raises(NoData, match="no market day has run yet"):
        world.pull(3)
    world.lives(world.days[0])
    with pytest.raises(NoData, match="there are no bids to switch off everywhere"):
        world.pull(3)


def test_the_status_shows_what_stands_and_what_was_released(world: World) -> None:
    assert pipeline.switch_status(world.platform) == {"active": [], "released": [], "standing": {}}
    world.lives(world.days[0], 900_000)
    world.pull(3, partner="google")
    world.pull(0, partner="trivago")
    world.release(partner="trivago")
    found = pipeline.switch_status(world.platform)
    assert [(one["level"], one["scope"], one["by"], one["why"]) for one in found["active"]] == [
        (3, "at google", "anna", "too high")
    ]
    assert [(one["scope"], one["released_by"], one["released_why"]) for one in found["released"]] == [
        ("at trivago", "ben", "mended")
    ]
    assert found["standing"]["google"] == {"day": "2025-01-06", "cells": HOTELS * 105, "switches": [1]}


def test_a_market_that_publishes_values_has_no_bids_to_switch(tmp_path: Path) -> None:
    settings = load_settings(source="hotel_bookings", data=str(tmp_path), home=tmp_path, smtp_port=9)
    platform = Platform(settings, FixedClock(AT))
    platform.db.migrate()
    stages.record(
        platform.db, stages.StageKey(platform.market, "ingest", date(2016, 7, 1)), status="done", result={}, at=AT
    )  # fmt: skip
    with pytest.raises(UsageError, match="publishes values, not bids"):
        pipeline.pull_switch(platform, 3, why="w", by="b")


def test_no_bid_is_published_to_an_account_whose_currency_has_no_rate(world: World) -> None:
    world.lives(world.days[0], 600_000)
    before = published(world)
    settings = world.platform.settings.model_copy(update={"account_currency": "USD"})
    world.platform = Platform(settings, FixedClock(AT))
    with pytest.raises(UsageError, match="no rate from EUR to USD"):
        world.publish(world.days[1])
    assert published(world) == before
    assert world.standing("google").day == world.days[0]
