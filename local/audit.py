"""`make audit`: known vulnerabilities of the lock, and of which packages nobody could say.

pip-audit leaves out what its database does not answer for and then says "No known vulnerabilities found". Here a package that
was left out is "not checked", and so is a lock of which nothing was answered: never "none".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

State = Literal["none known", "found", "not checked"]
TIMEOUT_S = 900


@dataclass(frozen=True)
class Found:
    """A known vulnerability of a package of the lock."""

    package: str
    version: str
    id: str
    fixed_in: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """What is known: vulnerabilities found, packages looked up, and those that nobody could say anything of, with the reason."""

    found: tuple[Found, ...]
    checked: int
    unchecked: dict[str, str]
    why: str = ""

    @property
    def state(self) -> State:
        """`none known` only where every package was looked up."""
        if self.found:
            return "found"
        return "not checked" if self.why or self.unchecked or not self.checked else "none known"


def parse(text: str) -> Audit:
    """What pip-audit printed as JSON.

    Raises:
        ValueError: it printed something else.
    """
    try:
        packages = json.loads(text)["dependencies"]
        found = tuple(
            Found(one["name"], one["version"], bug["id"], tuple(bug.get("fix_versions", ())))
            for one in packages
            for bug in one.get("vulns", ())
        )
        unchecked = {one["name"]: str(one["skip_reason"]) for one in packages if "skip_reason" in one}
        return Audit(found, sum("vulns" in one for one in packages), unchecked)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"pip-audit's answer has not the expected form: {error!r}") from error


def audit(command: Sequence[str], run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run) -> Audit:
    """Run pip-audit; whatever goes wrong is an audit that checked nothing, with the reason."""
    try:
        done = run(list(command), capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        return parse(done.stdout)
    except (OSError, subprocess.SubprocessError) as error:
        return Audit((), 0, {}, why=f"pip-audit did not run: {type(error).__name__}")
    except ValueError as error:
        said = done.stderr.strip().splitlines()
        return Audit((), 0, {}, why=said[-1][:300] if said else str(error))


def main(arguments: Sequence[str]) -> int:
    """Show and write the audit; 1 where something was found, or, with --strict, where something was not checked."""
    parser = argparse.ArgumentParser(prog="python -m local.audit", description=__doc__)
    parser.add_argument("--tool", required=True, help="the program pip-audit")
    parser.add_argument("--lock", type=Path, required=True, help="requirements with hashes")
    parser.add_argument("--out", type=Path, required=True, help="file for the answer, as JSON")
    parser.add_argument("--service", default="pypi", choices=("pypi", "osv"), help="whose database is asked")
    parser.add_argument("--strict", action="store_true", help="what was not checked fails too; for a release")
    chosen = parser.parse_args(arguments)
    command = [chosen.tool, "--requirement", str(chosen.lock), "--require-hashes", "--disable-pip", "--format", "json",
               "--progress-spinner", "off", "--vulnerability-service", chosen.service]  # fmt: skip
    found = audit(command)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps({"state": found.state} | asdict(found), indent=1) + "\n")
    print(f"known vulnerabilities: {found.state}; {found.checked} packages looked up, {len(found.unchecked)} left out")  # noqa: T201
    for one in found.found:
        print(f"  {one.package} {one.version}: {one.id}, fixed in {', '.join(one.fixed_in) or 'no version yet'}")  # noqa: T201
    if found.state == "not checked":
        why = found.why or next(iter(found.unchecked.values()), "the lock is empty")
        print(f"  not checked, which is not the same as none: {why}")  # noqa: T201
    return int(bool(found.found) or (chosen.strict and found.state != "none known"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
