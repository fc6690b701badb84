"""The kill switch on the command line: rehearse, pull, release, status."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from ml import pipeline
from ml.cli import output
from ml.cli.options import Data, Json, Source, open_platform
from ml.core.units import parse_day

app = typer.Typer(
    help="Stop a bid model: rehearse a level, pull it, release it. 0 freeze, 1 revert, 2 safe, 3 pause.",
    epilog="Example: bidwright kill-switch rehearse --level 3 --partner google",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Level = Annotated[
    int,
    typer.Option(
        "--level",
        metavar="N",
        help="0 freeze: the last good bids; 1 revert: the champion's first; 2 safe: the smaller of the last good and "
        "0.6 x the baseline's; 3 pause: none",
    ),
]
Partner = Annotated[str, typer.Option("--partner", help="only at this partner", metavar="P")]
MarketOfSale = Annotated[str, typer.Option("--market-of-sale", help="only in this travel market", metavar="M")]
By = Annotated[str, typer.Option("--by", help="who; else the name of the user", metavar="NAME")]


@app.command(epilog="Example: bidwright kill-switch rehearse --level 2 --partner google --json")
def rehearse(
    level: Level,
    partner: Partner = "",
    market_of_sale: MarketOfSale = "",
    day: Annotated[str, typer.Option("--day", help="as of this market day; else the last", metavar="DAY")] = "",
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what a level would send now: cells changed and expected spend, per partner. Writes nothing."""
    when = parse_day(day) if day else None
    result = pipeline.rehearse_switch(
        open_platform(source, data), level, partner=partner, point_of_sale=market_of_sale, day=when
    )
    _show("rehearsed, nothing was changed", result, json=json)


@app.command(epilog='Example: bidwright kill-switch pull --level 3 --partner google --why "bids ten times too high"')
def pull(
    level: Level,
    why: Annotated[str, typer.Option("--why", help="for the mail and the record", metavar="TEXT")],
    by: By = "",
    partner: Partner = "",
    market_of_sale: MarketOfSale = "",
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Publish what a level sends, at once, and keep to it every day until it is released; mails."""
    result = pipeline.pull_switch(
        open_platform(source, data),
        level,
        why=why,
        by=by or user(),
        partner=partner,
        point_of_sale=market_of_sale,
    )
    _show("kill switch pulled", result, json=json)


@app.command(epilog='Example: bidwright kill-switch release --partner google --why "feed mended"')
def release(
    why: Annotated[str, typer.Option("--why", help="for the mail and the record", metavar="TEXT")],
    by: By = "",
    partner: Partner = "",
    market_of_sale: MarketOfSale = "",
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Let the switch of exactly this scope go; the next publication bids again."""
    result = pipeline.release_switch(
        open_platform(source, data), why=why, by=by or user(), partner=partner, point_of_sale=market_of_sale
    )
    _show("kill switch released", result, json=json)


@app.command(epilog="Example: bidwright kill-switch status")
def status(source: Source = None, data: Data = None, json: Json = False) -> None:
    """Show the switches that stand, the last that were released, and the bids that stand at each partner."""
    result = pipeline.switch_status(open_platform(source, data))
    if json:
        output.show_json(result)
        return
    for one in result["active"]:
        output.show_line(
            f"level {one['level']} ({one['name']}) {one['scope']} since {one['day']}, by {one['by']}: {one['why']}"
        )
    if not result["active"]:
        output.show_line("no kill switch stands")
    for one in result["released"]:
        output.show_line(
            f"released: level {one['level']} ({one['name']}) {one['scope']} of {one['day']}, "
            f"by {one['released_by']}: {one['released_why']}"
        )
    output.show_mapping("bids that stand", result["standing"])


def user() -> str:
    """Who runs the command; empty where the machine has no name for them, which the ledger refuses."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _show(title: str, result: dict[str, Any], *, json: bool) -> None:
    output.show_json(result) if json else output.show_mapping(title, result)
