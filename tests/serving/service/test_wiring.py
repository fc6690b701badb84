"""The joints to the rest of the house: the ledger's champion, bundles kept on this machine."""

# ruff: noqa: ARG002  (a stand-in takes what the joint gives it, and needs little of it)

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ml.core.clock import FixedClock
from ml.core.digests import Digest, digest_bytes
from ml.core.errors import CorruptArtefact, StoreUnavailable
from ml.core.settings import load_settings
from ml.core.verdict import Verdict
from ml.lake.local import LocalBlobs
from ml.ledger import champion, decisions, publications, rollouts, versions
from ml.ledger.publications import Publication
from ml.platform import Platform
from ml.promotion.bundle import write_bundle
from ml.promotion.keyring import Keyring
from ml.promotion.signature import Kind, SecretKey
from ml.serving.arm_stats import ArmStats, Count, StatsKey, arms_folders, read_all
from ml.serving.arms import Arm
from ml.serving.bundle_cache import cached_bundle
from ml.serving.instant import micros
from ml.serving.joints import Flag, Wanted, WantedArm
from ml.serving.last_bids import PlanBids
from ml.serving.messages import BidRequest, Candidate, Reason
from ml.serving.wiring import LedgerSource
from tests.serving.service.stubs import B, StubEngine

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = date(2026, 3, 1)
SECRET = SecretKey.generate(Kind.RELEASE)
KEYS = Keyring((SECRET.public,), SECRET)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(load_settings(home=tmp_path, market="m"), FixedClock(AT))
    made.db.migrate()
    return made


def promote(platform: Platform, name: str, generation: int) -> Digest:
    digest = digest_bytes(name.encode())
    db = platform.db
    versions.register(db, versions.Version(digest, "m", DAY, "uri", digest, DAY, {}, ""), AT)
    made = decisions.Decision("m", DAY, digest, None, generation, Verdict.PASS, [], digest_bytes(b"policy"), None)
    number = decisions.record(db, made, AT)
    champion.move(db, "m", digest=digest, expected_generation=generation, decision_id=number, day=DAY, at=AT)
    return digest


PLAN = Digest("f" * 64)


def source(platform: Platform) -> LedgerSource:
    return LedgerSource(platform, lambda _, bundle, plan: StubEngine(bundle.digest, plan.digest))


def publish(platform: Platform) -> None:
    """The ledger says that a plan was published."""
    entry = Publication("m", publications.SERVING, DAY, digest_bytes(b"one"), 1, 3, PLAN, "bids/plan")
    publications.record(platform.db, entry, at=AT)


def test_before_the_first_promotion_or_plan_nothing_is_wanted_and_it_says_why(platform: Platform) -> None:
    found = source(platform).wanted()
    assert (found.arms, found.generation) == ((), 0)
    assert "no champion yet" in found.why_not
    promote(platform, "one", 0)
    found = source(platform).wanted()
    assert found.arms == ()
    assert "nothing is published" in found.why_not


def test_the_champion_is_wanted_with_the_newest_plan_and_the_newest_other_before_it(platform: Platform) -> None:
    one, two = promote(platform, "one", 0), promote(platform, "two", 1)
    publish(platform)
    known = source(platform)
    found = known.wanted()
    assert (found.generation, found.arms, found.previous) == (2, (WantedArm("stable", two),), one)
    assert (found.plan, found.rollout, known.split(found)) == (PLAN, 0, None)
    promote(platform, "one", 2)
    found = known.wanted()
    assert (found.generation, found.arms[0].digest, found.previous) == (3, one, two)
    assert known.wanted() == found


def under_way(platform: Platform, monkeypatch: pytest.MonkeyPatch, **values: Any) -> Wanted:
    """What is wanted while a rollout of these values is under way."""
    promote(platform, "one", 0)
    publish(platform)
    live = champion.current(platform.db, "m")
    rollout: Any = SimpleNamespace(id=7, analysis=3, salt="m/7", candidate=B, **values)
    monkeypatch.setattr(rollouts, "serving", lambda *_: rollouts.Serving(live, None, rollout))
    return source(platform).wanted()


def test_a_canary_and_the_champion_afresh_get_their_shares_by_a_sticky_split(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = under_way(platform, monkeypatch, state="canary", baseline_share=0.25, canary_share=0.25)
    one = digest_bytes(b"one")
    assert [(arm.name, arm.digest, arm.share) for arm in found.arms] == [
        ("stable", one, 0.5),
        ("baseline", one, 0.25),
        ("canary", B, 0.25),
    ]
    assert (found.rollout, found.analysis, found.shadow) == (7, 3, None)
    known = source(platform)
    split, again = known.split(found), known.split(found)
    assert split is not None
    assert again is not None
    keys = [f"user-{n}" for n in range(400)]
    assert [split.arm(key) for key in keys] == [again.arm(key) for key in keys]
    assert {split.arm(key) for key in keys} == {0, 1, 2}


def test_in_shadow_the_candidate_answers_nobody(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    found = under_way(platform, monkeypatch, state="shadow", baseline_share=0.0, canary_share=0.1)
    assert [arm.name for arm in found.arms] == ["stable"]
    assert (found.shadow, found.shadow_share) == (B, 0.1)


def test_what_the_arms_do_is_counted_where_the_judge_reads_it(platform: Platform) -> None:
    wanted = Wanted(generation=2, rollout=7, analysis=3)
    counters = source(platform).counters(wanted)
    assert counters is not None
    flags = (Flag.ERROR, Flag.LATE, Flag.DEFAULTS, Flag.FALLBACK, Flag.FALLBACK_MODEL, Flag.FALLBACK_TABLE)
    counters.record(2, latency_us=900, candidates=2, bids=1, bid_micros=10, flags=(*flags, Flag.OUT_OF_RANGE))
    counters.close()
    folder, also = arms_folders(platform.settings)
    found = read_all(folder, StatsKey(2, 7, 3), now_us=micros(platform.clock), also=also).arms[Arm.CANARY]
    names = (
        Count.ERRORS, Count.LATE, Count.DEFAULTS, Count.FALLBACK, Count.FALLBACK_MODEL, Count.FALLBACK_TABLE,
        Count.OUT_OF_RANGE, Count.REQUESTS,
    )  # fmt: skip
    assert [found[name] for name in names] == [1] * 8


def test_counters_of_steps_that_are_past_are_removed_from_memory_and_from_the_working_folder(
    platform: Platform,
) -> None:
    folders = arms_folders(platform.settings, make=True)
    for folder in folders:
        assert folder is not None
        ArmStats(folder, StatsKey(2, 7, 1), at_us=0).close()
    counters = source(platform).counters(Wanted(generation=2, rollout=7, analysis=2))
    assert counters is not None
    counters.close()
    assert [len(list(folder.iterdir())) for folder in folders if folder is not None] == [0, 1]


def test_two_markets_of_one_working_folder_count_apart_and_do_not_remove_each_others_files(platform: Platform) -> None:
    other = Platform(load_settings(home=platform.settings.home, market="other"), FixedClock(AT))
    older = source(other).counters(Wanted(generation=1, rollout=1, analysis=1))
    newer = source(platform).counters(Wanted(generation=9, rollout=7, analysis=3))
    assert older is not None
    assert newer is not None
    older.close()
    newer.close()
    folder, also = arms_folders(other.settings)
    assert len(read_all(folder, StatsKey(1, 1, 1), now_us=micros(platform.clock), also=also).workers) == 1


@pytest.mark.parametrize(("share", "tried"), [(0.05, 0.1), (0.1, 0.05), (0.25, 0.0)])
def test_a_small_canary_is_tried_beside_its_own_share_until_three_times_the_smallest_is_seen(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, share: float, tried: float
) -> None:
    found = under_way(platform, monkeypatch, state="canary", baseline_share=share, canary_share=share)
    assert found.shadow_share == pytest.approx(tried)
    assert found.shadow == (B if tried else None)
    assert found.candidate == B


class Rows:
    """What a plan says of two cells: one published, one not."""

    last_bid_micros = np.array([700, -1])
    cap_micros = np.array([500, 500])


class KnownPlan:
    """A plan of two cells."""

    digest = PLAN
    max_bid_micros = 600

    def of(self, cells: Any) -> Rows:
        assert set(cells) == {"partner", "market", "hotel_id", "device", "lead_bucket", "los_bucket"}
        return Rows()


def test_the_last_published_bid_of_a_cell_keeps_to_its_cap_and_no_other_is_invented() -> None:
    plan: Any = KnownPlan()
    table = PlanBids(plan, lambda: micros(FixedClock(AT)))
    request = BidRequest("u", [Candidate("x", "h", date(2026, 3, 9)), Candidate("y", "h", date(2026, 3, 9))])
    found = table.bids(request)
    assert found.bid_micros == [500, 0]
    assert found.reasons == [Reason.FALLBACK_TABLE, Reason.UNKNOWN]
    gone = table.bids(BidRequest("u", [Candidate("x", "h"), Candidate("y", "h", date(2025, 1, 1))]))
    assert gone.bid_micros == [0, 0]


def stored(folder: Path) -> tuple[LocalBlobs, Digest]:
    blobs = LocalBlobs(folder)
    return blobs, write_bundle(blobs, artefacts={"value/model.txt": b"1", "golden.json": b"{}"}, meta={}, keys=KEYS)


class Dead(LocalBlobs):
    """A blob store that cannot be reached."""

    def read(self, key: str, *, limit: int) -> bytes:
        raise StoreUnavailable("the blob store cannot be reached")


def test_a_bundle_that_was_loaded_once_is_loaded_again_without_the_blob_store(tmp_path: Path) -> None:
    blobs, digest = stored(tmp_path / "blobs")
    cached_bundle(blobs, tmp_path / "cache", digest, KEYS)
    again: Any = Dead(tmp_path / "nothing")
    assert cached_bundle(again, tmp_path / "cache", digest, KEYS).artefacts["value/model.txt"] == b"1"


def test_a_copy_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    blobs, digest = stored(tmp_path / "blobs")
    cached_bundle(blobs, tmp_path / "cache", digest, KEYS)
    [model] = (tmp_path / "cache").rglob("model.txt")
    model.chmod(0o600)
    model.write_bytes(b"2")
    assert cached_bundle(blobs, tmp_path / "cache", digest, KEYS).artefacts["value/model.txt"] == b"1"
    assert model.read_bytes() == b"1", "and it is mended"


def test_a_bundle_of_a_key_that_does_not_count_is_refused_and_not_kept(tmp_path: Path) -> None:
    blobs, digest = stored(tmp_path / "blobs")
    other = SecretKey.generate(Kind.RELEASE)
    with pytest.raises(CorruptArtefact):
        cached_bundle(blobs, tmp_path / "cache", digest, Keyring((other.public,), other))
    assert not (tmp_path / "cache").exists()
