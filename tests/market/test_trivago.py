"""The trivago sample as a source of shown lists: what it says is kept, what it does not say is not made up."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from ml.core.errors import CorruptArtefact, NoData, UsageError
from ml.core.settings import Settings
from ml.evaluation.ranking import reciprocal_ranks
from ml.market import IMPRESSIONS, SOURCES, open_source
from ml.market.trivago import FILE, TrivagoImpressions

REAL = Path(__file__).parents[3] / "shared" / "data" / "trivago_recsys2019"
DAY = date(2018, 11, 7)


def sample() -> pd.DataFrame:
    rows = [
        ("s1", 1541600000, 1, "interaction item image", "11", None, None),
        ("s1", 1541600010, 2, "clickout item", "12", "11|12|13", "80|70|95"),
        ("s1", 1541600020, 3, "clickout item", "99", "11|12", "80|70"),
        ("s2", 1541689200, 1, "clickout item", "21", "21", "60"),
    ]
    columns = ["session_id", "timestamp", "step", "action_type", "reference", "impressions", "prices"]
    return pd.DataFrame(rows, columns=columns).assign(user_id="u", platform="FR", city="Paris, France", device="mobile")


def source(folder: Path, rows: pd.DataFrame | None = None) -> TrivagoImpressions:
    (sample() if rows is None else rows).to_parquet(folder / FILE)
    return IMPRESSIONS["trivago"](folder)


def test_a_list_is_one_row_for_each_hotel_shown(tmp_path: Path) -> None:
    found = source(tmp_path).impressions(DAY)
    assert found["list_id"].tolist() == ["s1/2"] * 3
    assert found["hotel_id"].tolist() == ["11", "12", "13"]
    assert found["position"].tolist() == [1, 2, 3]
    assert found["price_micros"].tolist() == [80_000_000, 70_000_000, 95_000_000]
    assert found["clicked"].tolist() == [False, True, False]


def test_a_list_whose_click_is_on_none_of_its_hotels_is_left_out(tmp_path: Path) -> None:
    assert "s1/3" not in set(source(tmp_path).impressions(DAY)["list_id"])


def test_each_day_has_its_own_rows_and_another_day_is_no_data(tmp_path: Path) -> None:
    found = source(tmp_path)
    assert (found.first_day(), found.last_day()) == (DAY, date(2018, 11, 8))
    assert found.actions(DAY)["step"].tolist() == [1, 2, 3]
    assert found.impressions(date(2018, 11, 8))["session_id"].tolist() == ["s2"]
    with pytest.raises(NoData, match="2018-11-09"):
        found.impressions(date(2018, 11, 9))


def test_bad_files_are_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoData, match=FILE):
        IMPRESSIONS["trivago"](tmp_path).first_day()
    with pytest.raises(CorruptArtefact, match="lacks the column prices"):
        source(tmp_path, sample().drop(columns="prices")).first_day()
    with pytest.raises(CorruptArtefact, match="more hotels than prices"):
        source(tmp_path, sample().assign(prices="1|2")).impressions(DAY)
    (tmp_path / FILE).write_bytes(b"junk")
    with pytest.raises(CorruptArtefact, match="not a readable"):
        IMPRESSIONS["trivago"](tmp_path).first_day()


def test_as_a_market_it_is_refused_and_the_answer_names_what_it_is_for() -> None:
    assert not set(IMPRESSIONS) & set(SOURCES)
    with pytest.raises(UsageError, match=r"no market; measure clicks on it with python -m benchmarks\.click"):
        open_source(Settings(source="trivago"))


def test_the_real_sample_is_read_as_its_notes_describe_it() -> None:
    if not (REAL / FILE).exists():
        pytest.skip(f"the trivago sample is not in {REAL}")
    real = IMPRESSIONS["trivago"](REAL)
    rows = pd.concat([real.impressions(real.first_day()), real.impressions(real.last_day())], ignore_index=True)
    ranks = reciprocal_ranks(rows["clicked"], -rows["position"], rows["list_id"])
    assert len(ranks) == 13_596
    assert rows["clicked"].sum() == 13_596
    assert ranks.mean() == pytest.approx(0.4497, abs=1e-4)
    assert (rows["clicked"] & (rows["position"] == 1)).sum() / rows["position"].eq(1).sum() == pytest.approx(
        0.3096, abs=1e-3
    )
