"""The commands that show what happened: status, explain, champion-on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import typer

from ml.cli import output
from ml.core.units import from_micros, parse_day

if TYPE_CHECKING:
    from ml.platform import Platform
    from ml.serving.explain import Explained

DAYS_SHOWN = 14
CANDIDATES_SHOWN = 5


def status(platform: Platform, *, as_json: bool) -> None:
    """The champion, the last market days, open incidents and waiting mail."""
    from ml.status import overview

    found = overview(platform, days=DAYS_SHOWN)
    if as_json:
        output.show_json(found)
        return
    live = found["champion"]
    output.show_line(
        f"champion of {found['market']}: "
        + (f"{live['digest'][:12]} since {live['since']}, generation {live['generation']}" if live else "none yet")
    )
    for line in _standing(found):
        output.show_line(line)
    for row in found["days"]:
        facts = ", ".join(f"{name} {row[name]}" for name in row if name not in {"day", "retrained", *_MONEY})
        output.show_line(f"{row['day']}  {facts}")
        output.show_line(f"            {', '.join(_money(row, found['currency']))}")
        output.show_line(f"            retrained {row['retrained']}")
    for incident in found["incidents"]:
        output.show_line(
            f"open incident {incident['cause']} ({incident['severity']}) since {incident['opened_day']}: {incident['title']}"
        )
    if space := found["space"]:
        most = sorted(space["kinds"].items(), key=lambda one: -one[1]["bytes"])
        told = ", ".join(f"{name} {figures['bytes'] / 1e6:,.1f} MB" for name, figures in most if figures["bytes"])
        output.show_line(f"space at {space['at'][:16]}: {space['bytes'] / 1e6:,.1f} MB; {told}")
    output.show_line(f"mail: {found['mail']['sent']} sent, {found['mail']['waiting']} waiting")


def _standing(found: Mapping[str, Any]) -> list[str]:
    """How the champion does and what is under way, a line each; nothing is said of what is not known."""
    lines = []
    if calibration := found["calibration"]:
        lines.append(
            f"calibration in money: promised over realised {calibration['ratio']:.3f} "
            f"({calibration['low']:.3f} to {calibration['high']:.3f}) of {calibration['rows']:,} bookings due by {calibration['day']}"
        )
    if rollout := found["rollout"]:
        lines.append(
            f"rollout {rollout['id']}: {rollout['candidate'][:12]} in {rollout['state']}, step {rollout['step'] + 1} of "
            f"{len(rollout['steps'])}, {rollout['canary_share']:.0%} of the keys"
        )
    planned = [row["spend_micros"] for row in found["plan"]]
    if planned and planned[-1] is not None:
        row = found["days"][-1]
        spent = _amount(row["spend_micros"], found["currency"])
        lines.append(f"spend of {row['day']}: {spent}, planned {_amount(planned[-1], found['currency'])}")
    return lines


_MONEY = ("spend_micros", "bookings", "profit_micros", "share_of_o2")


def _money(row: Mapping[str, Any], currency: str) -> list[str]:
    """The day's money for reading: amounts in the market's currency, "-" where a figure is not known."""
    spend, bookings, profit, share = (row[name] for name in _MONEY)
    return [
        f"spend {_amount(spend, currency)}",
        f"bookings {bookings}",
        f"profit {_amount(profit, currency)}",
        f"of O2 {share if isinstance(share, str) else f'{share:.0%}'}",
    ]


def _amount(micros: int | str, currency: str) -> str:
    return micros if isinstance(micros, str) else f"{from_micros(micros):,.2f} {currency}"


def explain(platform: Platform, what: str, *, as_json: bool) -> None:
    """Everything known of a version, or of a decision of the bid service."""
    from ml.serving.explain import is_trace_id

    if is_trace_id(what):
        _explain_decision(platform, what, as_json=as_json)
    else:
        _explain_version(platform, what, as_json=as_json)


def _explain_decision(platform: Platform, trace_id: str, *, as_json: bool) -> None:
    """A decision, made again and compared; exit code 1 where it is not the same."""
    from ml.serving.event_log import events_folder
    from ml.serving.explain import built_in_engine, explain_decision

    folder = events_folder(platform.settings.home, platform.market)
    found = explain_decision(platform.lake, folder, trace_id, built_in_engine(platform))
    if as_json:
        output.show_json(found.as_json())
    else:
        _show_decision(found)
    if found.same is False:
        raise typer.Exit(1)


def _show_decision(found: Explained) -> None:
    """The request, what was decided, and each number between features and bid, a column per candidate."""
    told = found.as_json()
    request = {**(told["request"] or {}), "candidates": len(found.candidates)}
    again = {True: "the same to the last bit", False: found.why_not, None: f"it could not be: {found.why_not}"}
    values = {"at": told["at"], **request, **found.facts, "made again": again[found.same]}
    output.show_mapping(f"decision {found.trace_id}", values)
    for start in range(0, len(found.candidates), CANDIDATES_SHOWN):
        some = found.candidates[start : start + CANDIDATES_SHOWN]
        names = [*dict.fromkeys(name for one in some for name in one.get("intermediates", {}))]
        rows = [(name, *(_number(one.get("intermediates", {}).get(name)) for one in some)) for name in names]
        rows += [
            (f"logged {name}", *(_number(one[name]) for one in some)) for name in ("bid_micros", "score", "reason")
        ]
        output.show_table("", ("", *(one["id"] for one in some)), rows)


def _number(value: int | float | str | None) -> str:
    """Six digits; --json has all of them."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value or "-"


def _explain_version(platform: Platform, version: str, *, as_json: bool) -> None:
    """Everything known of a version."""
    from ml.promotion.explain import explain as explain_version

    found = explain_version(platform.db, platform.blobs, platform.market, version, keys=platform.keys)
    if as_json:
        output.show_json(found)
        return
    money = found.pop("money")
    found["training_sets"] = [{name: kept[name] for name in kept if name != "query"} for kept in found["training_sets"]]
    output.show_mapping(f"version {version}", found)
    if not money:
        output.show_line("what errors of worth cost was not measured of this version")
        return
    columns = ("model", "of", "field", "label", "rows", "predicted", "realised", "ratio", "interval", "profit lost")
    output.show_table(f"what errors of worth cost, {platform.settings.currency}", columns, worth_lines(money))


def worth_lines(money: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of `ml.evaluation.worth.money_of` for reading: one line per label, and one of all."""

    def line(one: Mapping[str, Any], field: str, label: str, row: Mapping[str, Any]) -> tuple[str, ...]:
        told = (f"{row['rows']:,}", *(_plainly(row[name], ",.0f") for name in ("predicted", "realised")))
        ends = " to ".join(_plainly(row[name], ".3f") for name in ("low", "high"))
        cost = _plainly(row["cost"], ",.2f")
        return (one["model"], one["by"], field, label, *told, _plainly(row["net_value_ratio"], ".3f"), ends, cost)

    return [
        line(one, field, label, row)
        for one in money
        for field, rows in (("all", {"": one["whole"]}), *one["fields"].items())
        for label, row in rows.items()
    ]


def _plainly(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def features(name: str | None, *, markdown: bool, as_json: bool) -> None:
    """The features, or one view or feature of that name; the page of the documentation needs no platform."""
    from ml import catalogue
    from ml.cli.options import open_platform

    if markdown:
        from ml.features.describe import describe

        sys.stdout.write(describe(catalogue.readers()))
        return
    views = catalogue.catalogue(catalogue.served(open_platform()), name=name)
    if as_json:
        output.show_json({"views": views})
        return
    for view in views:
        told = {key: view[key] for key in ("meaning", "entity", "sources", "owner", "leakage", "absent_after_days")}
        output.show_mapping(view["name"], told | {"served up to": view["served_day"] or "never materialised"})
        columns = ("feature", "days", "unit", "type", "meaning", "read by")
        rows = [
            (
                one["name"],
                one["window_days"],
                one["unit"],
                one["type"],
                one["meaning"],
                ", ".join(one["read_by"]) or "people",
            )
            for one in view["features"]
        ]
        output.show_table("", columns, rows)


def champion_on(platform: Platform, day: str, *, as_json: bool) -> None:
    """Who was champion on a market day, and by which decision."""
    from ml.ledger import champion, decisions

    when = parse_day(day)
    live = champion.on_day(platform.db, platform.market, when)
    decision = decisions.get(platform.db, live.decision_id) if live else None
    found = {"day": day, "champion": _plain(live), "decision": _plain(decision)}
    if as_json:
        output.show_json(found)
    elif live is None:
        output.show_line(f"there was no champion on {day}")
    else:
        output.show_line(
            f"{day}: {live.digest[:12]}, generation {live.generation}, since {live.since} by decision {live.decision_id}"
        )


def served(platform: Platform, day: str, at: str, *, as_json: bool) -> None:
    """What served a market day as things stood at an instant; without either, the whole timeline."""
    from ml.promotion.served import parse_instant, served_on, timeline

    if not (day or at):
        reigns = timeline(platform.db, platform.market)
        if as_json:
            output.show_json({"market": platform.market, "timeline": reigns})
            return
        for r in reigns:
            output.show_line(
                f"{r['from']} to {r['until'] or 'now'}: {r['digest'][:12]}, generation {r['generation']}, by decision "
                f"{r['decision_id']}, moved at {r['moved_at']}"
            )
            output.show_line(f"            {r['why']}")
            output.show_line(f"            approved by: {r['approved_by']}")
        if not reigns:
            output.show_line(f"nothing served {platform.market} yet")
        return
    when = parse_instant(at) if at else platform.clock.now()
    found = served_on(platform.db, platform.market, day=parse_day(day) if day else None, at=when)
    if as_json:
        output.show_json(found)
        return
    gates = (found.pop("decision") or {}).get("gates", ())
    output.show_mapping("what served", found)
    for gate in gates:
        output.show_line(f"    {gate['gate']} {gate['verdict']}: {gate['reason']}")


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
