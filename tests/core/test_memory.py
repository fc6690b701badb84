"""A folder in memory is used only where nobody else can write to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.core.memory import OFF, memory_folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "shared").mkdir()
    return tmp_path / "home"


def test_one_working_folder_has_one_folder_of_mode_0700_and_another_has_another(home: Path) -> None:
    shared = home.parent / "shared"
    assert memory_folder(home, shared=shared) is None, "who only reads makes nothing"
    made = memory_folder(home, make=True, shared=shared)
    assert made is not None
    assert made.parent == shared
    assert made.stat().st_mode & 0o777 == 0o700
    assert memory_folder(home, shared=shared) == memory_folder(home / ".", make=True, shared=shared) == made
    assert memory_folder(home.parent, make=True, shared=shared) != made


def test_a_folder_that_others_can_enter_or_that_is_a_link_is_not_used(home: Path) -> None:
    shared = home.parent / "shared"
    made = memory_folder(home, make=True, shared=shared)
    assert made is not None
    made.chmod(0o755)
    assert memory_folder(home, make=True, shared=shared) is None
    made.rmdir()
    (home / "elsewhere").mkdir(mode=0o700)
    made.symlink_to(home / "elsewhere")
    assert memory_folder(home, make=True, shared=shared) is None
    assert memory_folder(home, shared=shared) is None


def test_a_setting_names_another_folder_or_none(home: Path) -> None:
    asked = home.parent / "asked"
    found = memory_folder(home, str(asked), make=True)
    assert found is not None
    assert found.parent == asked
    assert memory_folder(home, OFF, make=True) is None


def test_without_shared_memory_there_is_none(home: Path) -> None:
    assert memory_folder(home, make=True, shared=home / "absent") is None
