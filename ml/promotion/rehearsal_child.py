"""The child of `ml.promotion.rehearsal`: loads a bundle under limits, scores the rows it was sent, tells the processor time of single ones."""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any

from ml.promotion.bundle import load_models
from ml.promotion.child import limit, receive


def main() -> int:
    """Print one line of JSON: `fault` (null or what is wrong), `said` (base64 of float64 by model and output), `times_ms`."""
    size = int.from_bytes(sys.stdin.buffer.read(8), "big")
    question = json.loads(sys.stdin.buffer.read(size))
    bundle = receive(sys.stdin.buffer)
    import ml.models.golden  # noqa: F401  (imported before the limits, which are for the bundle)

    limit()
    try:
        answer: dict[str, Any] = {"fault": None, **_serve(load_models(bundle), question)}
    except Exception as error:  # noqa: BLE001  (whatever is raised is the bundle's fault)
        answer = {"fault": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()
    return 0


def _serve(models: Any, question: dict[str, Any]) -> dict[str, Any]:
    from ml.models.golden import read_rows

    said: dict[str, dict[str, str]] = {}
    times: list[float] = []
    asked = {name: read_rows(rows) for name, rows in question["rows"].items()}
    for name, rows in asked.items():
        found = models[name].predict(rows)
        said[name] = {
            output: base64.b64encode(found[output].to_numpy(dtype="<f8").tobytes()).decode()
            for output in models[name].outputs
        }
    # What a request asks of a search: the last of the models named, one row at a time.
    name, rows = next(((n, r) for n, r in asked.items() if n == "conversion"), next(iter(asked.items())))
    for number in range(min(int(question["timed"]), len(rows))):
        one = rows.iloc[number : number + 1]
        started = time.process_time()
        models[name].predict(one)
        times.append((time.process_time() - started) * 1000)
    return {"said": said, "times_ms": times}


if __name__ == "__main__":
    sys.exit(main())
