"""The ML Test Score comes from tests that ran, and never from anywhere else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml.cli.app import app
from ml.core.errors import CorruptArtefact, NoData
from ml.score.items import ITEMS, MISSED, SECTIONS, section
from ml.score.result import read_score, score_of

ROOT = Path(__file__).parents[2]
pytest_plugins = ["pytester"]


def marked() -> dict[str, set[str]]:
    """By item, the files whose tests have its marker."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.ml_test_score":
                for argument in node.args:
                    found.setdefault(ast.literal_eval(argument), set()).add(path.name)
    return found


def test_there_are_28_items_in_four_sections_of_seven() -> None:
    assert [sum(section(item) == name for item in ITEMS) for name in SECTIONS] == [7, 7, 7, 7]


def test_every_marker_names_an_item_and_every_item_has_a_test_or_is_told_as_a_miss() -> None:
    found = marked()
    assert set(found) - set(ITEMS) == set()
    assert set(ITEMS) - set(found) == set(MISSED)


def test_at_least_six_items_of_each_section_have_tests() -> None:
    held = set(marked())
    assert all(sum(section(item) == name for item in held) >= 6 for name in SECTIONS)


def test_an_item_counts_when_a_test_passed_and_none_failed() -> None:
    def state(*outcomes: str) -> str:
        tests = {f"t{n}": {"items": ["data1"], "outcome": one} for n, one in enumerate(outcomes)}
        return next(item.state for item in score_of(tests).items if item.name == "data1")

    assert state("passed") == state("passed", "skipped") == "held"
    assert state("passed", "failed") == state("failed") == "failed"
    assert state("skipped") == "skipped"
    assert state() == "not run"


def test_the_score_is_that_of_the_weakest_section() -> None:
    tests = {
        item: {"items": [item], "outcome": "passed"} for item in ITEMS if item not in {"infra1", "infra2", "data1"}
    }
    score = score_of(tests)
    assert (score.sections, score.total) == ({"data": 6, "model": 7, "infra": 5, "monitor": 7}, 5)


@pytest.mark.parametrize(("lost", "code"), [(1, 0), (2, 1)])
def test_a_section_with_fewer_points_than_asked_for_fails_the_command(lost: int, code: int, tmp_path: Path) -> None:
    missing = [item for item in ITEMS if section(item) == "infra"][:lost]
    held = {item: {"items": [item], "outcome": "passed"} for item in ITEMS if item not in missing}
    (tmp_path / "found.json").write_text(json.dumps({"commit": "", "tests": held}))
    for more in ([], ["--json"]):
        asked = ["ml-test-score", "--results", str(tmp_path / "found.json"), "--at-least", "6", *more]
        assert CliRunner().invoke(app, asked).exit_code == code


def test_without_a_run_there_is_no_score(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="make score"):
        read_score(tmp_path / "absent.json")
    for junk in (
        "",
        "[]",
        "{}",
        '{"commit": "", "tests": {"t": 1}}',
        '{"commit": "", "tests": {"t": {"items": ["data1"]}}}',
    ):
        (tmp_path / "junk.json").write_text(junk)
        with pytest.raises(CorruptArtefact):
            read_score(tmp_path / "junk.json")


PLUGIN = """
import pytest
from pathlib import Path
from tests.ml_test_score import Recorder

def pytest_configure(config):
    config.addinivalue_line("markers", "ml_test_score(*items): holds")
    config.pluginmanager.register(Recorder(Path("result.json")))
"""


def test_pytest_writes_what_became_of_the_marked_tests_and_of_no_other(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("""
        import pytest

        @pytest.mark.ml_test_score("data1", "data2")
        @pytest.mark.parametrize("n", [1, 2])
        def test_good(n): pass

        @pytest.mark.ml_test_score("infra1")
        def test_bad(): assert False

        @pytest.mark.ml_test_score("infra2")
        def test_absent(): pytest.skip("no")

        @pytest.fixture
        def broken(): raise RuntimeError

        @pytest.mark.ml_test_score("infra3")
        def test_never_begun(broken): pass

        def test_other(): pass
    """)
    pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider")
    found = json.loads((pytester.path / "result.json").read_text())["tests"]
    assert {re.sub(r".*::", "", node): (one["items"], one["outcome"]) for node, one in found.items()} == {
        "test_good[1]": (["data1", "data2"], "passed"),
        "test_good[2]": (["data1", "data2"], "passed"),
        "test_bad": (["infra1"], "failed"),
        "test_absent": (["infra2"], "skipped"),
        "test_never_begun": (["infra3"], "failed"),
    }


def test_the_command_shows_items_misses_and_the_score(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    tests = {item: {"items": [item], "outcome": "passed"} for item in ITEMS if item not in MISSED}
    file.write_text(json.dumps({"commit": "ab" * 20, "tests": tests}))
    runner = CliRunner()
    shown = runner.invoke(app, ["ml-test-score", "--results", str(file)])
    assert shown.exit_code == 0 and "the score is that of the weakest section" in shown.output
    told = json.loads(runner.invoke(app, ["ml-test-score", "--results", str(file), "--json"]).output)
    assert told["commit"] == "ab" * 20
    assert {item["name"] for item in told["items"] if item["point"] == 0} == set(MISSED)
