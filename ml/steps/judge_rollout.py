"""Evidence of gates 18 and 19, where a candidate has a rollout before it: what its shadow showed, and when going back was rehearsed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ml.core.errors import BidwrightError, NoData

if TYPE_CHECKING:
    from ml.ledger.versions import Version
    from ml.platform import Platform
    from ml.promotion.evidence_bids import BiddingEvidence, DoesNotApply, RollbackDrill, Shadow

DAY = timedelta(days=1)


def with_rollout(platform: Platform, version: Version, found: BiddingEvidence) -> BiddingEvidence:
    """The evidence with the two parts of a rollout; as it is where the setting `rollout` is off, and no gate asks for them.

    What cannot be read is missing, with the error beside it, so that its gate holds.
    """
    from dataclasses import replace

    if platform.settings.rollout == "off":
        return found
    parts: dict[str, Any] = {}
    failed = list(found.failed)
    for name, gather in (("shadow", lambda: shadow(platform, version)), ("rollback_drill", lambda: drill(platform))):
        try:
            parts[name] = gather()
        except BidwrightError as error:
            failed.append((name, str(error)))
    return replace(found, failed=tuple(failed), **parts)


def drill(platform: Platform) -> RollbackDrill | DoesNotApply:
    """The last rehearsal of a rollback. NoData where there was none that went well, so that the gate holds.

    A market that had fewer than two champions has nothing to go back to.
    """
    from ml.ledger import champion, drills
    from ml.promotion.evidence_bids import DoesNotApply, RollbackDrill

    if len({one.digest for one in champion.history(platform.db, platform.market)}) < 2:
        return DoesNotApply("the market had fewer than two champions, so that there is nothing to go back to yet")
    last = drills.last_drill(platform.db, platform.market)
    rehearse = "rehearse one: bidwright rollout rehearse"
    if last is None:
        raise NoData("no rollback was ever rehearsed", next=rehearse)
    if not last.ok:
        raise NoData(f"the last rehearsal did not go well: {last.details.get('reason', 'no reason')}", next=rehearse)
    return RollbackDrill(age_days=(platform.clock.now() - last.at) / DAY, took_s=last.took_ms / 1_000)


def shadow(platform: Platform, version: Version) -> Shadow | DoesNotApply:
    """What is known of a candidate that was tried beside traffic before: how long, and how often the judge took it out since a
    person last let it try again.

    A candidate that was in no rollout yet is tried in shadow by the ramp, after this decision and before it answers anybody.
    """
    from ml.ledger import bars, rollouts
    from ml.promotion.evidence_bids import DoesNotApply, Shadow
    from ml.steps.rollout import policy_of

    db, market = platform.db, platform.market
    own = [one for one in rollouts.newest(db, market, 1_000) if one.candidate == version.digest]
    tried = [one for one in own if one.analysis]
    if not tried:
        first = policy_of(platform).steps[0]
        return DoesNotApply(
            f"it was not in front of traffic yet: its rollout begins with {first.watched} and {first.requests} requests in "
            "shadow before it answers anybody"
        )
    lifted = [
        one.lifted_at for one in bars.history(db, market, 1_000) if one.digest == version.digest and one.lifted_at
    ]
    since = max(lifted, default=None)
    critical = sum(one.state == "rolled_back" and (since is None or one.ticked_at > since) for one in tried)
    days = max((one.ticked_at - one.began_at) // DAY for one in tried)
    told = _promise(platform, tried[0].id)
    if not critical and told is None:
        return DoesNotApply(
            f"it was tried without an alarm {len(tried)} times before, and none of its clicks has matured"
        )
    return Shadow(days=days, critical=critical, predicted_over_realised=told)


def _promise(platform: Platform, rollout_id: int) -> float | None:
    """What it promised over what came, as far as outcomes matured while it was a canary."""
    from ml.ledger import rollouts

    known = rollouts.measures(platform.db, rollouts.get(platform.db, rollout_id))
    middle = known[0].get("calibration", {}).get("mid") if known else None
    return float(middle) if isinstance(middle, int | float) else None
