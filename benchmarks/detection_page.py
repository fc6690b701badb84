"""The page that `benchmarks.detection --write` makes: its tables, and how they are to be read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from benchmarks.common import machine
from benchmarks.detection_summary import Found, Quiet, in_a_sentence, quiet_table, table
from benchmarks.detection_world import QUIET_PARTS, SETTLING_DAYS, Size

_PAGE = """# How soon it is noticed

Made by

    {command}

on {cpus} cores and {memory} GiB; {opportunities} searches a day. Seeds: {seeds}. A run adds its seeds to those of runs before it, which
`{name}` holds. Misses stay in the tables.

## The scenarios

What each does is in [the simulated market](simulator.md#scenarios). Every market runs until its onset with the house policy's bids;
its champion is trained by the product's own step {settling} days before, without asking the gates. Then each scenario, and a market to
which nothing happens, goes on from a copy for {days} days: landed, then judged day by day. An alarm is an incident that opens or becomes
critical while it does not stand in the quiet copy of the same seed.

{scenarios}
{absent}
- **Days** count from the onset: 1 is told by the check that follows the onset's own day, at most 26 hours after its midnight. Medians, over the
  seeds on which there was an alarm.
- **Evidence after**: hours from the onset to the instant that the incident names, where it names one. The mail goes out with the day's check.
- **First alarm**: causes of the first incidents, with the number of seeds. **Named right**: seeds on which an incident of the right
  cause opened within the {days} days. A season is no fault: nothing, or a warning that names demand, is right there. With
  `cancellation_wave` the simulated rivals know at once that a guest is worth less, and bid less: that they do is no false alarm, but not
  the cause. With `site_bug` three bookings in ten are lost, which few bookings a day are slow to show; a partner that ranks by what becomes of a click
  shows us lower before that, and a rank lost at equal bids reads as rivals who bid more.{proof}
- **Money lost**: what the same bids earn less than on the quiet market, expected over clicks and bookings and net of cancellations,
  from the onset to the end of the day of the first alarm (of the watch, where none came), in currency units; the median. Below 0 they earn
  more. With `net_cpa` the
  commission costs less than the clicks did. Faults of the reports alone lose nothing by themselves: what they would teach a model is not counted.
- **Stock Evidently**: DataDriftPreset with its own defaults on the day's offers shown, clicks, bookings and outcomes, each against
  the four weeks before (clicks have three columns and outcomes two, so that one or two are half of them); found is the first day on which
  half of a table's columns drifted, and did not on the quiet market.

## The quiet year

{quiet}
"""


LEARNED = (101, 102, 103, 110)
"""Seeds that were looked at when signatures and severities were last changed."""

_PROOF = """
- **Seeds that nothing was learned from.** Signatures and severities were last changed after seeds {seeds} had been looked at; the others
  are the proof: {told}."""

_QUIET = """{quiet_days} days of each market on which only the season happens, from its 151st day on, in {parts} parts, each with a champion of its own.
Features are built in bulk, so that what is served online is compared nowhere here. Stock Evidently is asked every {peer_every} days.

{quiet}"""


def page(
    found: Mapping[str, Sequence[Found]],
    years: Sequence[Quiet],
    *,
    seeds: Sequence[int],
    size: Size,
    argv: Sequence[str],
    name: str,
    unseen: tuple[Mapping[str, Sequence[Found]], Sequence[Quiet]] | None = None,
) -> str:
    """The page of these outcomes, made by this command line, with the name of the file that has them.

    `unseen` are those of the outcomes whose seeds are not in `LEARNED`, None where there are none.
    """
    from benchmarks.detection_truth import RIGHT

    here, absent = machine(), [f"`{name}`" for name in RIGHT if name not in found]
    return _PAGE.format(
        command=f"python -m benchmarks.detection {shlex.join(argv)}".rstrip(),
        name=name,
        cpus=here["cpus"],
        memory=here["memory_gib"],
        seeds=", ".join(map(str, seeds)),
        opportunities=f"{size.opportunities:,}",
        settling=SETTLING_DAYS,
        days=size.days,
        scenarios=table(found),
        proof=_PROOF.format(seeds=", ".join(map(str, LEARNED)), told=in_a_sentence(*unseen)) if unseen else "",
        absent=f"\nNot watched in this run: {', '.join(absent)}.\n" if absent else "",
        quiet=_QUIET.format(
            quiet_days=size.quiet_days, parts=QUIET_PARTS, peer_every=size.peer_every, quiet=quiet_table(years)
        )
        if years
        else "Not watched in this run.",
    )
