"""A backup holds the platform as it was at one instant, and an empty platform becomes that one again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from ml.backup.make import make
from ml.backup.manifest import MANIFEST, SIGNATURE
from ml.backup.restore import restore
from ml.bidding.publish import publish_table
from ml.cli.app import app
from ml.core.digests import Digest, digest_bytes
from ml.core.errors import BidwrightError, CorruptArtefact, UsageError
from ml.lake.blobs import BlobStore, open_blobs
from ml.lake.local import LocalBlobs
from ml.ledger import champion, decisions, schema, upkeep, versions
from ml.ledger.dump import Snapshot, snapshot
from ml.ledger.load import contents, load
from ml.ledger.publications import SERVING
from ml.platform import Platform
from ml.promotion.bundle import read_bundle, write_bundle
from ml.promotion.signature import Kind, SecretKey
from tests.upkeep.conftest import NOW, SECRET, New
from tests.upkeep.rows import DAY, fill

KINDS = ("files", "servers")
PLAN = b'{"plan": 1}'


def furnish(platform: Platform) -> tuple[Digest, Digest]:
    """Rows in every table, two sound bundles, the bids and the plan that stand, and a day in the lake."""
    keys, blobs = platform.keys, platform.blobs
    digests = tuple(
        write_bundle(blobs, artefacts={"value/model.txt": b"0.5" * (n + 1), "golden.json": b"{}"}, meta={}, keys=keys)
        for n in range(2)
    )
    blobs.put(f"bids/m0/serving/{digest_bytes(PLAN)}", PLAN)
    published = publish_table(
        blobs, pd.DataFrame({"cell": ["a"], "bid_micros": [3]}), market="m1", partner="google", day=DAY,
        version=digests[1], generation=1, policy="p",
    )  # fmt: skip
    platform.db.migrate()
    fill(
        platform.db,
        {
            ("versions", "digest"): digests,
            ("promotions", "digest"): digests,
            ("publications", "partner"): (SERVING, "google"),
            ("publications", "uri"): (f"bids/m0/serving/{digest_bytes(PLAN)}", published.uri),
            ("publications", "digest"): (digest_bytes(PLAN), published.digest),
        },
    )
    platform.lake.write("clicks", DAY, pd.DataFrame({"a": [1, 2]}))
    return digests[0], digests[1]


def place_of(kind: str, platform: Platform, tmp_path: Path, name: str = "backup") -> BlobStore:
    """Where backups of a kind of platform go: a folder, or a prefix of the bucket."""
    if kind == "files":
        return LocalBlobs(tmp_path / name)
    bucket = platform.settings.blobs.split("/")[2]
    return open_blobs(f"s3://{bucket}/{name}", cache=tmp_path / f"cache-{name}", endpoint=platform.settings.s3_endpoint)


def rows(platform: Platform) -> dict[str, list[bytes]]:
    """Every row of every table, as a dump has it."""
    with snapshot(platform.db) as taken:
        found: dict[str, list[bytes]] = {name: [] for name in taken.columns}
        for part in taken.parts():
            found[part.table] += part.data.splitlines()
    return found


@pytest.mark.parametrize(
    ("there", "here"), [("files", "files"), ("servers", "servers"), ("files", "servers"), ("servers", "files")]
)
def test_an_empty_platform_has_the_same_rows_champions_bundles_and_bids_after_a_restore(
    there: str, here: str, new: New, tmp_path: Path
) -> None:
    old = new(there)
    digests = furnish(old)
    before = rows(old)
    assert all(len(each) == 2 for each in before.values()), "rows in every table"
    place = place_of(there, old, tmp_path)
    told = make(old, place)
    assert (told["left_out"], told["bundles"], told["signed_by"]) == ([], 2, SECRET.public.id)
    assert upkeep.last(old.db, "backup").result["digest"] == told["digest"]  # type: ignore[union-attr]

    fresh = new(here)
    found = restore(fresh, place)
    after = rows(fresh)
    assert {name: each for name, each in after.items() if name != "upkeep"} == {
        name: each for name, each in before.items() if name != "upkeep"
    }
    assert after["upkeep"][:2] == before["upkeep"]
    assert found["champions"] == {"m0": digests[0], "m1": digests[1]}
    assert champion.current(fresh.db, "m0") == champion.current(old.db, "m0")
    for digest in digests:
        assert read_bundle(fresh.blobs, digest, fresh.keys).signed_by == SECRET.public.id
    for key in [key for key in old.blobs.list("") if key.startswith(("bids/", "bundles/"))]:
        assert fresh.blobs.get(key) == old.blobs.get(key)
    assert (found["missing"], found["first_missing"]) == (1, [f"lake/{old.lake.key('clicks', DAY)}"])
    version = versions.Version(Digest("c" * 64), "m0", DAY, "u", Digest("d" * 64), DAY, {}, "")
    assert versions.register(fresh.db, version, NOW).digest == "c" * 64, "ids go on after those that were restored"


def test_the_same_rows_make_the_same_bytes_on_each_kind_of_database(new: New) -> None:
    platforms = [new(kind) for kind in KINDS]
    for platform in platforms:
        platform.db.migrate()
        fill(platform.db)
    with snapshot(platforms[0].db) as one, snapshot(platforms[1].db) as other:
        assert list(one.parts()) == list(other.parts())
        assert one.columns == other.columns


@pytest.mark.parametrize("kind", KINDS)
def test_a_platform_that_has_anything_is_not_restored_into(kind: str, new: New, tmp_path: Path) -> None:
    old, other = new("files"), new(kind)
    furnish(old)
    furnish(other)
    make(old, LocalBlobs(tmp_path / "b"))
    before, blobs = rows(other), other.blobs.list("")
    with pytest.raises(UsageError, match="the platform is not empty: it has 2 rows of"):
        restore(other, LocalBlobs(tmp_path / "b"))
    assert (rows(other), other.blobs.list("")) == (before, blobs)


def test_a_platform_of_which_only_the_deployment_was_noted_is_empty(new: New) -> None:
    platform = new("files")
    platform.db.migrate()
    upkeep.record(platform.db, upkeep.Upkeep("deployed", "", NOW, {"code": "x"}))
    assert contents(platform.db) == {}


def a_part(place: LocalBlobs) -> Path:
    return place.root / place.list("ledger/decisions")[0]


def cut(place: LocalBlobs) -> None:
    path = a_part(place)
    path.write_bytes(path.read_bytes()[:-7])


def flip(place: LocalBlobs) -> None:
    path = next(place.root.glob("bundles/*/value/model.txt"))
    path.write_bytes(path.read_bytes().replace(b"0", b"9", 1))


def lose(place: LocalBlobs) -> None:
    a_part(place).unlink()


def unfinish(place: LocalBlobs) -> None:
    (place.root / MANIFEST).unlink()


def unsign(place: LocalBlobs) -> None:
    (place.root / SIGNATURE).unlink()


def swap_part(place: LocalBlobs) -> None:
    """A row changed, and the manifest made to agree with it."""
    import gzip

    path = a_part(place)
    data = gzip.compress(gzip.decompress(path.read_bytes()).replace(b"HOLD", b"PASS"), mtime=0)
    path.write_bytes(data)
    manifest = json.loads((place.root / MANIFEST).read_bytes())
    manifest["files"][path.relative_to(place.root).as_posix()] = {"sha256": digest_bytes(data), "bytes": len(data)}
    (place.root / MANIFEST).write_text(json.dumps(manifest))


def sign_by_another(place: LocalBlobs) -> None:
    place.put(SIGNATURE, SecretKey.generate(Kind.RELEASE).sign(place.get(MANIFEST)))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "was cut short or changed"),
        (flip, r"model\.txt is not what backup\.json says"),
        (lose, "is missing"),
        (unfinish, "written last"),
        (unsign, "nobody signed it"),
        (swap_part, "does not match"),
        (sign_by_another, "is not trusted here"),
    ],
)
def test_a_backup_that_was_cut_or_changed_is_refused_before_anything_is_written(
    harm: Callable[[LocalBlobs], None], said: str, new: New, tmp_path: Path
) -> None:
    old, fresh = new("files"), new("files")
    furnish(old)
    place = LocalBlobs(tmp_path / "b")
    make(old, place)
    harm(place)
    with pytest.raises(CorruptArtefact, match=said):
        restore(fresh, place)
    assert [path for path in fresh.settings.home.rglob("*") if path.is_file()] == []


def test_an_unsigned_backup_is_taken_by_its_digest_and_by_no_other(new: New, tmp_path: Path) -> None:
    old, fresh = new("files"), new("files")
    furnish(old)
    unsigning = Platform(old.settings.model_copy(update={"signing_key": type(old.settings.signing_key)("")}), old.clock)
    place = LocalBlobs(tmp_path / "b")
    told = make(unsigning, place)
    assert told["signed_by"] == ""
    with pytest.raises(CorruptArtefact, match="not the one that was given"):
        restore(fresh, place, digest="0" * 64)
    assert restore(fresh, place, digest=told["digest"])["rows"] == told["rows"]


def test_a_backup_is_never_written_over_another(new: New, tmp_path: Path) -> None:
    old = new("files")
    furnish(old)
    place = LocalBlobs(tmp_path / "b")
    told = make(old, place)
    with pytest.raises(UsageError, match=r"there is a backup in .* already"):
        make(old, place)
    assert digest_bytes(place.get(MANIFEST)) == told["digest"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_taken_while_champions_move_is_of_one_instant(kind: str, new: New, tmp_path: Path) -> None:
    """Each move writes a version, a decision, a promotion and the alias: none may be there without the others."""
    platform = new(kind)
    digest = furnish(platform)[0]
    ended, moves = threading.Event(), [1]

    def move() -> None:
        while not ended.is_set():
            generation = moves[-1]
            with platform.db.session() as session:
                decision = decisions.Decision(
                    "m0", DAY, digest, None, generation, decisions.Verdict.PASS, [], Digest("e" * 64), None
                )  # fmt: skip
                made = decisions.record(session, decision, NOW)
                champion.move(
                    session, "m0", digest=digest, expected_generation=generation, decision_id=made, day=DAY, at=NOW
                )
            moves.append(generation + 1)

    writer = threading.Thread(target=move)
    writer.start()
    try:
        before = moves[-1]
        place = place_of(kind, platform, tmp_path)
        make(platform, place)
        while moves[-1] < before + 3:  # the writer was never kept from writing for good
            assert writer.is_alive()
    finally:
        ended.set()
        writer.join()
    fresh = new("files")
    restore(fresh, place)
    found = champion.history(fresh.db, "m0")
    now = champion.current(fresh.db, "m0")
    assert now is not None
    assert before <= now.generation <= moves[-1]
    assert [one.generation for one in found] == list(range(1, now.generation + 1))
    named = {json.loads(line)[0] for line in rows(fresh)["decisions"]}
    assert {one.decision_id for one in found} <= named
    assert len(named) == now.generation + 1, "one decision per move, and the one of the other market"


def test_a_bundle_that_is_not_sound_is_named_and_left_out_and_a_champion_s_is_not_restored_without(
    new: New, tmp_path: Path
) -> None:
    old = new("files")
    _, second = furnish(old)
    spare = write_bundle(old.blobs, artefacts={"value/model.txt": b"1", "golden.json": b"{}"}, meta={}, keys=old.keys)
    versions.register(old.db, versions.Version(spare, "m0", DAY, "u", spare, DAY, {}, ""), NOW)
    old.blobs.put(f"bundles/{spare}/value/model.txt", b"2")
    told = make(old, LocalBlobs(tmp_path / "one"))
    assert [one["what"] for one in told["left_out"]] == [f"bundles/{spare}"]
    assert restore(new("files"), LocalBlobs(tmp_path / "one"))["left_out"] == told["left_out"]
    old.blobs.put(f"bundles/{second}/value/model.txt", b"2")
    assert len(make(old, LocalBlobs(tmp_path / "two"))["left_out"]) == 2
    with pytest.raises(CorruptArtefact, match=r"without the bundle of the champion of m1: .*has 1 bytes instead of"):
        restore(new("files"), LocalBlobs(tmp_path / "two"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_that_broke_off_is_run_again(
    kind: str, new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, fresh = new("files"), new(kind)
    furnish(old)
    make(old, LocalBlobs(tmp_path / "b"))
    whole, calls = schema.upgrade, []

    def break_at_the_end(connection: object) -> None:
        whole(connection)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 2:  # the first made the tables
            raise BidwrightError("power cut")

    with monkeypatch.context() as patched, pytest.raises(BidwrightError, match="power cut"):
        patched.setattr(schema, "upgrade", break_at_the_end)
        restore(fresh, LocalBlobs(tmp_path / "b"))
    assert len(calls) == 2
    assert contents(fresh.db) == {}
    restore(fresh, LocalBlobs(tmp_path / "b"))
    assert contents(fresh.db)["versions"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_dump_of_an_older_revision_is_loaded_and_brought_to_this_code_s(kind: str, new: New) -> None:
    old, fresh = new("files"), new(kind)
    old.db.migrate()
    fill(old.db)
    with old.db.session() as session:
        schema.downgrade(session.connection(), "0006")
    with old.db.reading() as session:
        taken = Snapshot(session)
        assert (taken.revision, "upkeep" in taken.columns) == ("0006", False)
        columns, parts = taken.columns, list(taken.parts())
    load(fresh.db, revision="0006", columns=columns, parts=parts)
    fresh.db.check()
    with snapshot(fresh.db) as now:
        assert list(now.parts()) == parts
    with pytest.raises(UsageError, match="revision 9999, newer than this code"):
        load(new("files").db, revision="9999", columns=columns, parts=parts)


def test_bids_that_were_published_after_the_backup_stay_where_only_the_ledger_was_lost(
    new: New, tmp_path: Path
) -> None:
    old = new("files")
    furnish(old)
    make(old, LocalBlobs(tmp_path / "b"))
    table = pd.DataFrame({"cell": ["a"], "bid_micros": [9]})
    publish_table(
        old.blobs, table, market="m1", partner="google", day=date(2026, 3, 3), version="v", generation=2, policy="p"
    )
    key = next(key for key in old.blobs.list("bids/m1") if key.endswith("bids.csv"))
    old.blobs.put(key, b"newer")
    (old.settings.home / "bidwright.db").unlink()
    again = Platform(old.settings, old.clock)
    assert restore(again, LocalBlobs(tmp_path / "b"))["kept"] == [key]
    assert again.blobs.get(key) == b"newer"


def test_the_commands_say_what_was_backed_up_left_out_and_restored(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, fresh = new("files"), new("files")
    furnish(old)

    def run(platform: Platform, *words: str) -> Result:
        monkeypatch.setattr(Platform, "from_environment", classmethod(lambda _: platform))
        return CliRunner().invoke(app, list(words))

    first = run(old, "backup", "--to", str(tmp_path / "one"), "--json")
    assert first.exit_code == 0
    told = json.loads(first.stdout)
    assert (told["to"], told["bundles"], told["left_out"]) == (str(tmp_path / "one"), 2, [])
    back = run(fresh, "restore", "--from", str(tmp_path / "one"), "--json")
    assert json.loads(back.stdout)["champions"] == told["champions"]
    again = run(fresh, "restore", "--from", str(tmp_path / "one"))
    assert isinstance(again.exception, UsageError)
    spare = write_bundle(old.blobs, artefacts={"value/model.txt": b"1", "golden.json": b"{}"}, meta={}, keys=old.keys)
    versions.register(old.db, versions.Version(spare, "m0", DAY, "u", spare, DAY, {}, ""), NOW)
    old.blobs.put(f"bundles/{spare}/value/model.txt", b"2")
    second = run(old, "backup", "--to", str(tmp_path / "two"))
    assert second.exit_code == 1
    assert f"left out: bundles/{spare}" in second.stdout
