"""What the watched markets of `benchmarks.detection` come to: alarms, times, names, money, and the table of the docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.common import Figure, median
from benchmarks.detection_truth import SEASONS, names_rightly
from benchmarks.detection_world import Watched

PEER_SHARE = 0.5
"""Share of drifted columns at which stock Evidently calls a data set drifted."""

DAYS_A_MONTH = 365.25 / 12
CRITICAL_A_MONTH = 1.0
"""Critical alarms a month that a quiet market may raise at most."""


@dataclass(frozen=True)
class Alarm:
    """An incident that opened, or became critical, when day `day` was judged, counted from the first one watched."""

    day: int
    cause: str
    severity: str


@dataclass(frozen=True)
class Found:
    """What became of a scenario on one seed; days are counted from the onset, 1 being the onset's own.

    Attributes:
        first: day of the first alarm that the same market without the scenario does not raise; None where none came.
        cause: of that alarm; of several on that day, the one that names the scenario, else the gravest.
        right: day of the first alarm that names the scenario's cause; None where none does.
        hours: from the onset to the instant that the evidence names, where it names one.
        critical: new critical alarms.
        lost_micros: expected profit lost until the day of the first alarm ends, or until the watch does.
        peer: day on which stock Evidently first sees drift that it does not see without the scenario.
    """

    first: int | None
    cause: str
    right: int | None
    hours: float | None
    critical: int
    lost_micros: int
    peer: int | None


@dataclass(frozen=True)
class Quiet:
    """What was told of a part of a quiet year: how many days it has, the alarms, and on which days stock Evidently called."""

    days: int
    alarms: Sequence[Alarm]
    calls: Sequence[bool]


def quiet(watched: Watched) -> Quiet:
    """The part of a quiet year that was watched."""
    calls = [share >= PEER_SHARE for share in watched.peer if share is not None]
    return Quiet(len(watched.days), alarms(watched), calls)


def alarms(watched: Watched) -> list[Alarm]:
    """Every alarm, in the order of the days."""
    found, before = [], watched.before
    for day, now in enumerate(watched.open):
        found += [
            Alarm(day, cause, severity)
            for cause, severity in sorted(now.items())
            if cause not in before or (severity == "critical" and before[cause] != "critical")
        ]
        before = now
    return found


def new_alarms(watched: Watched, calm: Watched) -> list[Alarm]:
    """The alarms that do not stand, as grave, on the same day of the same market without the scenario."""
    return [
        alarm for alarm in alarms(watched) if calm.open[alarm.day].get(alarm.cause) not in {alarm.severity, "critical"}
    ]


def judge(name: str, watched: Watched, calm: Watched) -> Found:
    """Hold what a scenario's market was told against what happened to it."""
    raised = new_alarms(watched, calm)
    first = min((alarm.day for alarm in raised), default=None)
    right = min((alarm.day for alarm in raised if names_rightly(name, alarm.cause)), default=None)
    on_first = [alarm for alarm in raised if alarm.day == first]
    on_first.sort(key=lambda alarm: (not names_rightly(name, alarm.cause), alarm.severity != "critical", alarm.cause))
    lost = [quiet - ours for ours, quiet in zip(watched.profit_micros, calm.profit_micros, strict=True)]
    peer = [
        day
        for day, (share, calm_share) in enumerate(zip(watched.peer, calm.peer, strict=True))
        if (share or 0.0) >= PEER_SHARE > (calm_share or 0.0)
    ]
    return Found(
        first=None if first is None else first + 1,
        cause=on_first[0].cause if on_first else "",
        right=None if right is None else right + 1,
        hours=_hours(watched, [alarm.cause for alarm in raised]),
        critical=sum(alarm.severity == "critical" for alarm in raised),
        lost_micros=sum(lost if first is None else lost[: first + 1]),
        peer=peer[0] + 1 if peer else None,
    )


def _hours(watched: Watched, causes: Sequence[str]) -> float | None:
    """From midnight of the onset to the earliest instant that a new alarm's evidence names."""
    onset = datetime.fromisoformat(watched.days[0]).replace(tzinfo=UTC)
    told = [datetime.fromisoformat(watched.instants[cause]) for cause in causes if cause in watched.instants]
    since = [(instant - onset).total_seconds() / 3600 for instant in told if instant >= onset]
    return min(since, default=None)


def figures(found: Mapping[str, Sequence[Found]], years: Sequence[Quiet]) -> dict[str, Figure]:
    """Of each scenario the share of seeds on which it was found, the days, the names and the money; then the quiet year.

    The peer is stock Evidently on the same days. What was never found has no days.
    """
    made = {}
    for name, runs in found.items():
        seen, theirs = [run for run in runs if run.first], [run for run in runs if run.peer]
        made[f"{name}_found"] = Figure(_share(len(seen), runs), "share of seeds", peer=_share(len(theirs), runs))
        if seen:
            days = tuple(float(run.first or 0) for run in seen)
            peer = median([float(run.peer or 0) for run in theirs]) if theirs else None
            made[f"{name}_days"] = Figure(median(days), "days from onset", peer=peer, runs=days)
        if hours := tuple(round(run.hours, 1) for run in runs if run.hours is not None):
            made[f"{name}_evidence"] = Figure(median(hours), "hours from onset", runs=hours)
        if name in SEASONS:
            critical = tuple(float(run.critical) for run in runs)
            made[f"{name}_critical"] = Figure(sum(critical), "critical alarms", limit=0.0, runs=critical)
        else:
            named = [run for run in runs if run.right]
            made[f"{name}_named_right"] = Figure(_share(len(named), runs), "share of seeds")
        lost = tuple(float(run.lost_micros) for run in runs)
        made[f"{name}_lost"] = Figure(median(lost), "micros until the first alarm", runs=lost)
    if years:
        critical = _monthly(years, "critical")
        calls = [call for year in years for call in year.calls]
        peer = round(DAYS_A_MONTH * sum(calls) / len(calls), 3) if calls else None
        made["quiet_critical"] = Figure(
            round(sum(critical) / len(critical), 3), "a month", peer=peer, limit=CRITICAL_A_MONTH, runs=critical
        )
        warned = _monthly(years, "warning")
        made["quiet_warnings"] = Figure(round(sum(warned) / len(warned), 3), "a month", runs=warned)
        made["quiet_days"] = Figure(float(sum(year.days for year in years)), "days")
    return made


def table(found: Mapping[str, Sequence[Found]]) -> str:
    """One row per scenario in Markdown."""
    lines = [
        "| scenario | found | days to the first alarm | evidence after | first alarm | named right | money lost until then "
        "| stock Evidently: found | days |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name, runs in found.items():
        hours = [run.hours for run in runs if run.hours is not None]
        said = Counter(run.cause for run in runs if run.cause).most_common(3)
        seen, theirs = [run.first for run in runs if run.first], [run.peer for run in runs if run.peer]
        named = [run for run in runs if run.right]
        late = [run.right - run.first for run in named if run.right and run.first and run.right > run.first]
        right = f"{len(named)} of {len(runs)}" + (f", {median(late):g} days later on {len(late)}" if late else "")
        if name in SEASONS:
            right = f"{sum(run.critical for run in runs)} critical (limit 0)"
        unseen = "" if len(seen) == len(runs) else " or the end"
        cells = [
            f"`{name}`",
            f"{len(seen)} of {len(runs)}",
            f"{median(seen):g}" if seen else "-",
            f"{median(hours):.0f} h" if hours else "-",
            ", ".join(f"`{cause}` {count}" for cause, count in said) or "-",
            right,
            f"{median([run.lost_micros for run in runs]) / 1e6:.0f}{unseen}",
            f"{len(theirs)} of {len(runs)}",
            f"{median(theirs):g}" if theirs else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def quiet_table(years: Sequence[Quiet]) -> str:
    """The quiet year in Markdown: a row per cause that raised an alarm, and the sums."""
    every = [alarm for year in years for alarm in year.alarms]
    months = sum(year.days for year in years) / DAYS_A_MONTH
    calls = [call for year in years for call in year.calls]
    lines = ["| quiet days | critical a month | warnings a month |", "|---|---:|---:|"]
    for cause in sorted({alarm.cause for alarm in every}):
        counts = [sum(a.cause == cause and a.severity == grade for a in every) for grade in ("critical", "warning")]
        lines.append(f"| `{cause}` | {counts[0] / months:.2f} | {counts[1] / months:.2f} |")
    sums = [sum(a.severity == grade for a in every) for grade in ("critical", "warning")]
    lines.append(f"| all | {sums[0] / months:.2f} (limit {CRITICAL_A_MONTH:g}) | {sums[1] / months:.2f} |")
    if calls:
        lines.append(f"| stock Evidently | {DAYS_A_MONTH * sum(calls) / len(calls):.2f} | - |")
    return "\n".join(lines)


def in_a_sentence(found: Mapping[str, Sequence[Found]], years: Sequence[Quiet]) -> str:
    """How many faults were found and named right, and what rose on seasons and quiet days."""
    faults = [run for name, runs in found.items() if name not in SEASONS for run in runs]
    seasons = [run for name, runs in found.items() if name in SEASONS for run in runs]
    seen, right = sum(bool(run.first) for run in faults), sum(bool(run.right) for run in faults)
    told = f"{seen} of {len(faults)} faults were found, {right} were named right"
    if seasons:
        told += f", critical alarms on {len(seasons)} seasons: {sum(run.critical for run in seasons)}"
    if not years:
        return told
    months = sum(year.days for year in years) / DAYS_A_MONTH
    a_month = [
        sum(a.severity == grade for year in years for a in year.alarms) / months for grade in ("critical", "warning")
    ]
    return f"{told}, and a quiet month had {a_month[0]:.2f} critical alarms and {a_month[1]:.2f} warnings"


def _monthly(years: Sequence[Quiet], severity: str) -> tuple[float, ...]:
    return tuple(
        round(DAYS_A_MONTH * sum(alarm.severity == severity for alarm in year.alarms) / year.days, 3) for year in years
    )


def _share(count: int, runs: Sequence[object]) -> float:
    return round(count / len(runs), 3)
