"""`python -m local`: the commands behind `make demo`, `make env`, `make cluster` and `make down`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local.env_file import ENV_FILE
from local.scenario import DEMO_DAYS, choose
from ml.core.errors import BidwrightError, UsageError
from ml.core.settings import default_home

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0 done, 1 it failed, 2 the call was wrong, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except BidwrightError as error:
        if options.debug:
            raise
        sys.stderr.write(f"bidwright: {error}\n")
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        if options.debug:
            raise
        where = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"bidwright: the system refused: {error.strerror}{where}; correct that and run it again\n")
        return 1
    except Exception as error:
        if options.debug:
            raise
        sys.stderr.write(
            f"bidwright: unexpected {type(error).__name__}: {error}; for details: python -m local --debug\n"
        )
        return 1


def _run(options: argparse.Namespace) -> int:
    home = default_home()
    if options.command == "airflow":
        from local import airflow
        from local.stack import Stack

        argv = airflow.airflow_argv(*options.arguments)
        os.execve(argv[0], argv, Stack(home).environment())  # noqa: S606  (our interpreter, an argument vector)
    if options.command == "env":
        from local import env_file

        if options.add:
            added = ", ".join(env_file.add()) or "nothing, it is complete"
            sys.stdout.write(f"added to {env_file.ENV_FILE}: {added}\n")
        else:
            env_file.write()
            sys.stdout.write(f"{env_file.ENV_FILE} was written; only you can read it\n")
        return 0
    if options.command == "cluster-airflow":
        from local import airflow
        from local.cluster.topology import Cluster

        argv = airflow.airflow_argv(*options.arguments)
        os.execve(argv[0], argv, Cluster(cluster_home(), options.env).environment())  # noqa: S606  (as above)
    from local import demo
    from local.guard import Interrupted

    if options.command == "down":
        from local.containers.__main__ import stop_if_up

        code = demo.down(home)
        if stop_if_up():
            sys.stdout.write("the containers of make up were stopped and removed; their volumes stay\n")
        return code
    if options.command == "cluster":
        from local.cluster import run as cluster

        try:
            if options.kill_schedulers:
                from local.cluster import campaign

                return campaign.tell(
                    cluster_home(),
                    days=options.days,
                    seed=options.seed,
                    env=options.env,
                    market=options.market,
                    as_json=options.json,
                )
            return cluster.run(cluster_home(), cluster.story(options.days), once=options.once, env=options.env)
        except Interrupted:
            return _INTERRUPTED
    try:
        return demo.run(home, choose(options.source, options.data, days=options.days), once=options.once)
    except Interrupted:
        return _INTERRUPTED


def cluster_home() -> Path:
    """The working folder of `make cluster`: `BIDWRIGHT_HOME`, or `cluster` in the demo's."""
    return default_home() if "BIDWRIGHT_HOME" in os.environ else default_home() / "cluster"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="Bidwright on one machine.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    commands = parser.add_subparsers(dest="command", required=True)
    tell = commands.add_parser("demo", help="history in bulk, then market days one by one through a real scheduler")
    tell.add_argument("--source", default="simulator", help="simulator or hotel_bookings")
    tell.add_argument("--data", default="", help="the folder that the source reads, where it reads one")
    tell.add_argument("--days", type=int, default=DEMO_DAYS, help="market days to live through (default: %(default)s)")
    tell.add_argument("--once", action="store_true", help="stop at the end; exit 1 if a step did not happen")
    secrets = commands.add_parser("env", help="write .env: strong random secrets for a stack; refuses to overwrite")
    secrets.add_argument("--add", action="store_true", help="give what the file lacks a value, and leave the rest")
    tell = commands.add_parser(
        "cluster", help="the production topology from processes on loopback; see docs/cluster.md"
    )
    tell.add_argument("--days", type=int, default=1, help="market days to live through (default: %(default)s)")
    tell.add_argument("--once", action="store_true", help="stop at the end; exit 1 if a step did not happen")
    tell.add_argument(
        "--kill-schedulers",
        action="store_true",
        help="kill one of the two each day, compare with an undisturbed run, end",
    )
    tell.add_argument("--seed", type=int, default=7, help="of the moments of the kills (default: %(default)s)")
    tell.add_argument(
        "--market", choices=("small", "demo"), default="small",
        help="of the kills: small, in which no champion is made, or the demo's (default: %(default)s)",
    )  # fmt: skip
    tell.add_argument("--json", action="store_true", help="figures of the kills as one line of JSON")
    tell.add_argument("--env", type=Path, default=ENV_FILE, help="the secrets (default: %(default)s)")
    commands.add_parser("down", help="stop what demo, cluster or `make up` started")
    cli = commands.add_parser("cluster-airflow", help="Airflow's own command line, on the cluster")
    cli.add_argument("--env", type=Path, default=ENV_FILE, help="the secrets (default: %(default)s)")
    cli.add_argument("arguments", nargs=argparse.REMAINDER)
    cli = commands.add_parser("airflow", help="Airflow's own command line, on this working folder")
    cli.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
