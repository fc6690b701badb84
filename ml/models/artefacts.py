"""Reading artefacts by name: what is missing or is not JSON is a corrupt version, said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ml.core.errors import CorruptArtefact


def read_text(artefacts: Mapping[str, bytes], name: str) -> str:
    """An artefact as text."""
    if name not in artefacts:
        raise CorruptArtefact(f"the version has no {name}", left="nothing was loaded", next="train the version again")
    try:
        return artefacts[name].decode()
    except UnicodeDecodeError as error:
        raise CorruptArtefact(
            f"{name} is not text", left="nothing was loaded", next="train the version again"
        ) from error


def read_object(artefacts: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """An artefact as a JSON object."""
    try:
        value = json.loads(read_text(artefacts, name))
    except ValueError as error:
        raise CorruptArtefact(
            f"{name} is not JSON", left="nothing was loaded", next="train the version again"
        ) from error
    if not isinstance(value, dict):
        raise CorruptArtefact(f"{name} is not a JSON object", left="nothing was loaded", next="train the version again")
    return value
