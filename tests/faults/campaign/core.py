"""What a row of the campaign is, and how its repetitions are counted.

A repetition counts as held only if its fault was proven to have happened and everything that was expected afterwards holds. One
whose fault did not happen is a failure of the row: "not injected".
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.campaign.stand import Stand

_EARLY = "it was ended before all was tried; ADD=1 goes on"
_SHOWN = 5
_LONG = 300


class Ended(Exception):
    """Somebody wants the row to end; what was tried counts."""


@dataclass
class Trial:
    """One repetition.

    Attributes:
        kind: of the fault.
        proofs: what shows that the fault happened.
        wrong: what did not hold.
    """

    kind: str
    proofs: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def proof(self, what: str, happened: object) -> None:
        """The fault happened, if this is true."""
        if happened:
            self.proofs.append(what)

    def expect(self, what: str, holds: object) -> None:
        """What must be true after the fault."""
        if not holds:
            self.wrong.append(what)


@dataclass
class Tally:
    """What came of a row's repetitions.

    Attributes:
        say: is told after each repetition how many held.
        ends: whether no further repetition is to begin.
        tried, injected, held: repetitions by kind of fault: all, those whose fault happened, those of them that held.
        misses: what did not hold, with the kind.
        notes: what a reader should know: kinds that were left out, figures.
        figures: the worst that was measured of each.
        totals: what was counted over all repetitions.
    """

    say: Callable[[str], None] = lambda _: None
    ends: Callable[[], bool] = lambda: False
    tried: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    proofs: Counter[str] = field(default_factory=Counter)
    misses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)

    def heed(self) -> None:
        """Ended, if no further repetition is to begin."""
        if self.ends():
            raise Ended

    @contextmanager
    def trial(self, kind: str, *, over: bool = False) -> Iterator[Trial]:
        """A repetition; what breaks out of the block is a miss, and the row goes on. `over`: it was tried before, and is counted here.

        Raises:
            Ended: none is to begin.
        """
        if not over:
            self.heed()
        one = Trial(kind)
        self.tried[kind] += 1
        try:
            yield one
        except Exception as error:  # noqa: BLE001  (whatever breaks is a miss of this repetition)
            one.wrong.append(f"{type(error).__name__}: {error}")
        if one.proofs:
            self.injected[kind] += 1
            self.proofs.update(one.proofs)
        else:
            self.misses.append(f"{kind}: not injected {'; '.join(one.wrong)}".rstrip())
        self.misses += [f"{kind}: {what}"[:_LONG] for what in one.wrong if one.proofs]
        self.held[kind] += bool(one.proofs) and not one.wrong
        self.say(f"{sum(self.held.values())}/{sum(self.tried.values())} {kind}")

    def worst(self, name: str, value: float) -> None:
        """Keep the largest value of a figure."""
        self.figures[name] = max(value, self.figures.get(name, value))


@dataclass(frozen=True)
class Ask:
    """What a row is asked to do.

    Attributes:
        stand: the servers that the rows share.
        folder: an empty one of this row.
        repeats: how often each kind is repeated.
        full: whether there are hours.
        before: how often each kind was tried by the parts that this one goes on from; what is drawn is drawn from there on,
            or the same cases would count twice.
    """

    stand: Stand
    folder: Path
    repeats: int
    full: bool
    before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One fault of the campaign.

    Attributes:
        fault: what goes wrong.
        injection: how that is done.
        invariant: what must hold afterwards.
        target: how often, as it was promised.
        run: does it.
        short, full: repetitions of each kind in the short and in the full campaign; 0 leaves the row out.
        needs: why it cannot run here; empty where it can.
    """

    fault: str
    injection: str
    invariant: str
    target: str
    run: Callable[[Ask, Tally], None]
    short: int = 1
    full: int = 10
    needs: Callable[[], str] = lambda: ""


def carry_out(
    row: Row, ask: Ask, say: Callable[[str], None], ends: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Run a row: its verdict and its numbers, as JSON; of what was tried, where `ends` became true meanwhile."""
    if ask.repeats == 0:
        return {"verdict": "not run", "why": "only in the full campaign: make faults FULL=1"}
    if why := row.needs():
        return {"verdict": "not run", "why": why}
    tally, begin = Tally(say, ends), time.monotonic()
    try:
        row.run(ask, tally)
    except Ended:
        if not tally.tried:
            return {"verdict": "not run", "why": _EARLY}
        tally.notes.append(_EARLY)
    except Exception as error:  # noqa: BLE001  (one row that breaks must not end the others)
        tally.misses.append(f"the row broke: {type(error).__name__}: {error}"[:_LONG])
    tried, injected, held = (sum(count.values()) for count in (tally.tried, tally.injected, tally.held))
    verdict = _verdict(tried, injected, held, tally.misses)
    return {
        "verdict": verdict,
        "runs": 1,
        "tried": tried,
        "injected": injected,
        "held": held,
        "kinds": {kind: [tally.held[kind], count] for kind, count in sorted(tally.tried.items())},
        "proofs": dict(sorted(tally.proofs.items())),
        "misses": [
            f"{what} ({count} times)" if count > 1 else what
            for what, count in Counter(tally.misses).most_common(_SHOWN)
        ],
        "notes": tally.notes,
        "figures": {name: round(value, 3) for name, value in tally.figures.items()},
        "totals": dict(tally.totals),
        "seconds": round(time.monotonic() - begin, 1),
        "full": ask.full,
    }


def together(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Two runs of a row that tried something as one: all that was tried in either counts, its misses too."""
    tried, injected, held = (earlier[name] + later[name] for name in ("tried", "injected", "held"))
    misses = list(dict.fromkeys([*earlier["misses"], *later["misses"]]))
    figures = {
        name: max(one.get(name, value) for one in (earlier["figures"], later["figures"]))
        for name, value in _either(earlier, later, "figures")
    }
    return {
        **later,
        "verdict": _verdict(tried, injected, held, misses),
        "runs": earlier.get("runs", 1) + later["runs"],
        "tried": tried,
        "injected": injected,
        "held": held,
        "kinds": {
            kind: [
                earlier["kinds"].get(kind, [0, 0])[place] + later["kinds"].get(kind, [0, 0])[place] for place in (0, 1)
            ]
            for kind, _ in sorted(_either(earlier, later, "kinds"))
        },
        "proofs": dict(sorted((Counter(earlier["proofs"]) + Counter(later["proofs"])).items())),
        "misses": misses,
        "notes": list(dict.fromkeys([*(note for note in earlier["notes"] if note != _EARLY), *later["notes"]])),
        "figures": figures,
        "totals": {
            name: earlier.get("totals", {}).get(name, 0) + later["totals"].get(name, 0)
            for name, _ in _either(earlier, later, "totals")
        },
        "seconds": round(earlier["seconds"] + later["seconds"], 1),
    }


def _either(earlier: Mapping[str, Any], later: Mapping[str, Any], field: str) -> list[tuple[str, Any]]:
    return list((earlier.get(field, {}) | later.get(field, {})).items())


def _verdict(tried: int, injected: int, held: int, misses: Sequence[str]) -> str:
    whole = tried > 0 and not misses and tried == injected == held
    return "held" if whole else "not injected" if injected < tried or not tried else "missed"
