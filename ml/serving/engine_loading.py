"""From a verified bundle and a plan to an engine: load, walk the trees faster where that is proven, try it once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from ml.core.errors import CorruptArtefact
from ml.models import MODELS
from ml.models.golden import golden_rows
from ml.models.listing import ListingModel
from ml.promotion.bundle import ModelType, load_models
from ml.promotion.manifest import GOLDEN
from ml.serving.engine import ENGINES, AnyEngine
from ml.serving.engine_inputs import OpenView
from ml.serving.messages import BidRequest, Candidate, User
from ml.serving.plan_protocol import Plan
from ml.serving.trees import fastest

if TYPE_CHECKING:
    from ml.models.protocol import BidModel
    from ml.platform import Platform
    from ml.promotion.bundle import Bundle

TYPES: Mapping[str, ModelType] = {**MODELS, ListingModel.name: ListingModel}
"""What a served bundle may hold."""

_LOG = logging.getLogger(__name__)
_ASKED = {"click", "conversion", ListingModel.name}
"""Models that are asked while a request waits."""

_WARM_ROUNDS = 3


def load_engine(
    bundle: Bundle, plan: Plan, *, open_view: OpenView, now_us: Callable[[], int] = lambda: time.time_ns() // 1000
) -> AnyEngine:
    """A warm engine. Takes about a second; never to be called where requests wait.

    Args:
        bundle: from `ml.promotion.bundle.read_bundle`: the very bytes that were verified.
        plan: that its bids follow.
        open_view: opens online features, such as `ml.features.online_place.direct_reader` of a market.
        now_us: the present instant, microseconds since 1970, UTC.

    Raises:
        CorruptArtefact: a model is not of its form, does not repeat its golden predictions, or none is there that an engine serves.
    """
    models = load_models(bundle, types=TYPES)
    made = next((make for name, make in ENGINES.items() if name in models), None)
    if made is None:
        raise CorruptArtefact(
            f"the bundle {bundle.digest[:12]} holds no model that bids are made with",
            left="nothing of it is served",
            next=f"train a version that holds one of {', '.join(ENGINES)}",
        )
    for name in _ASKED & {*models}:
        _walk_faster(models[name], bundle.artefacts[GOLDEN])
    engine = made(bundle.digest, models, plan, open_view=open_view, now_us=now_us)
    _try(engine)
    return engine


def engine_of(platform: Platform, bundle: Bundle, plan: Plan) -> AnyEngine:
    """As `load_engine`, with the platform's own online features and clock."""
    from ml.features.online_place import direct_reader

    home, market = platform.settings.home, platform.market
    return load_engine(
        bundle,
        plan,
        open_view=lambda view, columns: direct_reader(home, market, view, columns),
        now_us=lambda: int(platform.clock.now().timestamp() * 1_000_000),
    )


def _walk_faster(model: BidModel, golden: bytes) -> None:
    """Walk its trees faster, unless that changes a bit of what it says of its golden rows."""
    rows = golden_rows(golden, model.name)
    before = model.predict(rows)
    for forest in model.forests():
        forest.walk_with(fastest(forest))
    if not model.predict(rows).equals(before):
        _LOG.warning("LightGBM itself serves %s, which is slower: its golden rows come out otherwise", model.name)
        for forest in model.forests():
            forest.walk_with(forest.own_margin)


def _try(engine: AnyEngine) -> None:
    """Ask it what any server could be asked, so that the first request finds everything in memory."""
    one = Candidate("-", hotel_id="-", check_in=date(2026, 1, 2), price_micros=1, value_micros=1)
    asked = [BidRequest("-", [one, Candidate("--")], User()), BidRequest("--", [one])]
    for _ in range(_WARM_ROUNDS):
        features = engine.look_up(asked)
        engine.decide(asked, features, at_us=int(np.datetime64("2026-01-01", "us").astype(np.int64)), pacing=1.0)
