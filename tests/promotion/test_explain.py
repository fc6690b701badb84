from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ml.core.digests import Digest, canonical_json
from ml.core.errors import UsageError
from ml.lake.local import LocalBlobs
from ml.ledger import versions
from ml.ledger.database import Database
from ml.promotion.bundle import write_bundle
from ml.promotion.evidence import BidEvidence, Evidence
from ml.promotion.explain import explain
from ml.promotion.keyring import Keyring
from ml.promotion.policy import POLICY
from ml.promotion.promote import judge_candidate, move_champion
from ml.promotion.signature import Kind, SecretKey

DAY = date(2025, 3, 10)
AT = datetime(2025, 3, 11, 6, tzinfo=UTC)
SECRET = SecretKey.generate(Kind.RELEASE)
KEYS = Keyring((SECRET.public,), SECRET)


def promote(db: Database, evidence: Evidence, digest: Digest, *, day: date) -> None:
    evidence = replace(
        evidence,
        day=day,
        candidate=digest,
        inputs=replace(evidence.inputs, last_day=day, watermark=day) if evidence.inputs else None,
    )
    decision = judge_candidate(
        db, market="simulator", day=day, candidate=digest, evidence=evidence, policy=POLICY, approval="never", at=AT
    )
    assert decision.id is not None
    assert move_champion(db, decision_id=decision.id, day=day, at=AT).moved


def test_a_version_is_explained_from_its_bundle_to_the_days_it_was_live(
    db: Database, blobs: LocalBlobs, good: Evidence
) -> None:
    digest = write_bundle(blobs, artefacts={"value/model.txt": b"1"}, meta={"seed": 7}, keys=KEYS)
    known = versions.newest(db, "simulator", 1)[0]
    versions.register(db, replace(known, digest=digest), AT)
    first = replace(good, champion_generation=0, bids=BidEvidence(published_before=False))
    promote(db, first, digest, day=DAY)
    promote(db, good, Digest("c" * 64), day=DAY + timedelta(days=7))
    promote(db, replace(good, champion_generation=2), digest, day=DAY + timedelta(days=9))

    found = explain(db, blobs, "simulator", digest[:8], keys=KEYS)

    assert json.loads(canonical_json(found)) == found
    assert (found["digest"], found["market"]) == (digest, "simulator")
    assert found["version"]["trained_through"] == "2025-02-24"
    assert found["version"]["metrics"] == {"auc": 0.8}
    assert found["money"] == []  # a version from before money was measured
    assert found["bundle"]["meta"] == {"seed": 7}
    assert found["bundle"]["signed_by"] == SECRET.public.id
    assert found["bundle"]["files"]["value/model.txt"]["bytes"] == 1
    assert [decision["verdict"] for decision in found["decisions"]] == ["PASS", "PASS"]
    assert {gate["gate"] for gate in found["decisions"][0]["gates"]} == {gate.name for gate in POLICY.gates}
    assert [(r["generation"], r["from"], r["until"]) for r in found["champion"]] == [
        (1, "2025-03-10", "2025-03-17"),
        (3, "2025-03-19", None),
    ]


def test_a_version_whose_bundle_is_lost_is_still_explained(db: Database, blobs: LocalBlobs) -> None:
    found = explain(db, blobs, "simulator", "cccc", keys=KEYS)
    assert "manifest.json is missing" in found["bundle"]["error"]
    assert (found["decisions"], found["champion"]) == ([], [])


def test_a_version_that_another_key_signed_is_explained_with_the_refusal(db: Database, blobs: LocalBlobs) -> None:
    digest = write_bundle(blobs, artefacts={"value/model.txt": b"1"}, meta={"seed": 7}, keys=KEYS)
    versions.register(db, replace(versions.newest(db, "simulator", 1)[0], digest=digest), AT)
    other = SecretKey.generate(Kind.RELEASE)
    found = explain(db, blobs, "simulator", digest[:8], keys=Keyring((other.public,), other))
    assert f"signed by the key {SECRET.public.id}, which is not trusted here" in found["bundle"]["error"]


def test_an_unknown_version_is_a_wrong_call(db: Database, blobs: LocalBlobs) -> None:
    with pytest.raises(UsageError, match="no version of simulator begins with 0123"):
        explain(db, blobs, "simulator", "0123", keys=KEYS)
