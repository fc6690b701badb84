from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, select

from ml.core.digests import Digest, digest_bytes
from ml.core.errors import PermanentError, StaleGeneration, UsageError
from ml.core.verdict import Verdict
from ml.ledger import champion, decisions, versions
from ml.ledger.champion import Champion
from ml.ledger.database import Database, Store
from ml.ledger.tables import ChampionRow, PromotionRow

AT = datetime(2026, 1, 6, tzinfo=UTC)
DAY = date(2026, 1, 5)
ROOT = Path(__file__).parents[2]


def decide(
    db: Store, name: str, generation: int, *, day: date = DAY, verdict: Verdict = Verdict.PASS, market: str = "m"
) -> tuple[Digest, int]:
    """Register a version and write a decision about it."""
    digest = digest_bytes(name.encode())
    versions.register(db, versions.Version(digest, market, day, "uri", digest, day, {}, ""), AT)
    decision = decisions.Decision(market, day, digest, None, generation, verdict, [], digest_bytes(b"policy"), None)
    return digest, decisions.record(db, decision, AT)


def promote(db: Store, name: str, generation: int, *, day: date = DAY, market: str = "m") -> Champion:
    digest, decision_id = decide(db, name, generation, day=day, market=market)
    return champion.move(
        db, market, digest=digest, expected_generation=generation, decision_id=decision_id, day=day, at=AT
    )


def test_a_market_without_a_promotion_has_no_champion(db: Database) -> None:
    assert champion.current(db, "m") is None
    assert champion.on_day(db, "m", DAY) is None
    assert champion.history(db, "m") == []


def test_the_first_champion_is_generation_1_and_each_move_counts_one_further(db: Database) -> None:
    first = promote(db, "one", 0)
    assert (first.generation, first.digest, first.since, first.moved_at) == (1, digest_bytes(b"one"), DAY, AT)
    assert champion.current(db, "m") == first
    second = promote(db, "two", 1, day=DAY + timedelta(days=1))
    assert champion.current(db, "m") == second
    assert champion.history(db, "m") == [first, second]


def test_each_market_has_its_own_champion(db: Database) -> None:
    first, other = promote(db, "one", 0), promote(db, "one", 0, market="other")
    assert champion.current(db, "m") == first
    assert champion.current(db, "other") == other
    assert first.decision_id != other.decision_id


def test_who_was_champion_on_a_day_and_by_which_decision(db: Database) -> None:
    one = promote(db, "one", 0, day=date(2026, 1, 5))
    two = promote(db, "two", 1, day=date(2026, 1, 9))
    three = promote(db, "three", 2, day=date(2026, 1, 9))  # twice on one day: the later one stands at its end
    assert champion.on_day(db, "m", date(2026, 1, 4)) is None
    assert champion.on_day(db, "m", date(2026, 1, 5)) == one
    assert champion.on_day(db, "m", date(2026, 1, 8)) == one
    assert champion.on_day(db, "m", date(2026, 1, 9)) == three
    assert champion.on_day(db, "m", date(2027, 1, 1)) == three
    for answer, name in ((one, "one"), (two, "two"), (three, "three")):
        assert decisions.get(db, answer.decision_id).candidate == digest_bytes(name.encode())


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_a_move_that_expects_another_generation_is_stale_and_changes_nothing(db: Database, expected: int) -> None:
    first = promote(db, "one", 0)
    with pytest.raises(StaleGeneration, match=f"no longer at generation {expected}; the champion was not moved"):
        promote(db, "two", expected)
    assert champion.history(db, "m") == [first]


def test_a_stale_move_for_an_older_day_is_stale_and_not_refused_for_good(db: Database) -> None:
    promote(db, "one", 0)
    promote(db, "two", 1, day=DAY + timedelta(days=5))
    with pytest.raises(StaleGeneration):
        promote(db, "three", 1, day=DAY + timedelta(days=1))


def test_the_same_decision_again_gives_the_same_answer_and_has_no_second_effect(db: Database) -> None:
    digest, decision_id = decide(db, "one", 0)

    def again() -> Champion:
        return champion.move(db, "m", digest=digest, expected_generation=0, decision_id=decision_id, day=DAY, at=AT)

    first = again()
    assert again() == first
    second = promote(db, "two", 1)
    assert again() == first  # a task that comes back late learns what it did, and does not undo what came after
    assert champion.current(db, "m") == second
    assert champion.history(db, "m") == [first, second]


def test_a_decision_moves_only_its_own_version_market_and_generation(db: Database) -> None:
    digest, decision_id = decide(db, "one", 0)
    other, _ = decide(db, "two", 0)

    def move(market: str, version: Digest, generation: int) -> Champion:
        return champion.move(
            db, market, digest=version, expected_generation=generation, decision_id=decision_id, day=DAY, at=AT
        )

    for market, version, generation in (("m", other, 0), ("other", digest, 0), ("m", digest, 1)):
        with pytest.raises(UsageError, match=f"decision {decision_id} is about"):
            move(market, version, generation)
    assert champion.history(db, "m") == champion.history(db, "other") == []
    move("m", digest, 0)
    with pytest.raises(UsageError, match="already moved m"):
        move("m", other, 0)


def test_a_move_without_a_decision_is_refused(db: Database) -> None:
    digest, _ = decide(db, "one", 0)
    with pytest.raises(UsageError, match="no decision 77"):
        champion.move(db, "m", digest=digest, expected_generation=0, decision_id=77, day=DAY, at=AT)
    assert champion.current(db, "m") is None


@pytest.mark.parametrize("verdict", [Verdict.HOLD, Verdict.FAIL])
def test_only_a_decision_that_passed_moves_the_champion(db: Database, verdict: Verdict) -> None:
    digest, decision_id = decide(db, "one", 0, verdict=verdict)
    with pytest.raises(PermanentError, match=f"is {verdict}, and only PASS moves the champion"):
        champion.move(db, "m", digest=digest, expected_generation=0, decision_id=decision_id, day=DAY, at=AT)
    assert champion.current(db, "m") is None


def test_a_champion_cannot_begin_before_the_present_one_did(db: Database) -> None:
    """Otherwise the answer to "who was champion on day D" would change after bids of that day went out."""
    first = promote(db, "one", 0, day=DAY)
    with pytest.raises(PermanentError, match="began on 2026-01-05, so none can begin on 2026-01-04"):
        promote(db, "two", 1, day=DAY - timedelta(days=1))
    assert champion.history(db, "m") == [first]


def test_the_alias_does_not_move_when_its_promotion_cannot_be_written(db: Database) -> None:
    first = promote(db, "one", 0)
    broken: list[int] = []

    def break_insert(mapper: object, connection: Connection, row: PromotionRow) -> None:
        moved = select(ChampionRow.generation).where(ChampionRow.market == "m")
        broken.append(connection.execute(moved).scalar_one())
        raise RuntimeError("the promotion cannot be written")

    event.listen(PromotionRow, "before_insert", break_insert)
    try:
        with pytest.raises(RuntimeError, match="cannot be written"):
            promote(db, "two", 1)
    finally:
        event.remove(PromotionRow, "before_insert", break_insert)
    assert broken == [2]  # the alias had moved inside the transaction that broke
    assert champion.current(db, "m") == first
    assert promote(db, "two", 1).generation == 2


RACE = """
from datetime import UTC, date, datetime
from ml.core.errors import StaleGeneration
from ml.ledger import champion, decisions
from ml.ledger.database import Database
db = Database.open(url)
mine = decisions.latest(db, "m", 100)[me]
start()
try:
    now = champion.move(db, "m", digest=mine.candidate, expected_generation=1, decision_id=mine.id,
                        day=date(2026, 1, 5), at=datetime(2026, 1, 6, tzinfo=UTC))
    print("moved", now.generation, now.digest)
except StaleGeneration:
    print("stale")
db.close()
"""


def test_of_processes_that_race_for_one_generation_exactly_one_wins(
    db: Database, url: str, race: Callable[[str, int, str], list[str]]
) -> None:
    promote(db, "before", 0)
    for racer in range(3):
        decide(db, f"racer {racer}", 1)
    answers = race(RACE, 3, url)
    _, now = champion.history(db, "m")
    assert sorted(answers) == [f"moved 2 {now.digest}", "stale", "stale"]
    assert champion.current(db, "m") == now


@pytest.mark.parametrize("generation", [0, 1])
def test_of_threads_that_race_for_one_generation_exactly_one_wins(
    db: Database, together: Callable[[Callable[[int], Champion | None], int], list[Champion | None]], generation: int
) -> None:
    if generation == 1:
        promote(db, "before", 0)
    decided = [decide(db, f"racer {racer}", generation) for racer in range(6)]

    def move(me: int) -> Champion | None:
        digest, decision_id = decided[me]
        try:
            return champion.move(
                db, "m", digest=digest, expected_generation=generation, decision_id=decision_id, day=DAY, at=AT
            )
        except StaleGeneration:
            return None

    won = [answer for answer in together(move, 6) if answer is not None]
    assert won == [champion.current(db, "m")]
    assert len(champion.history(db, "m")) == generation + 1


def test_copies_of_one_task_that_race_all_get_the_one_answer(
    db: Database, together: Callable[[Callable[[int], Champion], int], list[Champion]]
) -> None:
    digest, decision_id = decide(db, "only", 0)

    def move(me: int) -> Champion:
        at = AT + timedelta(seconds=me)
        return champion.move(db, "m", digest=digest, expected_generation=0, decision_id=decision_id, day=DAY, at=at)

    answers = together(move, 6)
    assert answers == champion.history(db, "m") * 6


KILLED = """
import sys, time
from datetime import UTC, date, datetime
from ml.ledger import champion, decisions
from ml.ledger.database import Database
db = Database.open(sys.argv[1])
mine = decisions.latest(db, "m", 1)[0]
with db.session() as session:
    now = champion.move(session, "m", digest=mine.candidate, expected_generation=0, decision_id=mine.id,
                        day=date(2026, 1, 5), at=datetime(2026, 1, 6, tzinfo=UTC))
    print("moved, not committed", now.generation, flush=True)
    time.sleep(600)
"""


def test_a_process_killed_before_its_commit_leaves_the_alias_where_it_was(db: Database, url: str) -> None:
    digest, decision_id = decide(db, "one", 0)
    process = subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "moved, not committed 1"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert champion.current(db, "m") is None
    assert champion.history(db, "m") == []
    moved = champion.move(db, "m", digest=digest, expected_generation=0, decision_id=decision_id, day=DAY, at=AT)
    assert champion.current(db, "m") == moved


fresh_numbers = itertools.count()
steps = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 2), st.booleans()), max_size=8)


@settings(max_examples=15, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps)
def test_after_any_moves_the_history_is_one_gapless_line(db: Database, plan: list[tuple[int, int, bool]]) -> None:
    """Each step: which generation it expects, counted back from the present one; days forward; whether it is retried."""
    market = f"market {next(fresh_numbers)}"
    expected: list[Champion] = []
    for number, (behind, forward, retried) in enumerate(plan):
        generation, last = max(len(expected) - behind, 0), expected[-1].since if expected else DAY
        fresh = generation == len(expected)
        for _ in range(2 if retried else 1):
            try:
                with db.session() as session:
                    day = last + timedelta(days=forward)
                    now = promote(session, f"{number}", generation, day=day, market=market)
            except StaleGeneration:
                assert not fresh
            except PermanentError:
                assert fresh
                assert forward < 0
                assert expected
            else:
                assert fresh
                expected = [*expected[:generation], now]
    assert champion.history(db, market) == expected
    assert [past.generation for past in expected] == list(range(1, len(expected) + 1))
    assert champion.current(db, market) == (expected[-1] if expected else None)
    for past in expected:
        assert champion.on_day(db, market, past.since) == [other for other in expected if other.since == past.since][-1]
