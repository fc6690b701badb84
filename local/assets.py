"""Vendored files of other projects: fetch the same versions from the npm registry again and compare.

    python -m local.assets

npm checks each package against the registry's integrity; the files against the SHA256SUMS beside them are checked here.
Exit code 1 and a sentence per file that differs. Nothing is written.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml.core.errors import BidwrightError, UsageError

REPOSITORY: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Vendored:
    """A package of which some files stand in this repository: where, and under which name in the package."""

    package: str
    version: str
    folder: str
    files: Mapping[str, str]


VENDORED: Final = (
    Vendored(
        "uplot",
        "1.6.32",
        "plugins/bidwright_ui/static/vendor",
        {
            "uPlot.iife.min.js": "dist/uPlot.iife.min.js",
            "uPlot.min.css": "dist/uPlot.min.css",
            "uPlot.LICENSE": "LICENSE",
        },
    ),
    Vendored(
        "axe-core", "4.14.1", "tests/plugins/browser/vendor", {"axe.min.js": "axe.min.js", "axe.LICENSE": "LICENSE"}
    ),
)


def differing(vendored: Vendored, root: Path = REPOSITORY) -> Iterator[str]:
    """A sentence for each file that is not what its SHA256SUMS says, or that nothing says anything of."""
    folder = root / vendored.folder
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    told = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    for name in vendored.files:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if told.get(name) != digest:
            yield f"{vendored.folder}/{name} has digest {digest[:12]}, SHA256SUMS says {told.get(name, 'nothing')[:12]}"


def fetched(vendored: Vendored) -> dict[str, bytes]:
    """The files as the registry has them. UsageError without npm or without the registry."""
    npm = shutil.which("npm")
    if npm is None:
        raise UsageError("there is no npm on this machine", next="install Node.js, or trust SHA256SUMS")
    wanted = f"{vendored.package}@{vendored.version}"
    with tempfile.TemporaryDirectory(prefix="bidwright-assets-") as scratch:
        argv = [npm, "pack", "--silent", "--pack-destination", scratch, wanted]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603  (a fixed command)
        [archive, *_] = [*Path(scratch).glob("*.tgz"), None]
        if done.returncode or archive is None:
            raise UsageError(f"npm could not fetch {wanted}: {done.stderr.strip()[-200:]}", next="look at the network")
        with tarfile.open(archive) as packed:
            return {name: _member(packed, f"package/{path}") for name, path in vendored.files.items()}


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    found = packed.extractfile(name)
    if found is None:
        raise UsageError(f"the package has no file {name}", next="look at its new layout")
    return found.read()


def main() -> int:
    """Compare every vendored file with its recorded digest and with the registry."""
    wrong: list[str] = []
    for vendored in VENDORED:
        wrong += differing(vendored)
        for name, body in fetched(vendored).items():
            if (REPOSITORY / vendored.folder / name).read_bytes() != body:
                wrong.append(f"{vendored.folder}/{name} is not that of {vendored.package} {vendored.version}")
        sys.stdout.write(f"{vendored.package} {vendored.version}: {len(vendored.files)} files compared\n")
    for sentence in wrong:
        sys.stdout.write(f"{sentence}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BidwrightError as error:
        sys.exit(str(error))
