"""Ray Serve: one replica behind its own proxy."""

import shutil
import signal
import sys
import tempfile
import threading

import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=64)
class Scorer:
    """The peer."""

    def __init__(self):
        import scorer

        self.score = scorer.score

    async def __call__(self, request):
        """Score the ids of the body."""
        return self.score((await request.json())["ids"]).tolist()


if __name__ == "__main__":
    folder = tempfile.mkdtemp(prefix="ray")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        serve.start(
            http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"enable_access_log": False}
        )
        serve.run(Scorer.options(logging_config={"enable_access_log": False}).bind())
        stop.wait()
        ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
