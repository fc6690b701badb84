"""The parent of the workers with workers of a stub engine, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.serving.service.conftest import TOKEN, body, until
from tests.serving.service.stubs import A

ROOT = Path(__file__).parents[3]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}

PARENT = """
import os
import resource
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import json
resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, os.environ["STUB_FILES"].split())))
from ml.serving.workers import Patience, Workers, listen
import logging
logging.basicConfig(level=logging.INFO)
if len(sys.argv) > 6:
    from time import monotonic
    from ml.serving import workers
    workers._waited = lambda pid: monotonic()
listener = listen("127.0.0.1", 0)
port = listener.getsockname()[1]
def changed(state):
    print(json.dumps({"port": port, "pids": state.pids, "up": state.up, "ready": state.ready}), flush=True)
Workers(
    listener, count=int(sys.argv[3]), home=Path(sys.argv[2]), changed=changed,
    command=[sys.executable, sys.argv[1] + "/tests/serving/service/stub_worker.py"],
    patience=Patience(hung_s=float(sys.argv[4]), ready_s=float(sys.argv[5])),
).run()
"""


class Service:
    """A parent with its workers, in processes of their own."""

    def __init__(
        self, home: Path, *, workers: int, hung_s: float, slow_s: float, ready_s: float, starved: bool, files: str
    ) -> None:
        self.home = home
        self.champion(1, A)
        environment = os.environ | {
            "BIDWRIGHT_SERVE_TOKEN": TOKEN,
            "BIDWRIGHT_SERVE_POLL_SECONDS": "0.02",
            "BIDWRIGHT_SERVE_DEADLINE_MS": "30000",
            "STUB_SLOW_S": str(slow_s),
            "STUB_FILES": files,
        }
        self.log = home / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", PARENT, str(ROOT), str(home), str(workers), str(hung_s), str(ready_s)),
                    *(["starved"] if starved else []),
                ],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.states: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.ready()
        self.url = f"http://127.0.0.1:{self.states[-1]['port']}"

    def _read(self) -> None:
        assert self.process.stdout
        self.states.extend(json.loads(line) for line in self.process.stdout)

    def champion(self, generation: int, digest: str) -> None:
        new = self.home / "new.json"
        new.write_text(json.dumps({"generation": generation, "digest": digest}))
        new.replace(self.home / "champion.json")

    def ready(self, *, without: int = 0) -> list[int]:
        """The workers' processes, once all of them can bid."""

        def pids() -> list[int]:
            assert self.process.poll() is None, self.log.read_text()
            last = self.states[-1] if self.states else {}
            return last["pids"] if last.get("ready") and without not in last["pids"] else []

        return until(pids)

    def up(self, *, without: int) -> list[int]:
        """The workers' processes, once all of them have spoken and one is gone."""

        def pids() -> list[int]:
            last = self.states[-1]
            return last["pids"] if last["up"] and without not in last["pids"] else []

        return until(pids)

    def ask(self) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/bids", json=body("x"), headers=HEADERS, timeout=20)

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", headers=HEADERS, timeout=20).text

    def close(self) -> None:
        children = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        self.process.terminate()
        self.process.wait(30)
        for child in children:
            child.wait(30)
        self._reader.join(30)
        assert self.process.stdout
        self.process.stdout.close()
