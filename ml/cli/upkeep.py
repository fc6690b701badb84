"""The commands that keep the platform itself in order: migrate, doctor, backup, restore, clean-up and copy-online."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from ml.cli import output
from ml.cli.options import Json, open_platform


def migrate(json: Json = False) -> None:
    """Create the platform database, or bring it up to this code's version, and note that this code is the deployed one."""
    from ml.platform import Platform
    from ml.preflight import check_clock, deploy

    platform = Platform.from_environment()
    platform.settings.home.mkdir(parents=True, exist_ok=True)
    check_clock(platform, of_all=False)
    deploy(platform)
    url = platform.db.shown
    output.show_json({"database": url}) if json else output.show_line(f"the platform database is up to date: {url}")


def doctor(
    reader: Annotated[
        bool, typer.Option("--reader", help="of a process that may only read, such as the bid service; writes nothing")
    ] = False,
    json: Json = False,
) -> None:
    """Check the installation and say what to do about what is wrong."""
    from ml.cli.doctor import examine

    checks = examine(reader=reader)
    if json:
        output.show_json({"ok": all(c.ok for c in checks), "checks": [c.as_json() for c in checks]})
    else:
        for check in checks:
            output.show_line(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.finding}")
            if not check.ok:
                output.show_line(f"      {check.remedy}")
    if not all(c.ok for c in checks):
        raise typer.Exit(1)


def backup(
    to: Annotated[str, typer.Option("--to", help="new folder, or s3://bucket/prefix", metavar="PLACE")],
    json: Json = False,
) -> None:
    """Back up the platform database, the bundles and the bids that stand; nobody has to stop writing.

    The exit code is 1 where something that the ledger names was not sound and had to be left out.
    """
    from ml.backup.make import make
    from ml.platform import Platform

    platform = Platform.from_environment()
    with tempfile.TemporaryDirectory(prefix="bidwright-backup-") as cache:
        result = {"to": to} | make(platform, _open(platform, to, cache))
    _show("backed up", result, as_json=json)
    if result["left_out"]:
        raise typer.Exit(1)


def restore(
    place: Annotated[str, typer.Option("--from", help="folder or s3://bucket/prefix of a backup", metavar="PLACE")],
    digest: Annotated[
        str, typer.Option(help="that the backup must have; needed where no key that counts here signed it")
    ] = "",
    json: Json = False,
) -> None:
    """Restore an empty platform from a backup, all of which is verified before anything is written."""
    from ml.backup.restore import restore as use
    from ml.platform import Platform

    platform = Platform.from_environment()
    platform.settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bidwright-restore-") as cache:
        result = {"from": place} | use(platform, _open(platform, place, cache), digest=digest)
    _show("restored", result, as_json=json)


def clean_up(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be removed")] = False,
    json: Json = False,
) -> None:
    """Remove what is older than the settings keep and nothing needs any more, and measure the space of each kind."""
    from ml.retention import clean_up as use

    result = use(open_platform(), dry_run=dry_run)
    output.show_json(result) if json else output.show_mapping("would be removed" if dry_run else "removed", result)


def copy_online(json: Json = False) -> None:
    """Copy the online features from Redis to this machine, where they changed; `bidwright serve` does so by itself."""
    from ml.features.online_copy import copy_online as use

    platform = open_platform()
    copied = use(platform.settings, platform.lake)
    if json:
        output.show_json({"redis": copied.redis, "written": copied.written, "entities": dict(copied.entities)})
    elif not copied.entities:
        output.show_line(f"nothing new in Redis {copied.redis}")
    else:
        output.show_mapping(f"copied from Redis {copied.redis}", copied.entities)


def _open(platform: Any, place: str, cache: str) -> Any:
    from ml.lake.blobs import open_blobs

    where = place if "://" in place else str(Path(place).absolute())
    return open_blobs(where, cache=Path(cache), endpoint=platform.settings.s3_endpoint)


def _show(title: str, result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.show_json(result)
        return
    lists = {name: value for name, value in result.items() if isinstance(value, list)}
    output.show_mapping(title, {name: value for name, value in result.items() if name not in lists})
    for name, values in lists.items():
        for value in values:
            said = f"{value['what']}: {value['why']}" if isinstance(value, dict) else str(value)
            output.show_line(f"  {name.replace('_', ' ')}: {said}")


COMMANDS = (
    ("migrate", migrate, "bidwright migrate"),
    ("doctor", doctor, "bidwright doctor"),
    ("backup", backup, "bidwright backup --to s3://backups/2026-03-02 --json"),
    ("clean-up", clean_up, "bidwright clean-up --dry-run --json"),
    ("copy-online", copy_online, "bidwright copy-online --json"),
    ("restore", restore, "bidwright restore --from s3://backups/2026-03-02 --json"),
)
"""Name, function and example of each."""
