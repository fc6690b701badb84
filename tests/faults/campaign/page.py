"""docs/faults.md from the numbers of every row's last run, which lie beside it as JSON."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from tests.faults.campaign.core import together

_HEAD = """# Faults

Written by `make faults` (minutes) and `make faults FULL=1` (hours; in parts with `ROWS='R26' REPEATS=20 ADD=1`; SIGTERM ends
a row after its repetition and keeps what was tried); each row has the numbers of its own last run, or of the parts of it, which `docs/faults.json` keeps.

A repetition counts as held if its fault was proven to have happened, and everything that was expected afterwards holds. A row
whose fault did not happen is "not injected", which is a failure. The servers are real: PostgreSQL 15 that syncs its
commits, redis-server, moto's S3 server, workers of the bid service, Airflow; between them and us stands the proxy of
`tests/faults/proxy.py`. `kill -9` of a database proves nothing about a loss of power. Rows that run tests of the house (R1, R2, R12 in part, R13,
R15, R17 to R22) count their cases, and the proof is what those tests assert, not a counter of ours.

The bid service for hours, under a steady load with promotions, kills and checks of market days: `python -m benchmarks.soak --minutes 120`. Two hours at
1,500 requests/s on two cores, on 2026-11-23, with rows of this campaign beside it at the lowest priority; every figure that has a limit is within it. 10,800,000 requests, 120
changes of champion, 24 checks of a day, 24 workers killed. No worker died that was not killed, and every check came through. p50 0.41 ms, p99 6.9 ms, none waited for more than
219 ms, none was refused. 533 requests lost their connection, 22 with each kill: callers ask the workers themselves here, on 32 connections; behind the proxy a kill loses none
([R24](#r24)). 10,796,694 decisions are in the lake, 2,774 the log itself counts as lost by the kills, none is unaccounted for. The worker that lived grew by 0.18 MB an hour and the
parent by 0.36, nearly all of it in the first half hour (limit 1 each); open files did not grow (29 and 11). In an earlier run tests and builds beside it had the
processors for more than half of the time: p99 1.5 s, 596 requests refused with 429, 511 lost with their connections, 1.6 MB an hour; there too every answer is accounted for.

"""


def tried(file: Path, name: str, *, full: bool) -> dict[str, int]:
    """How often each kind of fault of a row was tried, by the page's numbers of the same campaign, short or full."""
    numbers = file.with_suffix(".json")
    found = json.loads(numbers.read_text())["rows"].get(name, {}) if numbers.exists() else {}
    return {kind: count for kind, (_, count) in found.get("kinds", {}).items()} if found.get("full") == full else {}


def keep(file: Path, results: Mapping[str, Mapping[str, Any]], *, add: bool = False) -> None:
    """Put these results in the place of the same rows' earlier ones, and write the page.

    A row that was left out this time keeps what it has; with `add` a row's numbers come on top of those that an earlier run
    of the same campaign, short or full, left there: hours may be lived through in parts.
    """
    with file.with_suffix(".json").open("a+") as numbers:
        fcntl.flock(numbers, fcntl.LOCK_EX)  # rows may run side by side
        numbers.seek(0)
        text = numbers.read()
        known: dict[str, Any] = json.loads(text)["rows"] if text else {}
        for name, found in results.items():
            if found["verdict"] != "not run" or name not in known:
                goes_on = add and "tried" in found and known.get(name, {}).get("full") == found["full"]
                known[name] = together(known[name], found) if goes_on else dict(found)
        known = dict(sorted(known.items(), key=lambda item: int(item[0][1:])))
        numbers.truncate(0)
        numbers.write(json.dumps({"machine": machine(), "rows": known}, indent=1) + "\n")
        file.write_text(render(known))


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    from tests.faults.campaign.rows import ROWS

    rows = {name: results.get(name, {"verdict": "not run", "why": "never"}) for name in ROWS}
    counts = [sum(one["verdict"] == verdict for one in rows.values()) for verdict in ("held", "missed", "not injected")]
    lines = [
        _HEAD + f"{counts[0]} of {len(rows)} rows held, {counts[1]} missed, {counts[2]} were not injected, "
        f"{len(rows) - sum(counts)} were not run. The aims are those of the plan and mean the full campaign.\n",
        "| row | fault | verdict | held of tried | aim | run |",
        "|---|---|---|---:|---|---|",
    ]
    for name, found in rows.items():
        done = f"{found['held']:,} of {found['tried']:,}" if "tried" in found else "-"
        run = (
            f"{'full' if found['full'] else 'short'}{_runs(found)}, {found['seconds']:.0f} s, {found['at']}"
            if "tried" in found
            else "-"
        )
        lines.append(
            f"| [{name}](#{name.lower()}) | {ROWS[name].fault} | {found['verdict']} | {done} | {ROWS[name].target} | {run} |"
        )
    for name, found in rows.items():
        lines += ["", f"## {name}", "", *_row(ROWS[name], found)]
    return "\n".join(lines) + "\n"


def _runs(found: Mapping[str, Any]) -> str:
    return f" in {runs} runs" if (runs := found.get("runs", 1)) > 1 else ""


def _row(row: Any, found: Mapping[str, Any]) -> list[str]:
    lines = [f"{row.fault}. Injected by: {row.injection}. Must hold: {row.invariant}.", ""]
    if "why" in found:
        return [*lines, f"Not run: {found['why']}."]
    lines += [f"- {kind}: {held:,} of {tried:,}" for kind, (held, tried) in found["kinds"].items()]
    lines += [f"- proof: {what} ({count:,} times)" for what, count in found["proofs"].items()]
    lines += [f"- figure: {name}: {value:,g}" for name, value in (found["figures"] | found.get("totals", {})).items()]
    lines += [f"- note: {note}" for note in found["notes"]]
    return lines + [f"- **missed**: {miss.replace('|', '/')}" for miss in found["misses"]]
