"""The API's own process: it loads while the stack comes up, and serves once it is told to.

It is started by `dev.api`, which writes two lines to its standard input: the settings, as JSON, when they are known, and an
empty one when it shall serve. Then that is kept open: its end says that the starter is gone, however that ended.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import threading

import uvicorn

#: Slow to import, and the same whatever the settings say.
PACKAGES = ("aws_lambda_powertools", "boto3", "fastapi", "mangum", "pydantic")


def main(listener: int, grace: int) -> None:
    for package in PACKAGES:
        importlib.import_module(package)
    settings = sys.stdin.readline()
    if not settings:
        return
    os.environ.update(json.loads(settings))
    sys.path.insert(0, os.getcwd())
    app = importlib.import_module("functions.api.app").app
    if not sys.stdin.readline():
        return
    threading.Thread(target=stop_with_the_starter, daemon=True).start()
    config = uvicorn.Config(
        app,
        fd=listener,
        timeout_graceful_shutdown=grace,
        access_log=False,  # the application writes its own
        use_colors=False,
        server_header=False,
        lifespan="off",  # as in Lambda
    )
    server = uvicorn.Server(config)
    app.state.is_stopping = lambda: server.should_exit  # streams would go on until they are killed
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def stop_with_the_starter() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
