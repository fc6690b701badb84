"""The answers as a table for the screen and as the page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from ml.challenge.candidates import CANDIDATES
from ml.challenge.ground import GROUNDS, Size
from ml.challenge.run import Answer

COLUMNS = ("candidate", "is", "became", "stopped by", "because")

_INTRO = """# The challenge

Written by `bidwright challenge --markdown`.

Twelve bad candidates and four good ones are trained on a simulated market and put through the real promotion: the same
training, bundle, signature, registration, gates and move of the champion as in production. The bad ones are to be stopped, the good
ones are to pass. Each fault comes in through a door that a mistake would use (`ml/challenge/`); the gates are told nothing.
"""


def lines(answers: Sequence[Answer]) -> list[tuple[str, ...]]:
    """A row per candidate, of the columns `COLUMNS`."""
    return [
        (
            answer.name,
            "good" if answer.good else "bad",
            ("promoted" if answer.promoted else "stopped") + ("" if answer.right else " (WRONG)"),
            ", ".join(f"{one.by} {one.verdict}" for one in answer.stopped) or "-",
            min(answer.stopped, key=lambda one: one.verdict == "HOLD").reason if answer.stopped else "-",
        )
        for answer in answers
    ]


def summary(answers: Sequence[Answer]) -> str:
    """How many of each kind got the right answer."""
    bad, good = [a for a in answers if not a.good], [a for a in answers if a.good]
    return (
        f"{sum(a.right for a in bad)} of {len(bad)} bad candidates were stopped, "
        f"{sum(a.right for a in good)} of {len(good)} good ones were promoted"
    )


def markdown(answers: Sequence[Answer], *, seed: int, size: Size) -> str:
    """The page of the documentation."""
    market = (
        f"Seed {seed}; {size.days} days of {size.opportunities:,} auctions a day and {size.hotels} hotels; outcomes of the last "
        f"{size.holdout_days} days judge. {summary(answers)}.\n"
    )
    left = [name for name in CANDIDATES if name not in {answer.name for answer in answers}]
    if left:
        market += f"\nNot tried in this run: {', '.join(left)}.\n"
    table = ["| candidate | is | became | stopped by | because |", "|---|---|---|---|---|"]
    table += [f"| {' | '.join(_cell(text) for text in row)} |" for row in lines(answers)]
    about = ["## The candidates\n", *(f"- **{a.name}** ({GROUNDS[a.ground]}): {a.mistake}" for a in answers)]
    return "\n".join([_INTRO, market, *table, "", *about]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
