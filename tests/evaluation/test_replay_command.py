"""The command `bidwright replay`: one line of JSON, and one clear sentence for every mistake."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.cli.app import main
from tests.evaluation.replay_worlds import random_auctions, write_auctions, write_stats

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on a log of campaign 7, whose rows 0 to 2,999 are train rows."""
    log = random_auctions(5_000, seed=1)
    split = ["train"] * 3_000 + ["test"] * 2_000
    write_auctions(tmp_path / "split.parquet", log, campaign=["7"] * 5_000, split=split)
    write_auctions(tmp_path / "plain.parquet", log)
    write_stats(tmp_path / "stats.csv")
    monkeypatch.chdir(tmp_path)

    def call(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bidwright", "replay", *words.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


GIVEN = "--campaign-stats stats.csv --campaign 7"


def test_a_replay_is_one_line_of_json_with_the_columns_of_the_published_table(run: Run) -> None:
    code, out, _ = run(f"plain.parquet {GIVEN} --policy lin --param b0=10 --episode 1000 --budget-share 0.03125 --json")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert set(json.loads(out)) == {"impressions", "clicks", "cost", "win_rate", "ecpc", "auctions"}
    assert json.loads(out)["auctions"] == 5_000


def test_the_test_rows_are_replayed_where_the_file_tells_them(run: Run) -> None:
    assert json.loads(run(f"split.parquet {GIVEN} --policy mcpc --json")[1])["auctions"] == 2_000
    assert json.loads(run(f"split.parquet {GIVEN} --policy mcpc --split all --json")[1])["auctions"] == 5_000


def test_tuned_parameters_are_shown_and_give_the_same_result_again(run: Run) -> None:
    tuned = json.loads(run(f"split.parquet {GIVEN} --policy lin --tune split.parquet --json")[1])
    b0 = tuned.pop("params")["b0"]
    assert json.loads(run(f"split.parquet {GIVEN} --policy lin --param b0={b0} --json")[1]) == tuned


def test_a_share_may_be_a_fraction(run: Run) -> None:
    shares = [
        run(f"plain.parquet {GIVEN} --policy mcpc --budget-share {share} --json")[1] for share in ("1/8", "0.125")
    ]
    assert shares[0] == shares[1]


def test_people_read_a_list(run: Run) -> None:
    code, out, _ = run(f"plain.parquet {GIVEN} --policy bidwright")
    assert code == 0
    assert "replay of 7 with bidwright" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (f"plain.parquet {GIVEN} --policy best", 2, "there is no policy 'best'"),
        (f"plain.parquet {GIVEN} --policy lin", 2, "needs the parameter b0"),
        (f"plain.parquet {GIVEN} --policy lin --param b0", 2, "--param 'b0' is not NAME=VALUE"),
        (f"plain.parquet {GIVEN} --policy lin --param b0=x", 2, "--param b0 'x' is not a number"),
        (f"plain.parquet {GIVEN} --policy lin --param b0=nan", 2, "is not a number"),
        (f"plain.parquet {GIVEN} --policy lin --param b0=1 --param b0=2", 2, "--param b0 is given twice"),
        (f"plain.parquet {GIVEN} --policy lin --param b1=1", 2, "has no parameter 'b1'"),
        (f"plain.parquet {GIVEN} --policy mcpc --budget-share 0", 2, "a budget share of 0.0 buys nothing"),
        (f"plain.parquet {GIVEN} --policy mcpc --budget-share -0.5", 2, "a budget share of -0.5 buys nothing"),
        (f"plain.parquet {GIVEN} --policy mcpc --budget-share 1/0", 2, "--budget-share '1/0' is not a number"),
        (f"plain.parquet {GIVEN} --policy mcpc --episode 0", 2, "an episode of 0 auctions cannot be"),
        (f"plain.parquet {GIVEN} --policy mcpc --episode 9999999999999999999999", 2, "auctions cannot be"),
        (f"plain.parquet {GIVEN} --policy mcpc --episode 1e3", 2, "--episode '1e3' is not an integer"),
        (f"plain.parquet {GIVEN} --policy mcpc --split train", 2, "has no column split"),
        (f"plain.parquet {GIVEN} --policy lin --tune plain.parquet", 2, "--tune names the rows that are replayed"),
        (f"split.parquet {GIVEN} --policy lin --tune split.parquet --split train", 2, "--tune names the rows"),
        (f"split.parquet {GIVEN} --policy mcpc --split valid", 1, "no row of the split valid"),
        ("plain.parquet --campaign-stats stats.csv --campaign 8 --policy mcpc", 1, "campaign 8 is not in stats.csv"),
        (f"gone.parquet {GIVEN} --policy mcpc", 1, "there is no auction file gone.parquet"),
        (f"stats.csv {GIVEN} --policy mcpc", 1, "stats.csv cannot be read as Parquet"),
        (f"plain.parquet {GIVEN} --policy lin --tune gone.parquet", 1, "there is no auction file gone.parquet"),
        ("plain.parquet --campaign-stats gone.csv --campaign 7 --policy mcpc", 1, "there is no file of campaign"),
        ("plain.parquet --campaign-stats plain.parquet --campaign 7 --policy mcpc", 1, "is not a CSV file"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_right_exit_code(run: Run, words: str, code: int, said: str) -> None:
    found, out, err = run(words)
    assert (found, out) == (code, "")
    assert err.startswith("bidwright: ")
    assert len(err.strip().splitlines()) == 1
    assert said in err
