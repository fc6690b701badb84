"""Commands, options and exit codes: 0 done, 1 it failed, 2 the call was wrong."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from ml import pipeline
from ml.cli import backtest, incidents, keys, killswitch, output, rollout, score, upkeep
from ml.cli.options import Data, Day, Json, Source, open_platform
from ml.core.errors import BidwrightError, UsageError
from ml.core.units import days_between, parse_day

if TYPE_CHECKING:
    from ml.platform import Platform

app = typer.Typer(
    name="bidwright",
    help="Bid models from market data to published bids: every step of the lifecycle, one day at a time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_groups = {"kill-switch": killswitch.app, "incidents": incidents.app, "keys": keys.app, "rollout": rollout.app}
for _name, _group in (_groups | {"bars": rollout.bars_app}).items():
    app.add_typer(_group, name=_name)
app.command(
    epilog="Example: bidwright backtest --source hotel_bookings --data DIR --from 2016-07-01 --to 2017-04-01 --every 7d"
)(backtest.backtest)
app.command("ml-test-score", epilog="Example: bidwright ml-test-score --at-least 6 --json")(score.ml_test_score)
app.command(epilog='Example: bidwright rollback --reason "bids twice as high"')(rollout.rollback)
for _name, _command, _example in upkeep.COMMANDS:
    app.command(_name, epilog=f"Example: {_example}")(_command)

_debug = False


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of a failure")] = False,
    home: Annotated[
        Path | None, typer.Option("--home", help="working folder; else BIDWRIGHT_HOME or .bidwright")
    ] = None,
) -> None:
    """Settings come from the environment (BIDWRIGHT_...) and from bidwright.toml in the working folder."""
    import os

    global _debug  # noqa: PLW0603  (one process, one command)
    _debug = debug
    if home is not None:
        os.environ["BIDWRIGHT_HOME"] = str(home.absolute())


def _step(
    step: Callable[[Platform, date], dict[str, Any]], day: str, *, source: str | None, data: str | None, json: bool
) -> None:
    when = parse_day(day)
    result = step(open_platform(source, data), when)
    name = step.__name__.replace("_", "-")
    output.show_json({"step": name, "day": day, **result}) if json else output.show_mapping(f"{name} {day}", result)


@app.command(epilog="Example: bidwright history --from 2016-01-01 --to 2016-09-30 --source hotel_bookings --data DIR")
def history(
    first: Annotated[str, typer.Option("--from", help="first market day")],
    last: Annotated[str, typer.Option("--to", help="last market day")],
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Import many market days at once: contract, quarantine, lake and features."""
    start, end = parse_day(first), parse_day(last)
    if end < start:
        raise UsageError(f"--to {last} comes before --from {first}", next="swap them")
    platform = open_platform(source, data)
    if json or not sys.stderr.isatty():
        result = pipeline.import_history(platform, start, end)
    else:
        with typer.progressbar(length=len(days_between(start, end)), label="importing days", file=sys.stderr) as bar:
            result = pipeline.import_history(platform, start, end, progress=lambda _day: bar.update(1))
    output.show_json(result) if json else output.show_mapping("history imported", result)


@app.command(epilog="Example: bidwright ingest --day 2016-10-01 --source hotel_bookings --data DIR --json")
def ingest(day: Day, source: Source = None, data: Data = None, json: Json = False) -> None:
    """Fetch a market day, check it against the contract, land it; bad rows go to quarantine."""
    _step(pipeline.ingest, day, source=source, data=data, json=json)


@app.command(epilog="Example: bidwright settle --day 2016-10-01")
def settle(day: Day, source: Source = None, data: Data = None, json: Json = False) -> None:
    """Late bookings, cancellations and stays of the day; realised value against predicted."""
    _step(pipeline.settle, day, source=source, data=data, json=json)


@app.command(epilog="Example: bidwright materialize --day 2016-10-01")
def materialize(day: Day, source: Source = None, data: Data = None, json: Json = False) -> None:
    """Build the day's features, put them into the online store, read a sample back."""
    _step(pipeline.materialize, day, source=source, data=data, json=json)


@app.command("check-drift", epilog="Example: bidwright check-drift --day 2016-10-01 --json")
def check_drift(day: Day, source: Source = None, data: Data = None, json: Json = False) -> None:
    """Completeness, drift, prediction shift and calibration; one verdict with its reasons."""
    _step(pipeline.check_drift, day, source=source, data=data, json=json)


@app.command(epilog="Example: bidwright train --day 2016-10-01")
def train(day: Day, source: Source = None, data: Data = None, json: Json = False) -> None:
    """Fit and register a candidate, when a retrain is due."""
    _step(pipeline.train, day, source=source, data=data, json=json)


@app.command(epilog="Example: bidwright promote --day 2016-10-01 --approve-by anna --json")
def promote(
    day: Day,
    approve_by: Annotated[str, typer.Option("--approve-by", help="who approves, where policy asks for it")] = "",
    candidate: Annotated[
        str, typer.Option("--candidate", help="an earlier version, by its first digits; else the candidate of the day")
    ] = "",
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Put the day's candidate before the gates; move the champion when all of them pass."""
    when = parse_day(day)
    platform = open_platform(source, data)
    result = pipeline.judge(platform, when, candidate=candidate)
    if result.get("decision_id") is not None:
        seen = {name: result[name] for name in ("candidate", "generation")}
        answer = {"answer": "Approve", "by": approve_by, **seen} if approve_by else None
        result |= pipeline.promote(platform, when, decision_id=result["decision_id"], approval=answer)
    output.show_json({"step": "promote", "day": day, **result}) if json else output.show_mapping(
        f"promote {day}", result
    )


@app.command(
    epilog='Example: bidwright waive calibration --candidate 3fa9c1 --by anna --why "known outage on 3 March" --json'
)
def waive(
    gate: Annotated[str, typer.Argument(help="name of the gate")],
    candidate: Annotated[str, typer.Option(help="digest of a version, or its first characters")],
    why: Annotated[str, typer.Option("--why", help="for the record and for who approves", metavar="TEXT")],
    by: Annotated[str, typer.Option("--by", help="who waives it", metavar="NAME")],
    days: Annotated[int, typer.Option("--days", help="for how many days, 30 at most")] = 7,
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Let one candidate pass over one gate for some days; its promotion then always needs a person's approval."""
    result = pipeline.waive(open_platform(source, data), gate, candidate=candidate, why=why, by=by, days=days)
    output.show_json(result) if json else output.show_mapping(f"waived {gate}", result)


@app.command("publish-bids", epilog="Example: bidwright publish-bids --day 2016-10-01")
def publish_bids(day: Day, source: Source = None, data: Data = None, json: Json = False) -> None:
    """Publish the champion's bids, or its value table, for the next market day."""
    _step(pipeline.publish_bids, day, source=source, data=data, json=json)


@app.command("run-day", epilog="Example: bidwright run-day --day 2016-10-01 --json")
def run_day(day: Day, source: Source = None, data: Data = None, json: Json = False) -> None:
    """Run the whole lifecycle for one market day, in the order that Airflow runs it."""
    when = parse_day(day)
    platform = open_platform(source, data)
    results = pipeline.run_day(platform, when)
    output.show_json({"day": day, **results}) if json else output.show_mapping(f"market day {day}", results)


@app.command(
    epilog=(
        "Example: bidwright replay auctions.parquet --campaign-stats stats.csv --campaign 2997 --policy lin"
        " --param b0=10 --episode 1000 --budget-share 0.03125 --json"
    )
)
def replay(
    auctions: Annotated[Path, typer.Argument(help="Parquet file of click, market_price, pctr (campaign, split, seq)")],
    campaign_stats: Annotated[Path, typer.Option(help="CSV file of campaign, clk_train, imp_train, cost_train")],
    campaign: Annotated[str, typer.Option(help="whose auctions")],
    policy: Annotated[str, typer.Option(help="const, rand, mcpc, lin, ortb or bidwright")],
    param: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="of the policy; repeatable")] = None,
    episode: Annotated[str, typer.Option(help="auctions per episode")] = "1000",
    budget_share: Annotated[str, typer.Option(help="budget as a share of the mean train cost of an episode")] = "1/32",
    split: Annotated[str | None, typer.Option(help="test, where there is such a column; else train or all")] = None,
    tune: Annotated[Path | None, typer.Option(help="find the parameters on the split train of this file")] = None,
    json: Json = False,
) -> None:
    """Replay logged auctions: what a policy would have won, paid and got clicked under a budget per episode.

    cost is in price units, ecpc in thousands of them, win_rate in percent: as in the published tables.
    """
    from ml.cli import replay as command

    command.replay(
        auctions,
        campaign_stats=campaign_stats,
        campaign=campaign,
        policy=policy,
        params=param or (),
        episode=episode,
        budget_share=budget_share,
        split=split,
        tune=tune,
        as_json=json,
    )


@app.command(
    epilog="Example: bidwright serve --port 8090 --workers 2 --json    (with BIDWRIGHT_SERVE_TOKEN in the environment)"
)
def serve(
    host: Annotated[str | None, typer.Option("--host", help="address to listen on; else serve_host")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="else serve_port; 0: any that is free")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="processes; else serve_workers")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="say that it is up only when it can bid")] = False,
    json: Json = False,
) -> None:
    """Answer requests for bids over HTTP until it is told to end; see docs/bid-service.md."""
    from ml.cli import serve as command

    command.serve(host=host, port=port, workers=workers, wait=wait, as_json=json)


@app.command(epilog="Example: bidwright status --json")
def status(json: Json = False) -> None:
    """The champion, the last market days, open incidents and waiting mail."""
    from ml.cli import reports

    reports.status(open_platform(), as_json=json)


@app.command(epilog="Example: bidwright explain 3fa9c1 --json")
def explain(
    what: Annotated[
        str,
        typer.Argument(help="digest of a version, or its first characters; or the trace id of a bid (32 hex digits)"),
    ],
    json: Json = False,
) -> None:
    """All that is known of a version: data, metrics, decisions, days as champion; or of one bid, which is made again.

    Exit code 1 where a bid that is made again is not the same to the last bit.
    """
    from ml.cli import reports

    reports.explain(open_platform(), what, as_json=json)


@app.command(epilog="Example: bidwright features hotel_traffic")
def features(
    name: Annotated[str | None, typer.Argument(help="a feature view or a feature; else all")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="the page docs/features.md")] = False,
    json: Json = False,
) -> None:
    """The features: meaning, unit, source, freshness, owner, who reads them, and what could leak through them."""
    from ml.cli import reports

    reports.features(name, markdown=markdown, as_json=json)


@app.command(epilog="Example: bidwright challenge --only stale_features --only plain_retrain --json")
def challenge(
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="a planted candidate; repeatable")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the simulated market")] = 7,
    home: Annotated[
        Path | None, typer.Option(help="new folder to work in, which is kept; else a temporary one")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="candidates tried side by side")] = 2,
    markdown: Annotated[bool, typer.Option("--markdown", help="write the page docs/challenge.md")] = False,
    json: Json = False,
) -> None:
    """Try planted bad and good candidates on a simulated market: the bad must be stopped, the good promoted.

    The exit code is 1 when one of them got the wrong answer. Takes minutes.
    """
    from ml.cli import challenge as command

    if not command.challenge(only=only or (), seed=seed, home=home, workers=workers, markdown=markdown, as_json=json):
        raise typer.Exit(1)


@app.command(epilog="Example: bidwright champion-on --day 2016-10-04")
def champion_on(day: Day, json: Json = False) -> None:
    """Who was champion on a market day, and by which decision."""
    from ml.cli import reports

    reports.champion_on(open_platform(), day, as_json=json)


@app.command(epilog="Example: bidwright served --day 2026-03-04 --at 2026-03-04T10:00 --json")
def served(
    day: Annotated[str, typer.Option("--day", help="the market day; else the last one", metavar="DAY")] = "",
    at: Annotated[
        str, typer.Option("--at", help="as things stood at this instant, UTC; else now", metavar="TIME")
    ] = "",
    json: Json = False,
) -> None:
    """What served a market day as things stood at an instant, why, approved by whom; without options all that ever did."""
    from ml.cli import reports

    reports.served(open_platform(), day, at, as_json=json)


@app.command(epilog="Example: bidwright mail")
def mail(json: Json = False) -> None:
    """Send the mail that waits in the outbox."""
    result = pipeline.deliver_mail(open_platform())
    output.show_json(result) if json else output.show_mapping("mail", result)


_FULL: Final = ("the disk refused a write", "free space")
_REFUSALS: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: ("the disk refused a write", "mount it for writing, or choose another working folder"),
    errno.EACCES: ("this user has no right to it", "correct the permissions"),
    errno.EPERM: ("this user has no right to it", "correct its owner, or become it"),
}
"""What the system said no to, and the remedy, by the number of the error."""


def main() -> None:
    """Run the command; every failure is one clear sentence unless --debug is given."""
    try:
        app()
    except UsageError as error:
        _complain(error, code=2)
    except BidwrightError as error:
        _complain(error, code=1)
    except OSError as error:
        refused = _REFUSALS.get(error.errno or 0)
        if refused is None:
            _complain_unexpected(error)
        what, remedy = refused
        where = f" ({error.filename})" if error.filename else ""
        _complain(
            BidwrightError(
                f"{what}: {error.strerror}{where}",
                left="nothing was half written",
                next=f"{remedy}, then run the same command again",
            ),
            code=1,
            cause=error,
        )
    except Exception as error:  # noqa: BLE001  (the last door: a person gets a sentence, not a traceback)
        _complain_unexpected(error)


def _complain(error: BidwrightError, *, code: int, cause: BaseException | None = None) -> NoReturn:
    if _debug:
        raise cause or error
    sys.stderr.write(f"bidwright: {error}\n")
    raise SystemExit(code)


def _complain_unexpected(error: BaseException) -> NoReturn:
    if _debug:
        raise error
    first = str(error).splitlines()[0] if str(error) else ""
    sys.stderr.write(
        f"bidwright: unexpected {type(error).__name__}: {first}; nothing was recorded as done; "
        "run again with --debug (bidwright --debug COMMAND) to see where\n"
    )
    raise SystemExit(1)
