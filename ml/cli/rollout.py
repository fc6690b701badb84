"""Rollouts on the command line: status, one look after them, rolling back, rehearsing that, and bars."""

from __future__ import annotations

from typing import Annotated

import typer

from ml import rollout as use
from ml.cli import output
from ml.cli.killswitch import By, user
from ml.cli.options import Data, Json, Source, open_platform

app = typer.Typer(
    help="A candidate's way to champion: shadow, canary, ramp.",
    epilog="Example: bidwright rollout status",
    no_args_is_help=True,
    rich_markup_mode=None,
)
bars_app = typer.Typer(
    help="Bundles that are not offered again until a person says so.",
    epilog="Example: bidwright bars list",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog="Example: bidwright rollout status --json")
def status(source: Source = None, data: Data = None, json: Json = False) -> None:
    """Show the rollout in front of traffic, those that wait, the last ones, rollbacks, and the last rehearsal."""
    result = use.status(open_platform(source, data))
    if json:
        output.show_json(result)
        return
    now = result["active"]
    if now is None:
        output.show_line(f"no rollout is under way; the setting rollout is {result['mode']}")
    else:
        output.show_mapping(
            f"rollout {now['id']} of {now['candidate'][:12]}",
            {
                "state": f"{now['state']}, step {now['step'] + 1}",
                "shares": f"baseline {now['baseline_share']:.0%}, canary {now['canary_share']:.0%}",
                "champion": f"generation {now['generation']}",
                "reason": now["reason"],
                "watched": f"{now['watched_ms'] // 60_000} min",
                "in doubt": f"{now['held_ms'] // 60_000} min",
            },
        )
        for gate in (now["judgement"] or {}).get("gates", ()):
            output.show_line(f"  {gate['verdict']}  {gate['gate']}: {gate['reason']}")
    for one in result["queued"]:
        output.show_line(f"waits: rollout {one['id']} of {one['candidate'][:12]}: {one['reason']}")
    if result["frozen"]:
        output.show_line(f"FROZEN: {result['frozen']}; bidwright bars lift '*' lets candidates move again")
    for one in result["rollbacks"]:
        output.show_line(
            f"rolled back {one['at']}: {one['what']} {one['failed'][:12]} to {one['restored'][:12]}, by {one['by']}: {one['why']}"
        )
    drill = result["drill"]
    output.show_line(
        f"last rehearsal {drill['at']}: {'well' if drill['ok'] else 'NOT well'}, {drill['took_ms']} ms"
        if drill
        else "rolling back was never rehearsed: bidwright rollout rehearse"
    )


@app.command(epilog="Example: bidwright rollout tend --json")
def tend(
    no_judge: Annotated[bool, typer.Option("--no-judge", help="do not judge a candidate anew, only say so")] = False,
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Look after the rollout once: judge what was counted; go on, roll back or promote. For cron where there is no Airflow."""
    result = use.tend(open_platform(source, data), may_judge=not no_judge)
    output.show_json(result) if json else output.show_mapping("rollout tended", result)


@app.command(epilog="Example: bidwright rollout rehearse --json")
def rehearse(source: Source = None, data: Data = None, json: Json = False) -> None:
    """Roll back and forward on a copy of the market's champions, and record it; the live champion is not touched."""
    result = use.rehearse(open_platform(source, data))
    output.show_json(result) if json else output.show_mapping("rollback rehearsed", result)
    if not result["ok"]:
        raise typer.Exit(1)


def rollback(
    reason: Annotated[str, typer.Option("--reason", help="for the decision, the mail and the bar", metavar="TEXT")],
    to: Annotated[
        int | None,
        typer.Option("--to", help="generation of the champion whose bundle is restored", metavar="GENERATION", min=1),
    ] = None,
    by: By = "",
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Stop the canary; without one, or with --to, restore an earlier champion. What failed is barred."""
    result = use.roll_back(open_platform(source, data), why=reason, by=by or user(), to_generation=to)
    output.show_json(result) if json else output.show_mapping("rolled back", result)


@bars_app.command("list", epilog="Example: bidwright bars list --json")
def list_bars(source: Source = None, data: Data = None, json: Json = False) -> None:
    """Show what is barred, why and by whom, and what was lifted."""
    result = use.list_bars(open_platform(source, data))
    if json:
        output.show_json(result)
        return
    for one in result["standing"]:
        name = "everything (frozen)" if one["freeze"] else one["digest"][:12]
        output.show_line(f"{name} since {one['at']}, by {one['by']}: {one['reason']}")
    if not result["standing"]:
        output.show_line("nothing is barred")
    for one in result["lifted"]:
        output.show_line(f"lifted: {one['digest'][:12]}, by {one['lifted_by']}: {one['lifted_why']}")


@bars_app.command(epilog='Example: bidwright bars lift 3fa9c1 --why "the feed was wrong, not the model"')
def lift(
    digest: Annotated[str, typer.Argument(help="first characters of the digest; * for the freeze of the market")],
    why: Annotated[str, typer.Option("--why", help="for the record", metavar="TEXT")],
    by: By = "",
    source: Source = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Let a barred bundle be offered again, or a frozen market move by itself again."""
    result = use.lift_bar(open_platform(source, data), digest, why=why, by=by or user())
    output.show_json(result) if json else output.show_mapping("bar lifted", result)
