"""A thousand spoilt bundles: none is served, none reaches a parser, each refusal says what is wrong.

Whoever writes to the blob store can do the first kinds; whoever writes to the ledger too can have a digest of their own
asked for, and is stopped by the signature. What the right key signed and is broken inside is stopped by the child.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ml.core.digests import Digest, canonical_json, digest_bytes
from ml.core.errors import BidwrightError, CorruptArtefact
from ml.lake.local import LocalBlobs
from ml.promotion.bundle import load_models, pack, read_bundle, write_bundle
from ml.promotion.keyring import Keyring
from ml.promotion.manifest import GOLDEN, MANIFEST, Manifest
from ml.promotion.sandbox import environment, verify_in_child
from ml.promotion.signature import SIGNATURE, Kind, SecretKey, Signature

SEED = 20261121
MODEL = "value/model.txt"
SECRET, FOREIGN = SecretKey(b"1" * 32, Kind.RELEASE), SecretKey(b"2" * 32, Kind.RELEASE)
DEVELOPMENT = SecretKey(b"3" * 32, Kind.DEVELOPMENT)
KEYS = Keyring((SECRET.public,), SECRET, "the setting production is on")
COMMAND = [sys.executable, "-P", str(Path(__file__).with_name("stand_in_child.py"))]


@dataclass
class Stored:
    """A bundle as it lies in a folder, which a mutation spoils, and the digest that is asked for."""

    files: dict[str, bytes]
    asked: Digest
    other: Mapping[str, bytes]
    links: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def manifest(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.files[MANIFEST])
        return value

    def models(self) -> dict[str, bytes]:
        return {name: data for name, data in self.files.items() if name not in {MANIFEST, SIGNATURE}}

    def remake(self, secret: SecretKey | None = None, **change: Any) -> None:
        """Give the manifest the digests of what lies there, and whatever else; sign it, if with a key; ask for it."""
        value = json.loads(Manifest.of(self.models(), self.manifest["meta"]).to_bytes()) | change
        self.files[MANIFEST] = canonical_json(value)
        self.asked = digest_bytes(self.files[MANIFEST])
        if secret is not None:
            self.files[SIGNATURE] = secret.sign(self.files[MANIFEST])

    def lay(self, folder: Path) -> None:
        place = folder / "bundles" / self.asked
        for name, data in self.files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name, size in self.sizes.items():
            with (place / name).open("r+b") as file:
                file.truncate(size)  # sparse: large on paper only
        for name, target in self.links.items():
            moved = folder / "elsewhere" / name
            if (place / name).exists():
                moved.parent.mkdir(parents=True, exist_ok=True)
                (place / name).rename(moved)
            (place / name).symlink_to(moved if moved.exists() else target)


Mutation = Callable[[random.Random, Stored], None]


def any_file(chance: random.Random, stored: Stored) -> str:
    return chance.choice(sorted(stored.files))


def flipped(chance: random.Random, data: bytes) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        spoilt[chance.randrange(len(spoilt))] ^= chance.randint(1, 255)
    return flipped(chance, data) if bytes(spoilt) == data else bytes(spoilt)


def flip(chance: random.Random, stored: Stored) -> None:
    name = any_file(chance, stored)
    stored.files[name] = flipped(chance, stored.files[name])


def truncate(chance: random.Random, stored: Stored) -> None:
    name = any_file(chance, stored)
    stored.files[name] = stored.files[name][: chance.randrange(len(stored.files[name]))]


def lines(change: Callable[[random.Random, list[bytes]], None]) -> Mutation:
    def mutate(chance: random.Random, stored: Stored) -> None:
        before = stored.files[MODEL].split(b"\n")
        after = list(before)
        while after == before:
            change(chance, after)
        stored.files[MODEL] = b"\n".join(after)

    return mutate


def drop(chance: random.Random, text: list[bytes]) -> None:
    del text[chance.randrange(len(text))]


def double(chance: random.Random, text: list[bytes]) -> None:
    place = chance.randrange(len(text))
    text.insert(place, text[place])


def swap(chance: random.Random, text: list[bytes]) -> None:
    one, two = chance.sample(range(len(text)), 2)
    text[one], text[two] = text[two], text[one]


def second_leaf_values(chance: random.Random, text: list[bytes]) -> None:
    """LightGBM's reader believes the last of two such lines."""
    place = chance.choice([n for n, line in enumerate(text) if line.startswith(b"leaf_value=")])
    text.insert(place + 1, b"leaf_value=" + b" ".join([b"9"] * len(text[place].split())))
    text[:] = [line for line in text if not line.startswith(b"tree_sizes")]


def huge_number(chance: random.Random, text: list[bytes]) -> None:
    places = [
        n for n, line in enumerate(text) if re.match(rb"(num_leaves|leaf_value|threshold|max_feature_idx)=", line)
    ]
    place = chance.choice(places)
    name, _, values = text[place].partition(b"=")
    text[place] = name + b"=" + chance.choice([b"1e308", b"2147483648", b"9" * 400, b"-1", b"nan"]) + values[1:]


def add(chance: random.Random, stored: Stored) -> None:
    stored.files[chance.choice(["value/more.txt", "README", "value/model.txt.orig", "reference.json", "a/b/c.py"])] = (
        b"1"
    )


def lose(chance: random.Random, stored: Stored) -> None:
    del stored.files[any_file(chance, stored)]


def link(chance: random.Random, stored: Stored) -> None:
    """A file or a folder of the bundle lies elsewhere; or a link is there besides."""
    name = chance.choice([*sorted(stored.files), "value", "more.txt", "circle"])
    stored.links[name] = "." if name == "circle" else "/dev/zero"


def grow(chance: random.Random, stored: Stored) -> None:
    stored.sizes[any_file(chance, stored)] = chance.choice([1 << 20, 1 << 40])


def strip(chance: random.Random, stored: Stored) -> None:
    stored.files.pop(SIGNATURE) if chance.random() < 0.5 else stored.files.update({SIGNATURE: b""})


def others_signature(_: random.Random, stored: Stored) -> None:
    stored.files[SIGNATURE] = stored.other[SIGNATURE]


def foreign_signature(chance: random.Random, stored: Stored) -> None:
    secret = chance.choice([FOREIGN, DEVELOPMENT])
    stored.files[SIGNATURE] = secret.sign(stored.files[MANIFEST])


def forged_id(_: random.Random, stored: Stored) -> None:
    said = Signature.parse(FOREIGN.sign(stored.files[MANIFEST]))
    stored.files[SIGNATURE] = replace(said, key_id=SECRET.public.id).to_bytes()


def other_digit(chance: random.Random, stored: Stored) -> None:
    said = json.loads(stored.files[SIGNATURE])
    name = chance.choice(["key", "signature"])
    place = chance.randrange(len(said[name]))
    digit = chance.choice([digit for digit in "0123456789abcdef" if digit != said[name][place]])
    said[name] = said[name][:place] + digit + said[name][place + 1 :]
    stored.files[SIGNATURE] = canonical_json(said)


def downgraded_signature(chance: random.Random, stored: Stored) -> None:
    change = chance.choice([{"format_version": chance.choice([0, 2, -1, "1", None])}, {"algorithm": "none"}])
    stored.files[SIGNATURE] = canonical_json(json.loads(stored.files[SIGNATURE]) | change)


def others_manifest(chance: random.Random, stored: Stored) -> None:
    names = [MANIFEST, SIGNATURE] if chance.random() < 0.5 else [MANIFEST]
    stored.files |= {name: stored.other[name] for name in names}


def remade_unsigned(chance: random.Random, stored: Stored) -> None:
    stored.files[MODEL] = flipped(chance, stored.files[MODEL])
    stored.remake()


def remade_by_stranger(chance: random.Random, stored: Stored) -> None:
    stored.files[MODEL] = flipped(chance, stored.files[MODEL])
    stored.remake(FOREIGN)


def remade_in_development(chance: random.Random, stored: Stored) -> None:
    stored.files[MODEL] = flipped(chance, stored.files[MODEL])
    stored.remake(DEVELOPMENT)


def downgraded_by_stranger(chance: random.Random, stored: Stored) -> None:
    stored.remake(FOREIGN, format_version=chance.choice([0, 2]))


def downgraded_by_owner(chance: random.Random, stored: Stored) -> None:
    stored.remake(SECRET, format_version=chance.choice([0, 2, 99, "1", None]))


def names_by_owner(chance: random.Random, stored: Stored) -> None:
    name = chance.choice(
        ["../../escape.txt", "/etc/passwd", "value/model.py", SIGNATURE, MANIFEST, "value/../model.txt"]
    )
    files = stored.manifest["files"]
    stored.remake(SECRET, files=files | {name: files[GOLDEN]})


REFUSALS = {
    "manifest digest": "manifest.json does not have the digest",
    "file digest": r"(value/model\.txt|golden\.json) does not have its digest",
    "file size": r"(has \d+ bytes instead of \d+|is larger than \d+ bytes)",
    "extra file": "is not in its manifest",
    "missing file": r"(manifest|golden|value/model)\.(json|txt) is missing",
    "link": "is a symbolic link",
    "circle of links": "Too many levels of symbolic links",
    "no signature": r"signature\.json is missing, so nobody vouches for it",
    "signature form": r"signature\.json (does not have the expected form|is not in canonical form)",
    "signature format": "its signature has the format version",
    "signature algorithm": "its signature is made with",
    "untrusted key": "which is not trusted here",
    "development key": "signed by the development key .* none counts here, because the setting production is on",
    "signature": "its signature by the key .* does not match",
    "manifest format": "its format version is",
    "name": "the name .* is not allowed",
}

SPOILT_SIGNATURE = {"signature form", "signature format", "signature algorithm", "untrusted key", "signature"}

KINDS: dict[str, tuple[int, Mutation, set[str]]] = {
    "bytes": (160, flip, {"manifest digest", "file digest", *SPOILT_SIGNATURE}),
    "digit of the signature": (30, other_digit, {"signature", "untrusted key"}),
    "truncation": (100, truncate, {"manifest digest", "file size", "signature form"}),
    "line dropped": (50, lines(drop), {"file size"}),
    "line doubled": (50, lines(double), {"file size"}),
    "lines swapped": (50, lines(swap), {"file digest"}),
    "duplicate leaf_value": (50, lines(second_leaf_values), {"file size", "file digest"}),
    "huge number": (50, lines(huge_number), {"file size", "file digest"}),
    "extra file": (40, add, {"extra file"}),
    "file lost": (40, lose, {"missing file", "no signature"}),
    "link": (40, link, {"link", "circle of links", "extra file"}),
    "huge file": (20, grow, {"file size"}),
    "signature stripped": (30, strip, {"no signature", "signature form"}),
    "another bundle's signature": (20, others_signature, {"signature"}),
    "foreign signature": (40, foreign_signature, {"untrusted key", "development key"}),
    "foreign signature under our key's id": (20, forged_id, {"signature"}),
    "signature's format downgraded": (40, downgraded_signature, {"signature format", "signature algorithm"}),
    "another bundle's manifest": (30, others_manifest, {"manifest digest"}),
    "digests made anew, signature kept": (30, remade_unsigned, {"signature"}),
    "digests made anew, foreign signature": (40, remade_by_stranger, {"untrusted key"}),
    "digests made anew, development key": (20, remade_in_development, {"development key"}),
    "downgraded and signed by a stranger": (20, downgraded_by_stranger, {"untrusted key"}),
    "downgraded and signed by us": (15, downgraded_by_owner, {"manifest format"}),
    "strange name, signed by us": (15, names_by_owner, {"name"}),
}


@pytest.fixture(scope="module")
def trees() -> tuple[str, bytes]:
    """LightGBM text of a small model, and its golden predictions."""
    done = subprocess.run(
        [*COMMAND, "train"], env=environment(), capture_output=True, text=True, check=True, timeout=120
    )
    text, _, said = done.stdout.partition("\n---\n")
    record = {"rows": {"x": [0.1, 0.4, 0.6, 0.9]}, "predictions": {"margin": [float(part) for part in said.split()]}}
    return text, canonical_json({"value": record})


@pytest.fixture(scope="module")
def sound(trees: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> tuple[Stored, LocalBlobs]:
    """A bundle that is served, as it lies in its folder, and another by the same key."""
    blobs = LocalBlobs(tmp_path_factory.mktemp("sound"))
    files = {MODEL: trees[0].encode(), GOLDEN: trees[1]}
    one, two = (write_bundle(blobs, artefacts=files, meta={"seed": seed}, keys=KEYS) for seed in (1, 2))

    def laid(digest: Digest) -> dict[str, bytes]:
        names = [*files, MANIFEST, SIGNATURE]
        return {name: blobs.get(f"bundles/{digest}/{name}") for name in names}

    return Stored(laid(one), one, laid(two)), blobs


class Parser:
    """Stands where LightGBM would: nothing may come to it."""

    parsed = 0

    @classmethod
    def load(cls, _artefacts: Mapping[str, bytes]) -> Any:
        cls.parsed += 1
        raise AssertionError("a spoilt bundle came to the parser")


def refusal(folder: Path, digest: Digest) -> str:
    """The name of the refusal; fails where the bundle is not refused, or for a reason that has no name."""
    types: Any = {"value": Parser}
    try:
        load_models(read_bundle(LocalBlobs(folder), digest, KEYS), types=types)
    except BidwrightError as error:
        found = [name for name, pattern in REFUSALS.items() if re.search(pattern, error.what)]
        assert len(found) == 1, f"{error.what!r} has the names {found}"
        return found[0]
    raise AssertionError("a spoilt bundle was served")


def test_a_thousand_spoilt_bundles_are_refused_by_name_before_anything_is_parsed(
    sound: tuple[Stored, LocalBlobs], tmp_path: Path
) -> None:
    chance, table = random.Random(SEED), {}  # noqa: S311
    for kind, (count, mutate, _) in KINDS.items():
        table[kind] = Counter[str]()
        for number in range(count):
            stored = replace(sound[0], files=dict(sound[0].files), links={}, sizes={})
            mutate(chance, stored)
            folder = tmp_path / f"{kind} {number}"
            stored.lay(folder)
            table[kind][refusal(folder, stored.asked)] += 1
    assert sum(found.total() for found in table.values()) == 1000
    assert {kind: set(found) - KINDS[kind][2] for kind, found in table.items()} == {kind: set() for kind in KINDS}
    assert {name for found in table.values() for name in found} == {*REFUSALS}, "each refusal was seen"
    assert Parser.parsed == 0


def test_the_bundle_they_were_made_from_is_served(sound: tuple[Stored, LocalBlobs]) -> None:
    bundle = read_bundle(sound[1], sound[0].asked, KEYS)
    assert bundle.signed_by == SECRET.public.id
    verify_in_child(bundle, command=[*COMMAND, "trees"])


def truncated(text: str) -> str:
    return text[: len(text) // 2]


def on_lines(change: Callable[[random.Random, list[bytes]], None]) -> Callable[[str], str]:
    def mutate(text: str) -> str:
        after = text.encode().split(b"\n")
        change(random.Random(SEED), after)  # noqa: S311
        return b"\n".join(after).decode()

    return mutate


def other_leaf(text: str) -> str:
    return re.sub(r"(leaf_value=)\S+", r"\g<1>0.123", text, count=1)


@pytest.mark.parametrize("change", [truncated, on_lines(second_leaf_values), on_lines(huge_number), other_leaf])
def test_what_the_right_key_would_sign_and_is_broken_inside_is_stopped_by_the_child(
    trees: tuple[str, bytes], change: Callable[[str], str]
) -> None:
    spoilt = change(trees[0])
    assert spoilt != trees[0]
    with pytest.raises(
        CorruptArtefact, match=r"killed the process by SIG|golden prediction is not repeated|did not end"
    ):
        verify_in_child(pack({MODEL: spoilt.encode(), GOLDEN: trees[1]}, {}), command=[*COMMAND, "trees"], timeout_s=60)
