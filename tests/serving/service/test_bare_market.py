"""A market that publishes no bids: from a trained champion to the plan, an answer of the service, and its explanation."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.bidding.serving_plan import FORMATS
from ml.core.clock import FixedClock
from ml.core.digests import Digest, digest_bytes
from ml.core.errors import CorruptArtefact
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.features.online.keys import words_of
from ml.features.online.schema import Column, Dense, Rows, Schema
from ml.features.online.writer import upsert
from ml.features.online_place import PROJECT, view_folder
from ml.ledger import champion, decisions, versions
from ml.models.golden import golden
from ml.models.listing import ListingModel
from ml.models.training import train
from ml.platform import Platform
from ml.promotion.bundle import write_bundle
from ml.promotion.keyring import signing_keyring
from ml.serving.event_log import EventLog, events_folder
from ml.serving.explain import built_in_engine, explain_decision
from ml.serving.instant import micros
from ml.serving.joints import Parts, Wanted
from ml.serving.wiring import LedgerSource, load_engine
from ml.steps import publish, serving_plan
from tests.models.conftest import AS_OF, as_known, make_bookings
from tests.serving.engine_stand_ins import LISTING_COLUMNS, SMALL, listing_rows
from tests.serving.service.conftest import TOKEN

MARKET = "m"
AT = datetime(2026, 3, 6, 12, tzinfo=UTC)
DAY = AT.date()


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    home = tmp_path / "home"
    home.mkdir()
    settings = load_settings(
        home=home, market=MARKET, source="hotel_bookings", data=str(tmp_path), serve_token=TOKEN,
        serve_memory=str(tmp_path / "memory"), serve_deadline_ms=30_000,
    )  # fmt: skip
    made = Platform(settings, FixedClock(AT))
    made.db.migrate()
    return made


def crown(platform: Platform, artefacts: Mapping[str, bytes]) -> Digest:
    """The champion: a signed bundle that a decision let through."""
    db, nothing = platform.db, digest_bytes(b"")
    digest = write_bundle(platform.blobs, artefacts=artefacts, meta={}, keys=signing_keyring(platform.settings))
    versions.register(db, versions.Version(digest, MARKET, DAY, f"bundles/{digest}/", nothing, DAY, {}, ""), AT)
    made = decisions.Decision(MARKET, DAY, digest, None, 0, Verdict.PASS, [], nothing, None)
    number = decisions.record(db, made, AT)
    champion.move(db, MARKET, digest=digest, expected_generation=0, decision_id=number, day=DAY, at=AT)
    return digest


def ask(platform: Platform, request: dict[str, Any]) -> dict[str, Any]:
    """The answer of a worker of this platform, whose event log is closed thereafter."""
    import httpx
    import uvloop

    from ml.serving.worker import Post, Worker

    events = EventLog(events_folder(platform.settings.home, MARKET), market=MARKET, worker="0")
    made = Parts(LedgerSource(platform, load_engine), events)

    async def served() -> dict[str, Any]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        post = Post("0", listener.detach(), writing, str(platform.settings.home), str(platform.settings.home))
        worker = Worker(platform.settings, platform.clock, made, post)
        running = asyncio.create_task(worker.run())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            while not worker.batcher.live.arms:
                assert not running.done()
                await asyncio.sleep(0.01)
            answer = await client.post("/v1/bids", json=request, headers={"Authorization": f"Bearer {TOKEN}"})
            models = await client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"})
        worker.drain()
        await running
        os.close(reading)
        os.close(writing)
        return {**answer.json(), "pacing": models.json()["pacing"]}

    return uvloop.run(served())


def explained(platform: Platform, trace_id: str) -> Any:
    folder = events_folder(platform.settings.home, MARKET)
    return explain_decision(platform.lake, folder, trace_id, built_in_engine(platform))


def wanted(platform: Platform) -> Wanted:
    return LedgerSource(platform, load_engine).wanted()


@pytest.fixture(scope="module")
def bookings() -> pd.DataFrame:
    return as_known(make_bookings(3_000), AS_OF)


@pytest.fixture
def recent(monkeypatch: pytest.MonkeyPatch, bookings: pd.DataFrame) -> None:
    """The lake's recent bookings are those that the champion learned from."""
    monkeypatch.setattr(publish, "recent_rows", lambda *_: (bookings, None))


@pytest.mark.usefixtures("recent")
def test_a_champion_of_bookings_alone_is_served_what_a_booking_earns_ranks_and_a_stated_click_is_bid(
    platform: Platform, bookings: pd.DataFrame
) -> None:
    digest = crown(platform, train({"value": bookings}, as_of=AS_OF, seed=7).artefacts({"value": bookings}))
    assert "nothing is published" in wanted(platform).why_not
    plan = publish.publish_day(platform, DAY)["plan"]
    found = wanted(platform)
    assert (found.plan, found.arms[0].digest) == (plan, digest)

    far, near = (DAY + timedelta(days=days) for days in (90, 3))
    stay = {"hotel_id": "h1", "los_nights": 2, "price_micros": 100_000_000}
    candidates = [
        {"id": "far", "check_in": far.isoformat(), "value_micros": 600_000, **stay},
        {"id": "near", "check_in": near.isoformat(), "value_micros": 600_000, **stay},
        {"id": "dear", "check_in": near.isoformat(), "value_micros": 10**12, **stay},
        {"id": "unsaid", "check_in": near.isoformat(), **stay},
        {"id": "past", "check_in": "2020-01-01", "value_micros": 600_000, **stay},
    ]
    answer = ask(platform, {"key": "k", "candidates": candidates})
    bids = {one["id"]: one for one in answer["bids"]}
    assert 0 < bids["far"]["bid_micros"] < 600_000
    assert bids["dear"]["bid_micros"] == platform.settings.max_bid_micros and bids["dear"]["reason"] == "guard"
    assert (bids["unsaid"]["bid_micros"], bids["unsaid"]["reason"]) == (0, "bid")
    assert (bids["past"]["bid_micros"], bids["past"]["reason"]) == (0, "unknown")
    retained = bids["near"]["bid_micros"] / 600_000
    earns = 200_000_000 * retained * platform.settings.take_share
    assert bids["unsaid"]["score"] == pytest.approx(earns, rel=1e-5)
    assert bids["near"]["score"] == bids["unsaid"]["score"] == bids["dear"]["score"]
    assert "no budget" in answer["pacing"]["why_not"] or "nobody paces" in answer["pacing"]["why_not"]

    again = explained(platform, answer["trace_id"])
    assert (again.same, again.why_not, again.facts["plan"]) == (True, "", plan)
    assert [one["intermediates"]["bid_micros"] for one in again.candidates] == [
        bids[one["id"]]["bid_micros"] for one in candidates
    ]


def test_a_champion_of_listings_alone_is_served_and_explained(platform: Platform) -> None:
    rows = listing_rows()
    model = ListingModel.fit(rows, as_of=AS_OF, seed=3, recipe=SMALL)
    crown(platform, {**model.artefacts(), "golden.json": golden({"listing": model}, {"listing": rows})})
    table = rows[list(LISTING_COLUMNS)].to_numpy(dtype=np.float32)
    now_us = np.full(len(rows), micros(platform.clock))
    schema = Schema((("id", "text"),), tuple(Column(name, "f4", "float32") for name in LISTING_COLUMNS))
    columns = {name: Dense(table[:, number]) for number, name in enumerate(LISTING_COLUMNS)}
    upsert(
        view_folder(platform.settings.home / "feast" / f"{MARKET}-online", PROJECT, "listings"),
        schema,
        Rows(
            words=words_of(schema.key_types, [rows["id"].tolist()], names=["id"]),
            event_us=now_us, created_us=now_us, columns=columns,
        ),
    )  # fmt: skip
    told = publish.publish_day(platform, DAY)
    assert (told["published"], told["partners"]) == (0, {})
    answer = ask(
        platform,
        {"key": "k", "candidates": [{"id": "l3", "value_micros": 700_000}, {"id": "l4", "value_micros": 10**12}]},
    )
    bids = {one["id"]: one["bid_micros"] for one in answer["bids"]}
    assert bids == {"l3": 700_000, "l4": platform.settings.max_bid_micros}
    again = explained(platform, answer["trace_id"])
    assert (again.same, again.facts["plan"]) == (True, told["plan"])
    scores = {one["id"]: one["score"] for one in answer["bids"]}
    p_click = model.predict(rows[rows["id"] == "l3"])["p_click"].item()
    assert scores["l3"] == pytest.approx(p_click * 700_000, rel=1e-5)


@pytest.mark.usefixtures("recent")
def test_the_plan_of_a_day_is_the_same_plan_when_the_day_is_published_again(
    platform: Platform, bookings: pd.DataFrame
) -> None:
    crown(platform, train({"value": bookings}, as_of=AS_OF, seed=7).artefacts({"value": bookings}))
    first, second = (publish.publish_day(platform, DAY)["plan"] for _ in range(2))
    assert first == second
    plan = serving_plan.plan(platform, first)
    assert (plan.has_cells, dict(plan.budgets), plan.market) == (False, {}, MARKET)
    data = platform.blobs.get(f"bids/{MARKET}/serving/{first}.json")
    assert b'"format_version":%d' % FORMATS[0] in data


@pytest.mark.usefixtures("recent")
def test_a_champion_without_a_conversion_model_is_refused_where_bids_are_published(
    platform: Platform, bookings: pd.DataFrame
) -> None:
    from ml.promotion.bundle import read_bundle
    from ml.serving.engine_loading import engine_of
    from tests.serving.engine_stand_ins import FixedPlan

    digest = crown(platform, train({"value": bookings}, as_of=AS_OF, seed=7).artefacts({"value": bookings}))
    bundle = read_bundle(platform.blobs, digest, platform.keys)
    with pytest.raises(CorruptArtefact, match="knows no conversion"):
        engine_of(platform, bundle, FixedPlan())  # type: ignore[arg-type]
