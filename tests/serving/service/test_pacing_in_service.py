"""Each request is paced by its partner: in the bids, in the event log, in every arm, and for people and Prometheus."""

# ruff: noqa: ARG002  (a stand-in takes what the joint gives it, and needs little of it)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ml.bidding.day_budget import QUARTERS, day_budget
from ml.core.clock import FixedClock, SystemClock
from ml.serving.event_log_frames import decode_event, encode_event
from ml.serving.instant import micros
from ml.serving.joints import Live, Slot, Wanted, WantedArm
from ml.serving.ladder import Ladder
from ml.serving.messages import BidRequest, Candidate, Reason, Scored, User
from ml.serving.pacemaker import Pacemaker
from ml.serving.spend_files import SpendFiles
from ml.serving.spending import ONE, first_allowance, spend_folders
from tests.serving.service.conftest import Served, body, until
from tests.serving.service.stubs import A, B, Matrix, StubEngine, StubSplit, StubTable

BUDGET = 10**12
FIGURES = {"google": day_budget(BUDGET, [0] * QUARTERS), "trivago": day_budget(2 * BUDGET, [0] * QUARTERS)}


@dataclass
class PacedEngine(StubEngine):
    """Bids 1,000 times the multiplier, and keeps what it was asked with."""

    asked: list[Any] = field(default_factory=list)

    def decide(self, requests: Sequence[BidRequest], features: Matrix, *, at_us: int, pacing: Any) -> list[Scored]:
        self.asked.append(pacing)
        each = [pacing] * len(requests) if isinstance(pacing, float) else pacing
        return [Scored([round(1_000_000 * one)], [50_000 * one], [0]) for one in each]


def state(*engines: StubEngine, **more: Any) -> Live:
    names = ("stable", "baseline", "canary")
    arms = tuple(Slot(name, engine, 1) for name, engine in zip(names, engines, strict=False))
    return Live(arms=arms, split=StubSplit() if len(arms) > 1 else None, generation=1, **more)


def asked(*partners: str, keys: Sequence[str] = ()) -> list[BidRequest]:
    return [
        BidRequest(keys[at] if keys else "k", [Candidate("x")], User(partner)) for at, partner in enumerate(partners)
    ]


def bids(live: Live, requests: list[BidRequest], pacing: Sequence[float]) -> list[int]:
    found = Ladder().decide(live, requests, at_us=0, give_up_at=[float("inf")] * len(requests), pacing=pacing)
    return [one.scored.bid_micros[0] for one in found]


def test_requests_of_several_partners_in_one_batch_have_each_the_multiplier_of_its_own() -> None:
    engine = PacedEngine()
    assert bids(state(engine), asked("a", "b", "c"), [0.5, 0.0, 1.0]) == [500_000, 0, 1_000_000]
    assert bids(state(engine), asked("a", "b"), [0.25, 0.25]) == [250_000, 250_000]
    assert engine.asked == [[0.5, 0.0, 1.0], 0.25], "one number where all are the same"


def test_every_arm_of_a_canary_bids_with_the_same_multipliers() -> None:
    engines = PacedEngine(A), PacedEngine(A), PacedEngine(B)
    requests = asked("a", "a", "a", "b", "b", "b", keys=["0", "1", "2", "0", "1", "2"])
    assert bids(state(*engines), requests, [0.5] * 3 + [0.25] * 3) == [500_000] * 3 + [250_000] * 3
    assert [engine.asked for engine in engines] == [[[0.5, 0.25]]] * 3


def test_where_the_model_fails_the_other_bundle_and_the_published_bids_are_paced_too() -> None:
    broken = StubEngine(fails=True)
    assert bids(state(broken, previous=Slot("previous", PacedEngine(B), 1)), asked("a", "b"), [0.5, 0.1]) == [
        500_000, 100_000,
    ]  # fmt: skip
    table = state(broken, table=StubTable())
    assert bids(table, asked("a", "b", "c"), [1.0, 0.5, 0.0]) == [7, 3, 0]
    [spent] = Ladder().decide(table, asked("a"), at_us=0, give_up_at=[float("inf")], pacing=[0.0])
    assert spent.scored.reasons == [Reason.PACED]


@pytest.fixture
def served(make: Callable[..., Served]) -> Served:
    made = make(paced=True)
    made.source.now = Wanted(generation=1, arms=(WantedArm("stable", A),), plan="p" * 64, why_not="")
    made.source.paced = FIGURES
    made.start()
    until(lambda: made.worker.batcher.spending.partners)
    made.live(arms=(Slot("stable", PacedEngine(), 1),))
    return made


def ask(served: Served, partner: str) -> int:
    answer = served.client.post("/v1/bids", json=body("x", user={"partner": partner})).json()
    return int(answer["bids"][0]["bid_micros"])


def folders(served: Served) -> list[Path]:
    return [folder for folder in spend_folders(served.settings) if folder is not None]


def tell(served: Served, partner: str, multiplier: float, total: int) -> None:
    """As the pacemaker would."""
    files = SpendFiles(folders(served))
    assert files.look() == ""
    [file] = files.open
    one = file.partners()[partner]
    file.tell(one.at, allowed=BUDGET, multiplier=round(multiplier * ONE), total=total, now_us=0, trouble=False)
    files.close()


def test_a_worker_bids_logs_and_tells_what_the_pacemaker_says_of_each_partner(served: Served) -> None:
    tell(served, "google", 0.25, 77)
    assert [ask(served, name) for name in ("google", "trivago", "unknown")] == [250_000, 1_000_000, 1_000_000]
    assert [one.pacing for one in served.log.taken] == [0.25, 1.0, 1.0]
    kept = [decode_event(encode_event(one)).pacing for one in served.log.taken]
    assert kept == [0.25, 1.0, 1.0]
    told = served.client.get("/v1/models").json()["pacing"]
    assert told["why_not"] == ""
    assert told["partners"]["google"] == {
        "multiplier": 0.25, "spend_expected_micros": 77, "budget_micros": BUDGET,
        "traffic": "not known by the hour, so that it is taken for even",
    }  # fmt: skip
    text = served.client.get("/metrics").text
    assert 'bidwright_pacing{worker="0",partner="google"} 0.25' in text
    assert 'bidwright_spend_expected_micros{worker="0",partner="google"} 77' in text
    assert 'bidwright_now{worker="0",what="pacing"} 0.25' in text
    assert 'bidwright_now{worker="0",what="paced"} 2' in text


def test_what_was_answered_is_counted_for_its_partner_and_what_was_too_late_is_not(served: Served) -> None:
    ask(served, "google")
    ask(served, "google")
    ask(served, "unknown")
    files = SpendFiles(folders(served))
    files.look()
    [file] = files.open
    assert {name: (one.spent, one.bids) for name, one in file.partners().items()} == {
        "google": (100_000, 2_000_000), "trivago": (0, 0),
    }  # fmt: skip
    served.live(arms=(Slot("stable", StubEngine(fails=True), 1),), table=None)
    assert ask(served, "google") == 0
    assert file.partners()["google"].spent == 100_000
    files.close()


def test_a_swap_of_what_serves_keeps_the_counters_and_takes_the_new_figures(served: Served) -> None:
    ask(served, "google")
    served.source.paced = {"google": day_budget(5, [0] * QUARTERS)}
    served.source.now = Wanted(generation=2, arms=(WantedArm("stable", B),), plan="q" * 64, why_not="")
    until(lambda: served.worker.batcher.live.generation == 2)
    told = served.client.get("/v1/models").json()["pacing"]["partners"]
    assert told["google"]["budget_micros"] == 5
    assert "trivago" not in told
    files = SpendFiles(folders(served))
    files.look()
    [file] = files.open
    assert file.partners()["google"].spent == 50_000
    files.close()


def test_the_pacemaker_of_the_service_reaches_the_worker_and_stops_it_at_the_budget(
    make: Callable[..., Served], tmp_path: Path
) -> None:
    clock = FixedClock(SystemClock().now().replace(hour=0, minute=0, second=0, microsecond=0))
    served = make(paced=True, clock=clock)
    served.source.now = Wanted(generation=1, arms=(WantedArm("stable", A),), plan="p" * 64, why_not="")
    served.source.paced = {"google": day_budget(1_000_000, [0] * QUARTERS)}
    served.start()
    until(lambda: served.worker.batcher.spending.partners)
    served.live(arms=(Slot("stable", PacedEngine(), 1),))
    made = Pacemaker(folders(served), tmp_path / "kept.json", now_us=lambda: micros(clock))
    got = []
    for _ in range(60):
        made.tick()
        got.append(ask(served, "google"))
    made.close()
    spent = sum(got) // 20
    assert 900_000 <= spent <= 1_000_000 + 50_000, "one answer may have been under way"
    assert got[-1] == 0
    [told] = {one["multiplier"] for one in served.client.get("/v1/models").json()["pacing"]["partners"].values()}
    assert told == 0.0


@pytest.mark.parametrize(
    ("given", "why"),
    [({"paced": False}, "nobody paces"), ({"paced": True, "serve_pacing": False}, "serve_pacing is off")],
)
def test_a_service_that_is_not_paced_bids_in_full_and_says_why(
    make: Callable[..., Served], given: dict[str, Any], why: str
) -> None:
    served = make(**given)
    served.source.paced = FIGURES
    served.source.now = Wanted(generation=1, arms=(WantedArm("stable", A),), plan="p" * 64, why_not="")
    served.ready()
    for _ in range(3):
        served.live(arms=(Slot("stable", PacedEngine(), 1),))
        assert ask(served, "google") == 1_000_000
    assert why in served.client.get("/v1/models").json()["pacing"]["why_not"]
    assert "bidwright_pacing{" not in served.client.get("/metrics").text
    assert 'bidwright_now{worker="0",what="paced"} 0' in served.client.get("/metrics").text


def test_what_a_worker_is_told_by_an_older_parent_is_still_understood() -> None:
    from ml.serving.worker import Post

    old = msgspec.json.encode({"name": "0", "listener": 3, "beats": 4, "folder": "f", "home": "h"})
    assert msgspec.json.decode(old, type=Post).paced is False
    assert first_allowance(BUDGET) > 10**6, "the tests above stay within it"
