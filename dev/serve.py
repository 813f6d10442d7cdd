"""The API's own process: it loads while the stack comes up, and serves once it is told where the stack is.

It is started by `dev.run`, which writes the settings as one line of JSON to its standard input and keeps that open:
the end of it says that the starter is gone, however that ended.
"""

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
    threading.Thread(target=stop_with_the_starter, daemon=True).start()
    sys.path.insert(0, os.getcwd())
    uvicorn.run(
        "functions.api.app:app",
        fd=listener,
        timeout_graceful_shutdown=grace,
        access_log=False,  # the application writes its own
        use_colors=False,
        server_header=False,
        lifespan="off",  # as in Lambda
    )


def stop_with_the_starter() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
