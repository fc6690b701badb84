"""Nothing that a bid service has to serve changes without the stamp changing too, and the stamp rests while nothing does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from ml.core.digests import Digest, digest_bytes
from ml.core.verdict import Verdict
from ml.ledger import bars, champion, decisions, publications, rollouts, versions
from ml.ledger.database import Database
from ml.ledger.decisions import Decision
from ml.ledger.publications import SERVING, Publication
from ml.ledger.serving_stamp import serving_stamp
from ml.ledger.versions import Version

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
A, B = digest_bytes(b"a"), digest_bytes(b"b")
ELSE = digest_bytes(b"else")


def decided(db: Database, candidate: Digest, generation: int) -> int:
    version = Version(candidate, "m", DAY, "bundles/x/", ELSE, DAY, {}, "")
    versions.register(db, version, AT)
    told = Decision("m", DAY, candidate, None, generation, Verdict.PASS, [], ELSE, None)
    return decisions.record(db, told, AT)


def test_the_stamp_changes_with_champion_rollout_bar_and_plan_and_not_without(db: Database) -> None:
    seen = [serving_stamp(db, "m")]

    def changed() -> None:
        now = serving_stamp(db, "m")
        assert now == serving_stamp(db, "m")
        assert now not in seen
        seen.append(now)

    first = decided(db, A, 0)
    assert serving_stamp(db, "m") == seen[0]
    champion.move(db, "m", digest=A, expected_generation=0, decision_id=first, day=DAY, at=AT)
    changed()
    rollout = rollouts.enqueue(db, decision_id=decided(db, B, 1), policy_digest=ELSE, at=AT)
    changed()
    with db.session() as session:
        rollouts.change(session, rollout, at=AT, state="canary", baseline_share=0.05, canary_share=0.05)
    changed()
    bars.bar(db, "m", B, "it failed", "somebody", AT)
    changed()
    bars.lift(db, "m", B, why="it was mended", by="somebody", at=AT)
    changed()
    for hours in (0, 1):
        plan = Publication("m", SERVING, DAY, A, 1, 1, ELSE, f"bids/m/serving/{hours}.json")
        publications.record(db, plan, AT + timedelta(hours=hours))
        changed()
    publications.record(db, Publication("m", "google", DAY, A, 1, 1, ELSE, "x"), AT + timedelta(hours=9))
    bars.bar(db, "other", B, "elsewhere", "somebody", AT)
    assert serving_stamp(db, "m") == seen[-1]
