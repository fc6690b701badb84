"""All that is known of one version: what it is, how it was judged, and when it was live."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ml.core.digests import Digest
from ml.core.errors import BidwrightError
from ml.evaluation.worth import money_of
from ml.ledger import champion, decisions, training_sets, versions
from ml.promotion.bundle import read_manifest
from ml.promotion.evidence import to_json

if TYPE_CHECKING:
    from ml.lake.blobs import BlobStore
    from ml.ledger.database import Database
    from ml.promotion.keyring import Keyring


def explain(db: Database, blobs: BlobStore, market: str, prefix: str, *, keys: Keyring) -> dict[str, Any]:
    """Everything about the version whose digest begins with `prefix`, as JSON.

    Returns:
        `digest`, `market`, `version` (what the ledger registered: day, data digest, last day it was trained
        on, metrics, MLflow run), `bundle` (files and meta of the manifest and whose signature it has, or `error` when
        it is refused),
        `training_sets` (per model: digest and number of its rows, the instant before which they were known, and the
        queries that made them; empty for versions from before they were kept),
        `money` (what errors of worth cost, per model and baseline: `ml.evaluation.worth.money_of`; empty for versions
        from before it was measured),
        `decisions` (oldest first, each with its gates and their numbers), and `champion` (one entry per
        promotion: `from` a day, `until` the day from which another was live, exclusive and None while it
        is, `generation`, `decision_id`, `moved_at`).

    Raises:
        UsageError: no version of the market has the prefix, or several have.
    """
    version = versions.find(db, market, prefix)
    known = to_json(version)
    return {
        "digest": version.digest,
        "market": market,
        "version": {name: value for name, value in known.items() if name not in {"digest", "market"}},
        "bundle": _bundle(blobs, version.digest, keys),
        "decisions": [to_json(decision) for decision in decisions.for_version(db, market, version.digest)],
        "champion": _reigns(db, market, version.digest),
        "training_sets": [to_json(found) for found in training_sets.of_version(db, market, version.digest)],
        "money": money_of(version.metrics),
    }


def _bundle(blobs: BlobStore, digest: Digest, keys: Keyring) -> dict[str, Any]:
    """The manifest; a bundle that is refused is a finding here, not a failure."""
    try:
        manifest, signed_by = read_manifest(blobs, digest, keys)
    except BidwrightError as error:
        return {"error": str(error)}
    return {
        "format_version": manifest.format_version,
        "signed_by": signed_by,
        "files": to_json(manifest.files),
        "meta": to_json(manifest.meta),
    }


def _reigns(db: Database, market: str, digest: Digest) -> list[dict[str, Any]]:
    history = champion.history(db, market)
    return [
        {
            "from": to_json(reign.since),
            "until": to_json(after.since) if after else None,
            "generation": reign.generation,
            "decision_id": reign.decision_id,
            "moved_at": to_json(reign.moved_at),
        }
        for reign, after in zip_longest(history, history[1:])
        if reign.digest == digest
    ]
