"""Models: what happened to versions in the order in which it happened, and one version from bundle to data."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from bidwright_ui.charts import Chart, chart, series
from bidwright_ui.page import Page, View, plain
from bidwright_ui.views_decision import decision_heads, decisions

if TYPE_CHECKING:
    from ml.platform import Platform

SHOWN = 200
EVENTS = 60
CALIBRATION_DAYS = 60
VERSIONS_DRAWN = 30


def model(platform: Platform) -> View:
    """The timeline of versions and decisions, how calibrated they were, and the newest of each."""
    found = versions(platform, limit=VERSIONS_DRAWN)["versions"]
    return {
        "timeline": timeline(platform),
        "charts": [_calibration_by_day(platform), _versions_chart(found)],
        "versions": [one | {"metrics": None} for one in found],
        **champions(platform),
    }


def timeline(platform: Platform) -> list[dict[str, Any]]:
    """What happened to versions, newest first: `at`, `what`, and what it was about.

    Registered, decided, promoted, on a ramp, rolled back; each entry names the version, and the decision or the verdict
    where there is one.
    """
    from ml.ledger import champion, rollbacks, rollouts
    from ml.ledger import versions as ledger

    db, market = platform.db, platform.market
    happened: list[dict[str, Any]] = [
        {"at": one.registered_at, "what": "registered", "version": one.digest, "day": one.day}
        for one in ledger.newest(db, market, EVENTS)
    ]
    happened += [
        {
            "at": one["recorded_at"], "what": "decided", "version": one["candidate"], "day": one["day"],
            "decision": one["id"], "verdict": one["verdict"], "kind": one["kind"],
            "open": one["open"], "gates": one["gates"],
        }
        for one in decisions(platform, limit=EVENTS)["decisions"]
    ]  # fmt: skip
    happened += [
        {"at": one.moved_at, "what": "champion", "version": one.digest, "day": one.since, "decision": one.decision_id,
         "generation": one.generation}
        for one in champion.history(db, market)[-EVENTS:]
    ]  # fmt: skip
    happened += [
        {"at": one.ticked_at, "what": "rollout", "version": one.candidate, "day": one.day, "decision": one.decision_id,
         "state": one.state, "reason": one.reason}
        for one in rollouts.newest(db, market, EVENTS)
    ]  # fmt: skip
    happened += [
        {
            "at": one.at,
            "what": "rolled back",
            "version": one.failed,
            "restored": one.restored,
            "reason": one.why,
            "by": one.by,
        }
        for one in rollbacks.newest(db, market, EVENTS)
    ]
    told: list[dict[str, Any]] = plain(happened)
    # What was written in the same instant happened in the order above.
    return sorted(told, key=lambda one: str(one["at"]))[-EVENTS:][::-1]


def _calibration_by_day(platform: Platform) -> Chart:
    """The champion's promised over realised value as each day's drift check found it."""
    from ml.ledger import stages

    known = stages.days(platform.db, platform.market)
    found: dict[str, Any] = {}
    if known:
        first = known[-1] - timedelta(days=CALIBRATION_DAYS - 1)
        for day, done in stages.between(platform.db, platform.market, first, known[-1]).items():
            told = done["drift"].result.get("calibration") if "drift" in done else None
            if told and told.get("ratio") is not None:
                found[day.isoformat()] = told
    curve = series(
        "champion",
        [one["ratio"] for one in found.values()],
        low=[one.get("low") for one in found.values()],
        high=[one.get("high") for one in found.values()],
    )
    title = "Calibration of the champion in money"
    return chart(title, curve, x=list(found), unit="promised / realised", lines=[(1.0, "as promised")])


def _versions_chart(found: list[dict[str, Any]]) -> Chart:
    """Promised over realised value of each version on the holdout of its training."""
    from ml.evaluation.worth import money_of

    rows = []
    for one in reversed(found):
        whole = next(
            (m["whole"] for m in money_of(one["metrics"]) if (m["model"], m["by"]) == ("value", "model")), None
        )
        rows.append((f"{one['day'][5:]} {one['digest'][:4]}", whole or {}))
    curve = series(
        "version",
        [whole.get("net_value_ratio") for _, whole in rows],
        style="points",
        low=[whole.get("low") for _, whole in rows],
        high=[whole.get("high") for _, whole in rows],
    )
    return chart(
        "Calibration of each version on its holdout",
        curve,
        x=[name for name, _ in rows],
        kind="category",
        label="version",
        unit="promised / realised",
        lines=[(1.0, "as promised")],
    )


def versions(platform: Platform, *, limit: int = SHOWN) -> View:
    """The newest registered versions; `live` marks the champion."""
    from ml.ledger import champion
    from ml.ledger import versions as ledger

    live = champion.current(platform.db, platform.market)
    found = ledger.newest(platform.db, platform.market, limit)
    return {"versions": [plain(v) | {"live": live is not None and v.digest == live.digest} for v in found]}


def version(platform: Platform, digest: str) -> View:
    """One version: its data, its metrics, what its errors cost, every decision about it, and since when it was champion."""
    from bidwright_ui.evidence import reliability
    from bidwright_ui.lineage import lineage
    from ml.evaluation.worth import money_of
    from ml.ledger import champion
    from ml.ledger import decisions as ledger_decisions
    from ml.ledger import versions as ledger

    found = ledger.find(platform.db, platform.market, digest)
    reigns = [c for c in champion.history(platform.db, platform.market) if c.digest == found.digest]
    money = money_of(found.metrics)
    return {
        "version": plain(found),
        "currency": platform.settings.currency,
        "money": money,
        "reliability": reliability(money, []),
        "lineage": lineage(platform, found),
        "decisions": [
            plain(one) | decision_heads(one)
            for one in ledger_decisions.for_version(platform.db, platform.market, found.digest)
        ],
        "champion": plain(reigns),
    }


def champions(platform: Platform) -> View:
    """Who was champion since when, and by which decision."""
    from ml.ledger import champion

    return {"champions": plain(champion.history(platform.db, platform.market))}


PAGES: Final = {
    "/model": Page(
        "model",
        model,
        "model",
        "The timeline of versions and decisions.",
        {
            "timeline": f"What happened to versions, the newest {EVENTS} entries.",
            "charts": "Calibration in money by day and by version, as series.",
            "versions": f"The newest {VERSIONS_DRAWN} versions without their metrics.",
            "champions": "Who was champion since when, oldest first.",
        },
    ),
    "/versions": Page(
        "versions",
        versions,
        "model",
        f"The newest {SHOWN} registered versions.",
        {"versions": "Newest first; `live` marks the champion."},
    ),
    "/versions/{digest}": Page(
        "version",
        version,
        "model",
        "One version, by the first digits of its digest.",
        {
            "version": "What it was trained on and how it did.",
            "currency": "Of the amounts.",
            "money": "What its errors of worth cost, by field.",
            "reliability": "Promised over realised money by label, as series.",
            "lineage": "What it was made of.",
            "decisions": "Every decision about it.",
            "champion": "Since when it was champion, if ever.",
        },
    ),
    "/champions": Page(
        "champions",
        champions,
        "model",
        "Who was champion since when.",
        {"champions": "Oldest first, each with the decision that made it champion."},
    ),
}
