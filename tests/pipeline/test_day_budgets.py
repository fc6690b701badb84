"""The plan says what each partner's day may cost and when its traffic comes, as far as that was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from ml.bidding.day_budget import QUARTERS, DayBudget, day_budget
from ml.bidding.say import Expected
from ml.bidding.serving_plan import load_plan
from ml.core.clock import FixedClock
from ml.core.digests import Digest, digest_bytes
from ml.core.errors import CorruptArtefact
from ml.core.settings import load_settings
from ml.ledger import stages
from ml.platform import Platform
from ml.steps import publish, serving_plan, switched
from tests.pipeline.test_serving_plan_step import RETENTION, VERSION, table

AT = datetime(2026, 3, 6, tzinfo=UTC)
DAY = date(2026, 3, 1)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    found = Platform(load_settings(source="simulator", home=tmp_path, smtp_port=9), FixedClock(AT))
    found.db.migrate()
    for back in range(20):
        key = stages.StageKey(found.market, "drift", DAY - timedelta(days=back))
        stages.record(found.db, key, status="done", result={}, at=AT)
    return found


def searched(platform: Platform, day: date, hours: list[float], *, partner: str = "google", each: int = 1_000) -> None:
    """Opportunities at these hours of a day."""
    start = pd.Timestamp(day, tz="UTC")
    ts = [start + pd.Timedelta(hours=hour) for hour in hours for _ in range(each)]
    frame = pd.DataFrame({"partner": partner, "ts": pd.Series(ts).dt.as_unit("us")})
    platform.lake.write("opportunities", day, frame)


def publish_budgets(platform: Platform, budgets: dict[str, int | None]) -> dict[str, DayBudget]:
    for partner, micros in budgets.items():
        said = switched.say_as_is(platform, partner, table(partner, 600_000))
        if micros is not None:
            said = replace(said, expected=Expected(10, 1, 1))
        publish.publish_said(
            platform, DAY, partner, said, version=VERSION, generation=1,
            policy=publish.bid_policy(platform), budget_micros=micros,
        )  # fmt: skip
    digest = serving_plan.publish_plan(platform, DAY, retention=RETENTION)
    assert digest is not None
    return dict(serving_plan.plan(platform, digest).budgets)


def test_the_plan_has_the_budget_of_each_publication_and_the_hours_of_the_last_weeks(platform: Platform) -> None:
    searched(platform, DAY, [8.0, 20.0, 20.1])
    searched(platform, DAY - timedelta(days=13), [20.2])
    searched(platform, DAY - timedelta(days=14), [2.0] * 50)
    found = publish_budgets(platform, {"google": 123_000_000, "trivago": 5_000_000, "tripadvisor": None})
    assert {name: (one.budget_micros, one.known) for name, one in found.items()} == {
        "google": (123_000_000, True), "trivago": (5_000_000, False),
    }  # fmt: skip
    shares = np.array(found["google"].shares)
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    assert shares[79:82].sum() > 0.6 and shares[:30].sum() < 0.05 and (shares > 0).all()
    assert len({*found["trivago"].shares}) == 1


def test_where_only_dates_are_known_the_day_is_even_and_said_not_to_be_known(platform: Platform) -> None:
    for back in range(5):
        searched(platform, DAY - timedelta(days=back), [0.0])
    assert publish_budgets(platform, {"google": 10**6})["google"].known is False


def test_held_days_say_nothing_of_the_hours(platform: Platform) -> None:
    held = DAY - timedelta(days=1)
    searched(platform, DAY, [8.0])
    searched(platform, DAY, [8.0, 9.0])
    searched(platform, held, [3.0] * 10)
    key = stages.StageKey(platform.market, "drift", held)
    stages.record(platform.db, key, status="held", result={}, at=AT)
    shares = publish_budgets(platform, {"google": 10**6})["google"].shares
    assert sum(shares[31:38]) > 0.9


def test_a_plan_without_budgets_has_the_bytes_and_the_format_that_it_always_had(platform: Platform) -> None:
    assert publish_budgets(platform, {"google": None}) == {}
    digest = serving_plan.latest_plan(platform)
    data = platform.blobs.get(f"bids/{platform.market}/serving/{digest}.json")
    assert b'"format_version":1,' in data and b"budgets" not in data


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"budget_micros":1000000', b'"budget_micros":0'), (b'"shares":[', b'"shares":[0.5,'), (b"0.010417", b"-1.0")],
)
def test_a_plan_whose_budget_paces_nothing_is_refused(platform: Platform, old: bytes, new: bytes) -> None:
    publish_budgets(platform, {"google": 10**6})
    digest: Digest | None = serving_plan.latest_plan(platform)
    data = platform.blobs.get(f"bids/{platform.market}/serving/{digest}.json")
    assert old in data
    wrong = data.replace(old, new, 1)
    with pytest.raises(CorruptArtefact, match="cannot be read"):
        load_plan(wrong, digest_bytes(wrong))


def test_the_shares_survive_their_way_through_json(platform: Platform) -> None:
    one = day_budget(7, [*range(QUARTERS)])
    assert msgspec.json.decode(msgspec.json.encode(one), type=DayBudget) == one
    assert platform.market
