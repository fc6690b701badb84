"""Scorecards: the truth about our bids, told to people by the simulator and to nobody else."""

from __future__ import annotations

import ast
from datetime import date, timedelta
from pathlib import Path

import pytest

from ml.core.errors import CorruptArtefact, NoData
from ml.core.settings import Settings
from ml.lake.blobs import BlobStore, open_blobs
from ml.market import scorecard
from ml.market.scorecard import Scorecard
from ml.market.simulator import oracle
from ml.market.simulator import scorecard as scoring
from ml.market.simulator.source import FIRST_DAY, Simulator

ROOT = Path(__file__).parents[2]
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(2)]
SMALL = {"simulator_opportunities_per_day": 3000, "simulator_hotels": 30}


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_blobs(str(tmp_path / "blobs"), cache=tmp_path / "cache")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    """A simulated market that has gone through two days on the house policy."""
    market = Simulator.from_settings(Settings(home=tmp_path_factory.mktemp("lived"), **SMALL))  # type: ignore[arg-type]
    for day in DAYS:
        market.fetch(day)
    return market


def test_a_card_is_kept_under_its_day_and_replaces_itself(blobs: BlobStore) -> None:
    day = date(2026, 3, 2)
    scorecard.keep(blobs, "m", Scorecard(day, 1, 2))
    scorecard.keep(blobs, "m", Scorecard(day, 870_000, 1_000_000))
    assert blobs.list("") == ["reports/m/scorecard/2026-03-02.json"]
    found = scorecard.cards(blobs, "m", [day, date(2026, 3, 3)])
    assert found == {day: Scorecard(day, 870_000, 1_000_000)}
    assert found[day].share_of_o2 == pytest.approx(0.87)
    assert scorecard.cards(blobs, "other", [day]) == {}


def test_where_the_best_bids_earn_nothing_there_is_no_share() -> None:
    assert Scorecard(date(2026, 3, 2), 5, 0).share_of_o2 is None


@pytest.mark.parametrize(
    "damaged", [b"{", b"[]", b'{"day": "2026-03-02"}', b'{"day": 1, "profit_micros": 1, "o2_micros": 2}']
)
def test_a_damaged_card_is_one_sentence(blobs: BlobStore, damaged: bytes) -> None:
    blobs.put("reports/m/scorecard/2026-03-02.json", damaged)
    with pytest.raises(CorruptArtefact, match=r"scorecard/2026-03-02\.json cannot be read"):
        scorecard.cards(blobs, "m", [date(2026, 3, 2)])


def test_our_profit_on_a_card_is_what_the_oracle_says_of_the_same_bids_and_o2_earns_more(lived: Simulator) -> None:
    for card in scoring.score(lived, DAYS):
        ours = oracle.policy_profit(lived.market, [card.day], {})
        assert card.profit_micros / 1e6 == pytest.approx(ours, rel=1e-3)
        assert 0 < card.profit_micros < card.o2_micros


def test_scoring_again_gives_the_same_cards(lived: Simulator) -> None:
    assert scoring.score(lived, DAYS) == scoring.score(lived, DAYS)


def test_a_day_that_has_not_happened_is_not_scored_and_not_made_to_happen(lived: Simulator) -> None:
    later = DAYS[-1] + timedelta(days=1)
    with pytest.raises(NoData, match="has not happened"):
        scoring.score(lived, [*DAYS, later])
    assert not lived.truth.has(later)


def test_on_a_market_whose_truth_nobody_knows_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIDWRIGHT_HOME", str(tmp_path))
    monkeypatch.setenv("BIDWRIGHT_SOURCE", "hotel_bookings")
    assert scoring.main(["--first", "2026-03-02", "--last", "2026-03-03"]) == 1
    assert "nobody knows the truth of the source hotel_bookings" in capsys.readouterr().err


def test_cards_are_read_by_what_people_look_at_and_by_no_model_gate_or_bid() -> None:
    readers = set()
    for room in ("ml", "monitoring", "dags", "plugins", "feature_repo", "local"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = (
                    [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
                )
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if any(f"{name}.".startswith("ml.market.scorecard.") for name in names):
                    readers.add(path.relative_to(ROOT).as_posix())
    assert readers == {"ml/market/simulator/scorecard.py", "ml/status.py", "local/scorecard.py"}
