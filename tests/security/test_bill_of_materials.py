"""`make sbom`: a package of the lock that the bill leaves out, or has in another version, is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.sbom import listed, locked, main, missing

LOCK = "numpy==2.4.1 ; python_full_version < '3.12' \\\n    --hash=sha256:00\nnumpy==2.5.5 ; python_full_version >= '3.12' \\\ncelery[redis]==5.6.2 \\\n# pip==1\n"


def test_a_lock_for_several_pythons_has_every_version() -> None:
    assert locked(LOCK) == {("numpy", "2.4.1"), ("numpy", "2.5.5"), ("celery", "5.6.2")}


@pytest.mark.parametrize(
    ("bill", "gone"), [({"numpy": "2.4.1"}, []), ({"numpy": "2.4.0"}, ["numpy==2.4.1"]), ({}, ["numpy==2.4.1"])]
)
def test_what_is_installed_by_the_lock_must_be_in_the_bill(bill: dict[str, str], gone: list[str]) -> None:
    assert missing(bill, locked(LOCK), {("numpy", "2.4.1"), ("other", "1")}) == gone


def test_names_are_compared_as_indexes_do(tmp_path: Path) -> None:
    assert listed(json.dumps({"components": [{"name": "Ruamel.Yaml_Clib", "version": "1"}]})) == {
        "ruamel-yaml-clib": "1"
    }


def test_an_empty_bill_fails(tmp_path: Path) -> None:
    (tmp_path / "bill").write_text('{"components": []}')
    (tmp_path / "lock").write_text("")
    assert main([str(tmp_path / "bill"), str(tmp_path / "lock")]) == 1
