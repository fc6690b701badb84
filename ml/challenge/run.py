"""Run the challenge: each planted candidate through training, bundle, registration, gates and promotion, as in production."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from inspect import getdoc
from typing import Any

from ml.challenge.candidates import CANDIDATES
from ml.challenge.ground import Field, Say, make_grounds
from ml.core.errors import BidwrightError, UsageError


@dataclass(frozen=True)
class Stopped:
    """A gate, or a step before the gates, that did not let a candidate pass, and why."""

    by: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Answer:
    """What became of a planted candidate.

    `promoted` is whether it is the champion afterwards; `right` whether that is as it should be. `stopped` is empty for
    one that passed.
    """

    name: str
    good: bool
    mistake: str
    ground: str
    promoted: bool
    right: bool
    stopped: tuple[Stopped, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Every field by name."""
        return asdict(self)


def chosen(only: Sequence[str]) -> list[str]:
    """The candidates of these names, all for none; UsageError for one that is not known."""
    for name in only:
        if name not in CANDIDATES:
            raise UsageError(f"there is no planted candidate {name!r}", next=f"choose one of: {', '.join(CANDIDATES)}")
    return [name for name in CANDIDATES if not only or name in only]


def mistake(name: str) -> str:
    """What is wrong with a candidate, or good about it: the first sentence of its class."""
    return " ".join((getdoc(type(CANDIDATES[name])) or "").partition("\n\n")[0].split())


def run_challenge(
    field: Field, names: Sequence[str], *, say: Say, tell: Callable[[Answer], None], workers: int = 2
) -> list[Answer]:
    """Make the grounds and try every candidate on a copy of its own.

    Args:
        field: where, and of what size.
        names: from `chosen`.
        say: is told what is being done.
        tell: gets each answer as it is there.
        workers: candidates that are tried side by side, each in a process of its own.

    Returns:
        The answers, in the order of the names.
    """
    answers: dict[str, Answer] = {}
    # Started, not forked: LightGBM that was used in the parent hangs in a forked child.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        make_grounds(field, {CANDIDATES[name].ground for name in names}, pool, say)
        waiting = [pool.submit(try_candidate, field, name) for name in names]
        for done in as_completed(waiting):
            answer = done.result()
            answers[answer.name] = answer
            tell(answer)
    return [answers[name] for name in names]


def try_candidate(field: Field, name: str) -> Answer:
    """One candidate through the platform's own steps; a step that stops it has stopped it."""
    began = time.monotonic()
    planted = CANDIDATES[name]
    home = f"try-{name}"
    field.copy(planted.ground, home)
    try:
        promoted, stopped = _promotion(field, name, home)
    except BidwrightError as error:
        promoted, stopped = False, (Stopped(type(error).__name__, "STOPPED", str(error)),)
    finally:
        shutil.rmtree(field.home(home), ignore_errors=True)
    return Answer(
        name=name,
        good=planted.good,
        mistake=mistake(name),
        ground=planted.ground,
        promoted=promoted,
        right=promoted is planted.good,
        stopped=stopped,
        seconds=round(time.monotonic() - began, 1),
    )


def _promotion(field: Field, name: str, home: str) -> tuple[bool, tuple[Stopped, ...]]:
    from ml import pipeline
    from ml.ledger import champion

    planted = CANDIDATES[name]
    trainer, clock = field.open(home, ground=planted.ground, **planted.settings)
    platform, _ = field.open(home, ground=planted.ground)
    day = clock.day
    planted.prepare(trainer, day)
    trained = pipeline.train(trainer, day, recipe=planted.recipe())
    if trained["candidate"] is None:
        return False, (Stopped("train", "STOPPED", trained["reason"]),)
    judged = pipeline.judge(platform, day)
    stopped = tuple(
        Stopped(gate["gate"], gate["verdict"], gate["reason"]) for gate in judged["gates"] if gate["verdict"] != "PASS"
    )
    carried_out = pipeline.promote(platform, day, decision_id=judged["decision_id"])
    live = champion.current(platform.db, platform.market)
    promoted = live is not None and live.digest == trained["candidate"]
    if not promoted and not stopped:
        stopped = (Stopped("promote", "STOPPED", carried_out["reason"]),)
    return promoted, stopped
