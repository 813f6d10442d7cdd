"""Entry point: runs the jobs that the queue's messages name."""

import tasks  # noqa: F401  # registers them
from common import wiring
from common.restored import reseed_when_restored
from common.tasks import REGISTRY
from functions.worker.batches import make_handler
from functions.worker.runner import Runner

reseed_when_restored()
services = wiring.from_environment()
handler = make_handler(services, Runner(services, REGISTRY))
