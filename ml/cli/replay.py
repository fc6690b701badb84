"""The command `bidwright replay`: its options read, its result shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from ml.cli import output
from ml.core.errors import UsageError


def replay(
    auctions: Path,
    *,
    campaign_stats: Path,
    campaign: str,
    policy: str,
    params: Sequence[str],
    episode: str,
    budget_share: str,
    split: str | None,
    tune: Path | None,
    as_json: bool,
) -> None:
    """Replay the auctions of a campaign and print the row of the published table."""
    from ml.evaluation.replay.engine import replay as run
    from ml.evaluation.replay.engine import rules_for
    from ml.evaluation.replay.inputs import has_splits, read_auctions, read_stats
    from ml.evaluation.replay.policies import policy_named
    from ml.evaluation.replay.policy import check, complete
    from ml.evaluation.replay.report import totals

    chosen = policy_named(policy)
    given = _parameters(params)
    size, share = _whole(episode, "--episode"), _number(budget_share, "--budget-share")
    check(chosen, given) if tune else complete(chosen, given)
    stats = read_stats(campaign_stats, campaign)
    rules = rules_for(stats, episode=size, budget_share=share)
    splits = has_splits(auctions)
    if split is not None and not splits:
        raise UsageError(f"{auctions.name} has no column split to choose {split} by", next="leave out --split")
    rows = read_auctions(auctions, campaign, split=split or "test")
    if tune is not None:
        from ml.evaluation.replay.tuning import tuned

        if tune.exists() and tune.samefile(auctions) and not (splits and split in {None, "test"}):
            raise UsageError(
                "--tune names the rows that are replayed, so the result would be of no worth", next="give other rows"
            )
        train = read_auctions(tune, campaign, split="train")
        given = tuned(chosen, train, stats, rules, fixed=given)
    else:
        given = complete(chosen, given)
    found = totals(run(rows, chosen.plan(rows, stats, rules, given), rules))
    if tune is not None:
        found["params"] = given
    if as_json:
        output.show_json(found)
    else:
        output.show_mapping(f"replay of {campaign} with {policy}, budget {rules.budget:,} per {size:,} auctions", found)


def _parameters(texts: Sequence[str]) -> dict[str, float]:
    """The parameters given as NAME=VALUE.

    >>> _parameters(["b0=10", "seed=1"])
    {'b0': 10.0, 'seed': 1.0}
    """
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not (name and equals):
            raise UsageError(f"--param {text!r} is not NAME=VALUE", next="write it as b0=10")
        if name in found:
            raise UsageError(f"--param {name} is given twice", next="give it once")
        found[name] = _number(value, f"--param {name}")
    return found


def _number(text: str, option: str) -> float:
    """A number, or a fraction such as 1/32.

    >>> _number("1/32", "--budget-share")
    0.03125
    """
    try:
        value = float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{option} {text!r} is not a number", next="write it as 10 or 0.03125")
    return value


def _whole(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is not an integer", next="write it as 1000") from error
