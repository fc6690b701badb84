"""docker-compose.yml as the tests read it: merged by YAML, places left as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
TEXT = FILE.read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(:[-?][^}]*)?\}")
OURS = ("bidwright/",)


def places(text: str) -> dict[str, str]:
    """Every `${NAME...}` of a text: the name, and what follows it (`:-default`, `:?message`, or nothing)."""
    return dict(PLACE.findall(text))


def default(text: str) -> str:
    """A text with every place replaced by its default."""
    return PLACE.sub(lambda found: (found[2] or "")[2:], text)


def environment(service: str) -> dict[str, str]:
    """The environment of a service."""
    return {str(name): str(value) for name, value in (SERVICES[service].get("environment") or {}).items()}
