"""One worker of the bid service, as `ml.serving.workers` starts it."""

from ml.serving.wiring import parts
from ml.serving.worker import main

if __name__ == "__main__":
    main(parts)
