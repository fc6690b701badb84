from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from ml.core.digests import Digest, canonical_json, digest_bytes
from ml.core.errors import CorruptArtefact, StoreUnavailable, UsageError
from ml.lake.local import LocalBlobs
from ml.models.golden import golden
from ml.promotion import bundle as module
from ml.promotion.bundle import Bundle, load_models, pack, read_bundle, sign_bundle, write_bundle
from ml.promotion.keyring import Keyring
from ml.promotion.manifest import MAX_FILE_BYTES, MAX_FILES, MAX_MANIFEST_BYTES
from ml.promotion.signature import Kind, SecretKey


class Line:
    """A model with one number in it."""

    inputs = ("x",)
    outputs = ("p",)

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"p": rows["x"].astype(float) * self.slope}, index=rows.index)

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Line:
        return cls(float(artefacts["value/model.txt"]))


class Other(Line):
    """Another one, in a folder of its own."""

    @classmethod
    def load(cls, artefacts: Mapping[str, bytes]) -> Other:
        return cls(float(artefacts["value_baseline/model.txt"]))


SECRET = SecretKey.generate(Kind.RELEASE)
KEYS = Keyring((SECRET.public,), SECRET)

TYPES: Any = {"value": Line}
ROWS = pd.DataFrame({"x": [0.25, 0.5, 1.0]})
META = {"trained_through": "2025-02-24"}


def artefacts(slope: float = 0.5, *, promised: float | None = None) -> dict[str, bytes]:
    said: Any = {"value": Line(slope if promised is None else promised)}
    return {"value/model.txt": str(slope).encode(), "golden.json": golden(said, {"value": ROWS})}


@pytest.fixture
def stored(blobs: LocalBlobs) -> Digest:
    return write_bundle(blobs, artefacts=artefacts(), meta=META, keys=KEYS)


def key(digest: Digest, name: str) -> str:
    return f"bundles/{digest}/{name}"


def store_manifest(blobs: LocalBlobs, value: Any, **files: bytes) -> Digest:
    """A manifest that somebody with the key wrote: whatever it says, its digest and its signature are right."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    digest = digest_bytes(data)
    blobs.put(key(digest, "signature.json"), SECRET.sign(data))
    blobs.put(key(digest, "manifest.json"), data)
    return digest


def manifest_of(blobs: LocalBlobs, digest: Digest) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(blobs.get(key(digest, "manifest.json")))
    return value


def test_what_was_written_is_read_back_and_predicts_the_same(blobs: LocalBlobs, stored: Digest) -> None:
    bundle = read_bundle(blobs, stored, KEYS)
    models = load_models(bundle, types=TYPES)
    assert (bundle.digest, dict(bundle.meta), dict(bundle.artefacts)) == (stored, META, artefacts())
    assert models["value"].predict(ROWS)["p"].tolist() == [0.125, 0.25, 0.5]


def test_the_digest_is_that_of_the_manifest_and_names_content_alone(blobs: LocalBlobs, stored: Digest) -> None:
    reversed_order = dict(reversed(artefacts().items()))
    assert digest_bytes(blobs.get(key(stored, "manifest.json"))) == stored
    assert write_bundle(blobs, artefacts=reversed_order, meta=META, keys=KEYS) == stored
    assert write_bundle(blobs, artefacts=artefacts(), meta={"trained_through": "2025-02-25"}, keys=KEYS) != stored
    assert write_bundle(blobs, artefacts=artefacts(0.6), meta=META, keys=KEYS) != stored


def test_a_whole_bundle_is_not_written_again(blobs: LocalBlobs, stored: Digest) -> None:
    before = {path: path.stat().st_ino for path in blobs.root.rglob("*") if path.is_file()}
    write_bundle(blobs, artefacts=artefacts(), meta=META, keys=KEYS)
    assert {path: path.stat().st_ino for path in blobs.root.rglob("*") if path.is_file()} == before


def test_a_bundle_cut_short_by_a_crash_is_none_until_it_is_written_again(blobs: LocalBlobs, stored: Digest) -> None:
    blobs.delete(key(stored, "manifest.json"))
    with pytest.raises(CorruptArtefact, match=r"manifest\.json is missing"):
        read_bundle(blobs, stored, KEYS)
    assert write_bundle(blobs, artefacts=artefacts(), meta=META, keys=KEYS) == stored
    assert read_bundle(blobs, stored, KEYS).digest == stored


def truncate(data: bytes) -> bytes:
    return data[:-1]


def extend(data: bytes) -> bytes:
    return data + b"0"


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize("name", ["value/model.txt", "golden.json"])
@pytest.mark.parametrize("damage", [truncate, extend, flip])
def test_a_damaged_file_is_refused_by_name(
    blobs: LocalBlobs, stored: Digest, name: str, damage: Callable[[bytes], bytes]
) -> None:
    blobs.put(key(stored, name), damage(blobs.get(key(stored, name))))
    with pytest.raises(CorruptArtefact, match=name.replace(".", r"\.")):
        read_bundle(blobs, stored, KEYS)


@pytest.mark.parametrize("name", ["value/model.txt", "golden.json", "manifest.json", "signature.json"])
def test_a_missing_file_is_refused_by_name(blobs: LocalBlobs, stored: Digest, name: str) -> None:
    blobs.delete(key(stored, name))
    with pytest.raises(CorruptArtefact, match=f"{name} is missing"):
        read_bundle(blobs, stored, KEYS)


@pytest.mark.parametrize("name", ["value/more.txt", "value/model.txt.orig", "README"])
def test_an_extra_file_is_refused_by_name(blobs: LocalBlobs, stored: Digest, name: str) -> None:
    blobs.put(key(stored, name), b"extra")
    with pytest.raises(CorruptArtefact, match=f"the file '{name}' is not in its manifest"):
        read_bundle(blobs, stored, KEYS)


@pytest.mark.parametrize("damage", [truncate, extend, flip])
def test_an_altered_manifest_is_refused(blobs: LocalBlobs, stored: Digest, damage: Callable[[bytes], bytes]) -> None:
    blobs.put(key(stored, "manifest.json"), damage(blobs.get(key(stored, "manifest.json"))))
    with pytest.raises(CorruptArtefact, match="does not have the digest"):
        read_bundle(blobs, stored, KEYS)


def test_a_manifest_is_read_no_further_than_its_limit(blobs: LocalBlobs, stored: Digest) -> None:
    blobs.put(key(stored, "manifest.json"), b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(CorruptArtefact, match=f"larger than {MAX_MANIFEST_BYTES} bytes"):
        read_bundle(blobs, stored, KEYS)


def test_a_huge_file_is_read_no_further_than_its_manifest_says(blobs: LocalBlobs, stored: Digest) -> None:
    path = blobs.local_path(key(stored, "value/model.txt"))
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte on paper
    with pytest.raises(CorruptArtefact, match=r"value/model\.txt is larger than 3 bytes"):
        read_bundle(blobs, stored, KEYS)


@pytest.mark.parametrize(
    "name",
    ["../../escape.txt", "/etc/passwd", "value/../model.txt", "value/model.py", "Value/model.txt", "model.txt", ""],
)
def test_a_manifest_with_a_name_that_is_not_allowed_is_refused(blobs: LocalBlobs, stored: Digest, name: str) -> None:
    value = manifest_of(blobs, stored)
    value["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    with pytest.raises(CorruptArtefact, match="is not allowed") as error:
        read_bundle(blobs, store_manifest(blobs, value), KEYS)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"format_version": 2}, "its format version is 2; this code reads 1"),
        ({"format_version": 0}, "its format version is 0"),
        (
            {"files": {"value/model.txt": {"sha256": "0" * 64, "bytes": MAX_FILE_BYTES + 1}}},
            "at most 67108864 are allowed",
        ),
        ({"files": {f"v/m{n}.txt": {"sha256": "0" * 64, "bytes": 1} for n in range(MAX_FILES + 1)}}, "65 files"),
        ({"files": {f"v/m{n}.txt": {"sha256": "0" * 64, "bytes": 60 << 20} for n in range(3)}}, "bytes in all"),
        ({"files": {"value/model.txt": {"sha256": "0" * 63, "bytes": 1}}}, "is not a digest and a size"),
        ({"files": {"value/model.txt": {"sha256": "0" * 64, "bytes": -1}}}, "is not a digest and a size"),
        ({"files": {"value/model.txt": {"sha256": "0" * 64, "bytes": True}}}, "is not a digest and a size"),
        ({"files": {"value/model.txt": "0" * 64}}, "does not have the expected form"),
        ({"files": ["value/model.txt"]}, "does not have the expected form"),
        ({"meta": []}, "not in canonical form"),
        ({"more": 1}, "not in canonical form"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_of_another_form_is_refused_though_its_digest_is_right(
    blobs: LocalBlobs, stored: Digest, change: dict[str, Any], fault: str
) -> None:
    with pytest.raises(CorruptArtefact, match=fault):
        read_bundle(blobs, store_manifest(blobs, manifest_of(blobs, stored) | change), KEYS)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff\xfe", b'{"format_version":1', b"[" * 100_000], ids=repr)
def test_a_manifest_that_is_no_json_object_is_refused(blobs: LocalBlobs, data: bytes) -> None:
    with pytest.raises(CorruptArtefact, match="does not have the expected form"):
        read_bundle(blobs, store_manifest(blobs, data), KEYS)


def test_a_manifest_with_a_key_twice_is_refused(blobs: LocalBlobs, stored: Digest) -> None:
    """Two readers of such a file may each believe another of the two."""
    data = blobs.get(key(stored, "manifest.json")).replace(b'"meta":', b'"meta":{},"meta":')
    with pytest.raises(CorruptArtefact, match="not in canonical form"):
        read_bundle(blobs, store_manifest(blobs, data), KEYS)


@pytest.mark.parametrize("digest", ["", "../" * 20, "A" * 64, "a" * 63], ids=repr)
def test_what_is_no_digest_is_refused_before_anything_is_read(blobs: LocalBlobs, digest: str) -> None:
    with pytest.raises(UsageError, match="is no digest of a bundle"):
        read_bundle(blobs, Digest(digest), KEYS)


def test_a_store_that_cannot_be_read_is_no_corrupt_bundle(
    blobs: LocalBlobs, stored: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ml.lake.local.os.open", fail)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        read_bundle(blobs, stored, KEYS)


def test_what_is_loaded_are_the_bytes_that_were_verified(blobs: LocalBlobs, stored: Digest) -> None:
    bundle = read_bundle(blobs, stored, KEYS)
    blobs.put(key(stored, "value/model.txt"), b"9.5")
    assert load_models(bundle, types=TYPES)["value"].predict(ROWS)["p"].tolist() == [0.125, 0.25, 0.5]


def test_a_bundle_is_signed_again_by_a_newer_key_and_stays_the_same_version(blobs: LocalBlobs, stored: Digest) -> None:
    newer = SecretKey.generate(Kind.RELEASE)
    both = Keyring((SECRET.public, newer.public), newer)
    assert write_bundle(blobs, artefacts=artefacts(), meta=META, keys=both) == stored
    assert read_bundle(blobs, stored, both).signed_by == SECRET.public.id, "a signature that counts is left alone"
    checked: list[Bundle] = []
    sign_bundle(blobs, stored, both, check=checked.append)
    assert read_bundle(blobs, stored, Keyring((newer.public,))) == replace(checked[0], signed_by=newer.public.id)


def test_a_bundle_that_is_not_sound_is_not_signed_again(blobs: LocalBlobs, stored: Digest) -> None:
    before = blobs.get(key(stored, "signature.json"))
    with pytest.raises(CorruptArtefact):
        sign_bundle(blobs, stored, KEYS, check=lambda _: load_models(pack({}, {}), types=TYPES))
    blobs.put(key(stored, "value/model.txt"), b"0.6")
    with pytest.raises(CorruptArtefact, match="does not have its digest"):
        sign_bundle(blobs, stored, KEYS, check=lambda _: None)
    assert blobs.get(key(stored, "signature.json")) == before


def test_nothing_is_written_without_a_key_to_sign_with(blobs: LocalBlobs) -> None:
    for keys in (Keyring(), Keyring((SECRET.public,)), Keyring((), SECRET)):
        with pytest.raises(UsageError, match="nothing was signed"):
            write_bundle(blobs, artefacts=artefacts(), meta=META, keys=keys)
    assert blobs.list("") == []


def test_a_model_that_does_not_repeat_its_golden_prediction_is_refused(blobs: LocalBlobs) -> None:
    digest = write_bundle(blobs, artefacts=artefacts(0.5, promised=0.5 + 1e-8), meta=META, keys=KEYS)
    with pytest.raises(CorruptArtefact, match=r"golden prediction is not repeated: value\.p of golden row 2"):
        load_models(read_bundle(blobs, digest, KEYS), types=TYPES)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"golden.json": None}, r"golden\.json is missing"),
        ({"golden.json": b"{}"}, "golden predictions are not of the expected form"),
        ({"value/model.txt": None}, "holds no model"),
        ({"strange/model.txt": b"1"}, "no model is called 'strange'"),
    ],
    ids=["no golden", "empty golden", "no model", "unknown model"],
)
def test_a_bundle_that_holds_not_what_a_bundle_holds_is_not_loaded(
    blobs: LocalBlobs, change: dict[str, bytes | None], fault: str
) -> None:
    files = {name: data for name, data in (artefacts() | change).items() if data is not None}
    bundle = read_bundle(blobs, write_bundle(blobs, artefacts=files, meta=META, keys=KEYS), KEYS)
    with pytest.raises(CorruptArtefact, match=fault):
        load_models(bundle, types=TYPES)


@pytest.mark.parametrize("name", ["../x.txt", "value/model.bin", "value/sub/model.txt"])
def test_a_name_that_is_not_allowed_is_not_written(blobs: LocalBlobs, name: str) -> None:
    with pytest.raises(UsageError, match="may not be in a bundle"):
        write_bundle(blobs, artefacts=artefacts() | {name: b"1"}, meta=META, keys=KEYS)
    assert blobs.list("") == []


def test_a_bundle_beyond_the_limits_is_not_written(blobs: LocalBlobs) -> None:
    with pytest.raises(UsageError, match="too large: 65 files"):
        write_bundle(blobs, artefacts={f"v/m{n}.txt": b"1" for n in range(65)}, meta=META, keys=KEYS)
    with pytest.raises(UsageError, match="the manifest has"):
        write_bundle(blobs, artefacts=artefacts(), meta={"long": "x" * MAX_MANIFEST_BYTES}, keys=KEYS)
    assert blobs.list("") == []


def test_the_models_of_the_platform_load_bundles_by_default() -> None:
    from ml.models import MODELS

    assert module._model_types() is MODELS


def test_a_baseline_predicts_under_the_name_of_the_model_that_showed_no_gain(blobs: LocalBlobs) -> None:
    two: Any = {"value": Line, "value_baseline": Other}
    lines: Any = {"value": Line(0.5), "value_baseline": Other(0.25)}
    files = {
        "value/model.txt": b"0.5",
        "value_baseline/model.txt": b"0.25",
        "golden.json": golden(lines, dict.fromkeys(lines, ROWS)),
    }
    meta = META | {"serves": {"value": "value_baseline"}}
    models = load_models(
        read_bundle(blobs, write_bundle(blobs, artefacts=files, meta=meta, keys=KEYS), KEYS), types=two
    )
    assert models["value"].predict(ROWS)["p"].tolist() == models["value_baseline"].predict(ROWS)["p"].tolist()
    own = META | {"serves": {"value": "value"}}
    models = load_models(read_bundle(blobs, write_bundle(blobs, artefacts=files, meta=own, keys=KEYS), KEYS), types=two)
    assert models["value"].predict(ROWS)["p"].tolist() == [0.125, 0.25, 0.5]


@pytest.mark.parametrize("serves", [{"value": "strange"}, {"strange": "value"}, ["value"]], ids=str)
def test_meta_data_that_name_a_model_that_is_not_there_are_refused(blobs: LocalBlobs, serves: Any) -> None:
    bundle = read_bundle(
        blobs, write_bundle(blobs, artefacts=artefacts(), meta=META | {"serves": serves}, keys=KEYS), KEYS
    )
    with pytest.raises(CorruptArtefact, match="name a model that it does not hold"):
        load_models(bundle, types=TYPES)
