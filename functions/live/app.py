"""Entry point: the WebSocket API. What is said on a connection comes here; what happens in jobs, the notifier pushes."""

from common import wiring
from functions.live.handling import make_handler

services = wiring.from_environment()
services.sockets.open()  # while the function starts, it has more of a processor than it was given
handler = make_handler(services)
