"""The command `bidwright backtest`: quality of the value model through time, and what an older or a poorer one would have cost."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml.cli import output
from ml.cli.options import Data, Json, Source
from ml.core.errors import UsageError
from ml.core.units import parse_day

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from ml.evaluation.variants import Variant


def backtest(
    first: Annotated[str, typer.Option("--from", help="first day scored")],
    last: Annotated[str, typer.Option("--to", help="end, not scored any more")],
    every: Annotated[str, typer.Option("--every", help="retrain every so many days, for example 7d")] = "7d",
    older: Annotated[
        list[str] | None, typer.Option(metavar="DAYS", help="compare with models so much older; repeatable")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="compare with a model without it, or without all of agent_*; repeatable"),
    ] = None,
    each_column: Annotated[
        bool, typer.Option("--each-column", help="compare with models that lack one column each")
    ] = False,
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Retrain as time goes by on what was known each day, and score the bookings that followed.

    With --older, --without or --each-column it is said what such a model would have lost against the model of the week.
    """
    start, end, step = parse_day(first), parse_day(last), _days("--every", every)
    if end <= start:
        raise UsageError(f"--to {last} does not come after --from {first}", next="give a later end")
    variants = _variants(older or [], without or [], each_column=each_column)
    from ml.core.settings import load_settings
    from ml.evaluation.backtest import backtest as walk_forward
    from ml.evaluation.variants import compare
    from ml.market import open_source

    given: dict[str, object] = {}
    if source:
        given["source"] = source
    if data:
        given["data"] = data if "://" in data else str(Path(data).absolute())
    with tempfile.TemporaryDirectory(prefix="bidwright-backtest-") as scratch:
        settings = load_settings(**given, home=Path(scratch))
        days: dict[str, Any] = {"first": start, "last": end, "every_days": step, "progress": _progress}
        market = open_source(settings)
        if variants:
            found = compare(market, settings, variants=variants, **days)
        else:
            found = walk_forward(market, settings, **days)
    if json:
        output.show_json(found)
    elif variants:
        _show_variants(found)
    else:
        _show_quarters(found["quarters"])


def _variants(older: Sequence[str], gone: Sequence[str], *, each_column: bool) -> list[Variant]:
    if not (older or gone or each_column):
        return []
    from ml.evaluation import variants

    found = [variants.Variant(age_days=_days("--older", text)) for text in older]
    found += [variants.without(pattern) for pattern in gone]
    return found + (variants.each_column() if each_column else [])


def _show_quarters(quarters: Sequence[Mapping[str, Any]]) -> None:
    columns = ("quarter", "rows", "model", "AUC", "log loss", "net value ratio")
    rows = [
        (
            q["quarter"],
            q["rows"],
            who,
            f"{q[who]['auc']:.3f}",
            f"{q[who]['log_loss']:.3f}",
            f"{q[who]['net_value_ratio']:.3f}",
        )
        for q in quarters
        for who in ("model", "logistic", "constant")
    ]
    output.show_table("backtest", columns, rows)


def _show_variants(found: Mapping[str, Any]) -> None:
    model = found["model"]
    rows = [("as it is", f"{model['log_loss']:.4f}", f"{model['net_value_ratio']:.3f}", "", "")]
    for row in found["variants"]:
        loss = row["loss"]
        bounds = "" if loss["low"] is None else f"{loss['low']:+.4f} to {loss['high']:+.4f}"
        share = f"{loss['share']:+.1%}"
        rows.append((row["name"], f"{row['log_loss']:.4f}", f"{row['net_value_ratio']:.3f}", share, bounds))
    columns = ("model", "log loss", "net value ratio", "lost", "loss added, 90 %")
    output.show_table(f"backtest of {found['rows']:,} bookings", columns, rows)


def _progress(day: date) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rtrained as of {day.isoformat()}")
        sys.stderr.flush()


def _days(option: str, text: str) -> int:
    match = re.fullmatch(r"([1-9]\d*)d?", text)
    if match is None:
        raise UsageError(f"{option} {text!r} is not a number of days", next="write it as 7d")
    return int(match.group(1))
