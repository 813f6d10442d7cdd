"""Entry point: the HTTP API."""

from mangum import Mangum

from common import wiring
from common.restored import reseed_when_restored
from functions.api.application import create_app

reseed_when_restored()
app = create_app(wiring.from_environment())
# With lifespan it would start and stop the application at every request.
handler = Mangum(app, lifespan="off")
