"""Parsing in a child: what kills, hangs or misleads a parser is a fault of the bundle, named, and kills nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ml.core.digests import Digest, canonical_json
from ml.core.errors import CorruptArtefact, PermanentError
from ml.promotion.bundle import Bundle
from ml.promotion.sandbox import environment, verify_in_child

SCRIPT = str(Path(__file__).with_name("stand_in_child.py"))


def command(mode: str) -> list[str]:
    return [sys.executable, "-P", SCRIPT, mode]


def bundle(text: str, *, golden: bytes = b"{}") -> Bundle:
    """A bundle whose digests held: its bytes are those that somebody registered, whatever they are."""
    return Bundle(Digest("e" * 64), {"value/model.txt": text.encode(), "golden.json": golden}, {})


@pytest.fixture(scope="module")
def trees() -> tuple[str, bytes]:
    """LightGBM text of a small model, and its golden predictions."""
    done = subprocess.run(command("train"), env=environment(), capture_output=True, text=True, check=True, timeout=120)
    text, _, said = done.stdout.partition("\n---\n")
    record = {"rows": {"x": [0.1, 0.4, 0.6, 0.9]}, "predictions": {"margin": [float(part) for part in said.split()]}}
    return text, canonical_json({"value": record})


def test_a_sound_bundle_is_verified(trees: tuple[str, bytes]) -> None:
    text, golden = trees
    verify_in_child(bundle(text, golden=golden), command=command("trees"))


def test_text_that_kills_its_reader_is_a_corrupt_bundle_and_kills_only_the_child(trees: tuple[str, bytes]) -> None:
    text, golden = trees
    faults = []
    for share in (0.3, 0.6):
        with pytest.raises(CorruptArtefact) as error:
            verify_in_child(bundle(text[: int(share * len(text))], golden=golden), command=command("trees"))
        faults.append(str(error.value))
    assert any("killed the process by SIG" in fault for fault in faults), faults


def test_a_second_leaf_value_line_is_caught_by_the_golden_predictions(trees: tuple[str, bytes]) -> None:
    """LightGBM's reader believes the last of two contradicting lines, and raises nothing."""
    text, golden = trees
    head, line, rest = text.partition("leaf_value=")
    values, _, rest = rest.partition("\n")
    other = " ".join("9" for _ in values.split())
    doubled = f"{head}{line}{values}\nleaf_value={other}\n{rest}"
    without_sizes = "\n".join(part for part in doubled.split("\n") if not part.startswith("tree_sizes"))
    with pytest.raises(CorruptArtefact, match=r"golden prediction is not repeated: value\.margin"):
        verify_in_child(bundle(without_sizes, golden=golden), command=command("trees"))


def test_a_reader_that_hangs_is_ended() -> None:
    with pytest.raises(CorruptArtefact, match=r"did not end within 0\.5 s"):
        verify_in_child(bundle(""), timeout_s=0.5, command=[sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_reader_that_wants_too_much_memory_is_refused_it() -> None:
    with pytest.raises(CorruptArtefact, match="MemoryError"):
        verify_in_child(bundle(""), command=command("hungry"))


def test_a_reader_cannot_write_files(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtefact, match="File too large"):
        verify_in_child(bundle(str(tmp_path / "left")), command=command("writer"))
    assert not (tmp_path / "left").exists() or (tmp_path / "left").read_bytes() == b""


def test_a_reader_sees_no_secret_of_theenvironment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDWRIGHT_SMTP_PASSWORD", "canary")
    with pytest.raises(CorruptArtefact) as error:
        verify_in_child(bundle(""), command=command("teller"))
    assert "PYTHONPATH" in str(error.value)
    assert "BIDWRIGHT" not in str(error.value)


def test_a_reader_computes_as_its_parent_was_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the last bits of its sums would be those of another kernel, and no candidate would be served as it was judged."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX512F")
    found = environment()
    assert (found["OPENBLAS_CORETYPE"], found["NPY_DISABLE_CPU_FEATURES"]) == ("Prescott", "AVX512F")
    assert found["OPENBLAS_NUM_THREADS"] == "1"


def test_the_installed_child_judges_with_the_models_of_the_platform() -> None:
    with pytest.raises(CorruptArtefact, match="no model is called 'strange'"):
        verify_in_child(Bundle(Digest("e" * 64), {"strange/model.txt": b"1", "golden.json": b"{}"}, {}))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('no lightgbm')", "ImportError: no lightgbm"),
        ("pass", "no answer"),
        ("print('[]')", "no answer"),
    ],
)
def test_a_child_that_cannot_judge_verifies_nothing_and_blames_no_bundle(code: str, reason: str) -> None:
    with pytest.raises(PermanentError, match=reason) as error:
        verify_in_child(bundle(""), command=[sys.executable, "-c", code])
    assert not isinstance(error.value, CorruptArtefact)
