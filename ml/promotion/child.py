"""The child of `ml.promotion.sandbox`: reads a bundle from standard input, parses it under limits, answers."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from typing import IO

from ml.core.digests import Digest
from ml.promotion.bundle import Bundle, ModelType, load_models

MEMORY_BYTES = 4 << 30
CPU_S = 100


def main(types: Mapping[str, ModelType] | None = None) -> int:
    """Load the models; print one line `{"fault": null}` or `{"fault": "what is wrong"}`. 0 when it could judge."""
    bundle = receive(sys.stdin.buffer)
    import ml.models.golden  # noqa: F401  (imported before the limits, which are for the bundle)

    limit()
    try:
        load_models(bundle, types=types)
        fault = None
    except Exception as error:  # noqa: BLE001  (whatever the parser raises is the bundle's fault)
        fault = f"{type(error).__name__}: {error}"
    sys.stdout.write("\n" + json.dumps({"fault": fault}) + "\n")
    sys.stdout.flush()
    return 0


def receive(stream: IO[bytes]) -> Bundle:
    """The bundle, as `ml.promotion.sandbox` packs it; its bytes were verified there."""
    head = json.loads(stream.readline())
    artefacts = {}
    for name, size in head["files"]:
        artefacts[name] = stream.read(size)
        if len(artefacts[name]) != size:
            raise EOFError(f"{name} ended after {len(artefacts[name])} of {size} bytes")
    return Bundle(Digest(head["digest"]), artefacts, head["meta"])


def limit() -> None:
    """No more memory, processor time or files than a sound bundle needs, and no core dump."""
    for what, wanted in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        lower = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (lower, lower))


if __name__ == "__main__":
    sys.exit(main())
