"""`python -m local.containers`: the commands behind `make images`, `make up`, `make stop`, `make logs` and `make smoke`."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import Final

from local import env_file
from local.containers import images
from local.containers.compose import Compose
from local.containers.engine import NoEngine, answers
from local.guard import Interrupted
from ml.core.errors import BidwrightError, UsageError

PROJECT: Final = "bidwright"
PROFILES: Final = ("core", "observability", "spark", "local")
_INTERRUPTED: Final = 130

CANNOT_RUN: Final = 3
"""Exit code where no engine is at hand: nothing was shown, neither that it works nor that it does not."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0 done, 1 it failed, 2 the call was wrong, 3 there is no engine."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options)
    except (Interrupted, KeyboardInterrupt):
        return _INTERRUPTED
    except NoEngine as error:
        sys.stderr.write(f"bidwright: cannot run here: {error}\n")
        return CANNOT_RUN
    except BidwrightError as error:
        sys.stderr.write(f"bidwright: {error}\n")
        return 2 if isinstance(error, UsageError) else 1


def _interrupt(*_: object) -> None:
    # As Ctrl-C does: children are ended, and what was started is taken down.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted


def _run(options: argparse.Namespace) -> int:
    if options.command == "smoke":
        from local.containers import smoke

        seen = smoke.run(
            schedulers=options.schedulers, spark=options.spark, registry=options.registry, keep=options.keep
        )
        smoke.show(seen, as_json=options.json)
        return 0
    profiles = options.profiles.split()
    if options.command == "images":
        make_images(profiles)
        return 0
    compose = Compose(PROJECT, profiles, variables=ours(profiles))
    if options.command == "up":
        env_file.read()  # what is missing or weak is said before anything is started
        make_images(profiles)
        less = ["--scale", "scheduler-2=0"] if options.schedulers == 1 else []
        compose.run("up", "--detach", "--no-build", "--remove-orphans", *less)
        sys.stdout.write(
            f"Airflow: {os.environ.get('AIRFLOW_URL', 'http://127.0.0.1:8080')} (admin, AIRFLOW_ADMIN_PASSWORD in .env)\n"
        )
    elif options.command == "stop":
        _remove(compose)
    else:
        compose.run("logs", "--follow", "--tail", "100", *options.services)
    return 0


def stop_if_up() -> bool:
    """Stop and remove the containers of `make up`, whatever their profiles, where an engine answers; whether there were any."""
    if shutil.which("docker") is None or not answers():
        return False
    compose = Compose(PROJECT, PROFILES)
    if not compose.containers():
        return False
    _remove(compose)
    return True


def _remove(compose: Compose) -> None:
    """Their volumes stay."""
    compose.run("down", "--remove-orphans")


def make_images(profiles: Sequence[str]) -> None:
    """Fetch and build what the profiles need; `local` makes its bases first."""
    local, spark = "local" in profiles, "spark" in profiles
    images.fetch_wheels(spark=spark)
    images.publish_dags()
    if local:
        images.make_bases("", spark=spark)
    targets = ["platform"] if {"core", "local", "spark"} & {*profiles} else []
    images.build([*targets, *(["s3-local"] if local else []), *(["spark"] if spark else [])], "", local=local)


def ours(profiles: Sequence[str]) -> dict[str, str]:
    """What Compose is told beyond the environment: with Spark, that workers run the image that has it."""
    return {"PLATFORM_IMAGE": "bidwright/spark:local"} if "spark" in profiles else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.containers", description="The platform in containers.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in {
        "images": "fetch wheels and build the images",
        "up": "build and start",
        "stop": "stop and remove the containers; volumes stay",
        "logs": "what the containers say",
    }.items():
        command = commands.add_parser(name, help=does)
        command.add_argument("--profiles", default="core", help=f"{', '.join(PROFILES)} (default: %(default)s)")
        if name == "up":
            command.add_argument("--schedulers", type=int, choices=(1, 2), default=2, help="default: %(default)s")
        if name == "logs":
            command.add_argument("services", nargs="*", help="of these services; none: of all")
    smoke = commands.add_parser(
        "smoke", help="build, start, use, hurt and mend it in real containers, and take it down"
    )
    smoke.add_argument("--schedulers", type=int, choices=(1, 2), default=1, help="default: %(default)s")
    smoke.add_argument(
        "--spark", action="store_true", help="with the profile spark: features are computed on its workers"
    )
    smoke.add_argument(
        "--registry", action="store_true", help="the profile core, with the official images from a registry"
    )
    smoke.add_argument("--keep", action="store_true", help="leave the containers up; the next run takes them down")
    smoke.add_argument("--json", action="store_true", help="one line of JSON: seconds of each step, and what was seen")
    return parser


if __name__ == "__main__":
    sys.exit(main())
