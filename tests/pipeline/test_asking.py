"""Where a person must approve, people are told; where nobody waits for an answer, nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ml import pipeline
from ml.core.clock import FixedClock
from ml.core.digests import Digest
from ml.core.settings import Settings
from ml.core.verdict import Verdict
from ml.ledger import decisions, outbox, versions
from ml.ledger.decisions import Decision
from ml.ledger.versions import Version
from ml.platform import Platform
from ml.steps import judge

DAY = date(2026, 5, 20)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(
        Settings(home=tmp_path, market="hotels", smtp_port=9), FixedClock(datetime(2026, 5, 21, 4, 0, tzinfo=UTC))
    )
    made.db.migrate()
    yield made
    made.db.close()


@pytest.mark.parametrize(
    ("verdict", "needs", "run_id", "mails"),
    [("PASS", True, "run", 1), ("PASS", True, "", 0), ("PASS", False, "run", 0), ("HOLD", True, "run", 0)],
    ids=["asked", "no run waits", "no question", "held"],
)
def test_people_are_asked_where_a_run_waits_for_them(
    verdict: str, needs: bool, run_id: str, mails: int, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Digest("ab" * 32)
    at = platform.clock.now()
    version = Version(
        market="hotels",
        digest=digest,
        day=DAY,
        uri="u",
        data_digest=digest,
        trained_through=DAY,
        metrics={},
        mlflow_run_id="",
    )
    versions.register(platform.db, version, at)
    made = Decision(
        market="hotels", day=DAY, candidate=digest, champion=None, generation=0, verdict=Verdict(verdict), gates=[],
        policy_digest=digest, approval={"reasons": ["always"]} if needs else None,
    )  # fmt: skip
    number = decisions.record(platform.db, made, at)

    def judged(*_: Any, **__: Any) -> dict[str, Any]:
        return {"decision_id": number, "needs_approval": needs, "verdict": verdict}

    monkeypatch.setattr(judge, "judge_day", judged)
    for _ in range(2):
        pipeline.judge(platform, DAY, run_id=run_id)
    assert [mail.subject.split("]")[0] for mail in outbox.pending(platform.db)] == ["[approval wanted"] * mails
