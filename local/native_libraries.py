"""Take the native libraries of Spark's compression out of its jars, when the image with Java is built.

    python -m local.native_libraries JARS TO

At run time Java would unpack them into a temporary folder, where nothing may be executed in a container of ours. Snappy and Zstandard
have no other way; the image's `JAVA_TOOL_OPTIONS` name the files that this writes.
"""

from __future__ import annotations

import argparse
import platform
import sys
import zipfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

LIBRARIES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "libsnappyjava.so": (
        "snappy-java-*.jar",
        {
            "x86_64": "org/xerial/snappy/native/Linux/x86_64/libsnappyjava.so",
            "aarch64": "org/xerial/snappy/native/Linux/aarch64/libsnappyjava.so",
        },
    ),
    "libzstd-jni.so": (
        "zstd-jni-*.jar",
        {"x86_64": "linux/amd64/libzstd-jni-*.so", "aarch64": "linux/aarch64/libzstd-jni-*.so"},
    ),
}
"""Each by the name that it gets: the jar that has it, and where it lies there, by the machine's architecture."""


def take_out(jars: Path, to: Path, *, machine: str = "") -> list[Path]:
    """Write the libraries of an architecture (this machine's) into a folder; returns the files.

    Raises:
        FileNotFoundError: a jar, or the library in it, is not there.
    """
    machine = machine or platform.machine()
    to.mkdir(parents=True, exist_ok=True)
    return [_one(jars, pattern, places.get(machine, ""), to / name) for name, (pattern, places) in LIBRARIES.items()]


def _one(jars: Path, pattern: str, place: str, file: Path) -> Path:
    for jar in sorted(jars.glob(pattern)):
        with zipfile.ZipFile(jar) as inside:
            for name in inside.namelist():
                if fnmatch(name, place):
                    file.write_bytes(inside.read(name))
                    file.chmod(0o755)
                    return file
    raise FileNotFoundError(f"no {place or file.name} in {jars}/{pattern}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it; exit code 1 where a library is missing."""
    parser = argparse.ArgumentParser(prog="python -m local.native_libraries", description=__doc__)
    parser.add_argument("jars", type=Path, help="Spark's folder of jars")
    parser.add_argument("to", type=Path, help="where to put the libraries")
    options = parser.parse_args(arguments)
    try:
        take_out(options.jars, options.to)
    except FileNotFoundError as error:
        sys.stderr.write(f"native_libraries: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
