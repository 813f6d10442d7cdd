"""Every event of `events/` is accepted by its built function, in Lambda's own runtime (`sam local invoke`).

Where there is no Docker, or not Lambda's image, these are skipped; `dev/sam-local-image.sh` makes both.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dev.emulator import REGION, ROOT_KEY, ROOT_SECRET
from tests.aws import ROOT
from tests.e2e.deployment import ARCHITECTURE, RUNTIME, Deployment, parameters, sam

IMAGE = f"public.ecr.aws/lambda/python:{RUNTIME.removeprefix('python')}-{ARCHITECTURE}"
EVENTS = sorted(path.stem for path in ROOT.glob("events/*.json"))
FUNCTIONS = {"api": "ApiFunction", "deadletters": "DeadLettersFunction", "live": "LiveFunction"}

#: Seconds that an invocation may take, with the image that the first one makes.
LIMIT = 500

pytestmark = pytest.mark.timeout(LIMIT + 100)


def docker(*arguments: str) -> str | None:
    """What it says; None if it is not there or fails."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@pytest.fixture(scope="module")
def bridge() -> str:
    """The host's address as containers see it."""
    if docker("info") is None:
        pytest.skip("no Docker on this machine (dev/sam-local-image.sh installs it)")
    if docker("image", "inspect", IMAGE) is None:
        pytest.skip(f"no image {IMAGE} on this machine (docker pull it, or dev/sam-local-image.sh)")
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    return gateway or "172.17.0.1"


@pytest.fixture(scope="module")
def endpoint(bridge: str, deployment: Deployment) -> Iterator[str]:
    """Where containers reach the emulator, which listens on the loopback interface alone."""
    loop, addresses = asyncio.new_event_loop(), []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_connection("127.0.0.1", deployment.emulator.port)
        await asyncio.gather(pass_on(reader, outward), pass_on(inward, writer))

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    server = loop.run_until_complete(asyncio.start_server(relay, bridge, 0))
    addresses += [socket.getsockname()[1] for socket in server.sockets]
    threading.Thread(target=loop.run_forever, daemon=True).start()
    yield f"http://{bridge}:{addresses[0]}"
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture(scope="module")
def template(built: Path, endpoint: str) -> Path:
    """The built one, whose functions are told where the emulator is."""
    path, place = built.with_name("local.yaml"), f"AWS_ENDPOINT_URL: {endpoint}"
    text = built.read_text()
    assert text.count("TABLE_NAME:") == 1
    path.write_text(text.replace("TABLE_NAME:", f"{place}\n        TABLE_NAME:"))
    return path


@pytest.fixture(scope="module")
def variables(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The functions' settings as they were deployed: SAM knows but the names of the template."""
    client, found = deployment.emulator.client("lambda"), {}
    for logical, name in deployment.functions.items():
        found[logical] = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    path = tmp_path_factory.mktemp("variables") / "variables.json"
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_accepted_by_its_function(event: str, template: Path, variables: Path) -> None:
    name = event.partition("-")[0]
    function = FUNCTIONS.get(name, f"{name.capitalize()}Function")
    said = sam(
        *("local", LIMIT, "invoke", function, "--template", template, "--event", ROOT / "events" / f"{event}.json"),
        *("--env-vars", variables, "--skip-pull-image", "--region", REGION, *parameters()),
        AWS_ACCESS_KEY_ID=ROOT_KEY,
        AWS_SECRET_ACCESS_KEY=ROOT_SECRET,
    )
    answer = answer_in(said)
    assert "errorMessage" not in answer, said
    assert answer.get("batchItemFailures", []) == [], said


def answer_in(said: str) -> dict[str, Any]:
    """The last line that is JSON: the function's answer, after its log lines."""
    for line in reversed(said.splitlines()):
        with suppress(ValueError):
            found = json.loads(line)
            return found if isinstance(found, dict) else {}
    return {}
