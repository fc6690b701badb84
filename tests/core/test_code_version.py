"""Which commit the code is: as git says of a folder, as a setting states it, and unknown where nobody can say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ml.core import code_version as module
from ml.core.code_version import UNKNOWN, CodeVersion, code_version, of_run
from ml.core.errors import UsageError
from ml.core.settings import Settings, load_settings

COMMIT = "89abcdef" * 5


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A working tree with one commit."""
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("*.pyc\n")
    (folder / "a.py").write_text("A = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "One")
    return folder


def of(folder: Path) -> CodeVersion:
    module._of_git.cache_clear()
    return module._of_git(folder)


def test_a_tree_as_it_was_committed_is_clean(tree: Path) -> None:
    (tree / "b.pyc").write_text("ignored")
    assert of(tree) == CodeVersion(git(tree, "rev-parse", "HEAD"), clean=True)


def change(tree: Path) -> None:
    (tree / "a.py").write_text("A = 2\n")


def stage(tree: Path) -> None:
    change(tree)
    git(tree, "add", "a.py")


def add(tree: Path) -> None:
    (tree / "new.py").write_text("B = 1\n")


def remove(tree: Path) -> None:
    (tree / "a.py").unlink()


@pytest.mark.parametrize("work", [change, stage, add, remove])
def test_any_change_that_is_in_no_commit_makes_it_dirty(tree: Path, work: object) -> None:
    work(tree)  # type: ignore[operator]
    found = of(tree)
    assert (found.commit, found.clean) == (git(tree, "rev-parse", "HEAD"), False)


def test_a_folder_inside_of_somebody_elses_repository_is_not_its_code(tree: Path) -> None:
    inside = tree / "site-packages"
    inside.mkdir()
    assert of(inside) == UNKNOWN


def test_without_a_repository_a_commit_or_git_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of(tmp_path) == UNKNOWN
    git(tmp_path, "init", "--quiet")
    assert of(tmp_path) == UNKNOWN
    monkeypatch.setenv("PATH", "")
    assert of(tmp_path) == UNKNOWN


def test_a_git_hook_that_runs_us_does_not_lead_elsewhere(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert of(tree).clean is True


@pytest.mark.parametrize(("text", "clean"), [(COMMIT, True), (COMMIT + "+", False)])
def test_the_setting_goes_before_git(text: str, clean: bool, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, code_version=text)
    assert code_version(settings) == CodeVersion(COMMIT, clean=clean)
    assert of_run(settings) == {"commit": COMMIT, "clean": clean}


@pytest.mark.parametrize("text", ["main", "89abcdef", COMMIT + "++", COMMIT.upper(), "-" * 40])
def test_what_is_no_commit_is_refused_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="code_version"):
        load_settings(home=tmp_path, code_version=text)


def test_the_version_of_the_dag_bundle_stands_beside_it(tmp_path: Path) -> None:
    token = module.DAG_VERSION.set("fedc")
    try:
        assert of_run(Settings(home=tmp_path, code_version=COMMIT))["dag"] == "fedc"
    finally:
        module.DAG_VERSION.reset(token)
