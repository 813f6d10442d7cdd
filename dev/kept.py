"""The stack between runs: kept in a folder and taken up again, or made afresh where it cannot be."""

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import IO

from botocore.exceptions import BotoCoreError, ClientError

from dev.emulator import REGION, Emulator, EmulatorFailed
from dev.package import archive, digest, source_digest
from dev.stack import NAME, TEMPLATE, Stack, StackFailed, local_parameters

Say = Callable[[str], object]

#: Seconds that a run which was killed a moment ago may need to save its state.
LOCK_LIMIT = 15

#: What shows that a kept stack is of no use.
BROKEN = (EmulatorFailed, StackFailed, BotoCoreError, ClientError, OSError, KeyError)


#: Seconds that a worker may take to load before it is not waited for.
WARM_UP_LIMIT = 10

#: A record of the queue, as Lambda would hand it over.
NOBODYS = {
    "messageId": "warm-up",
    "receiptHandle": "warm-up",
    "body": json.dumps({"job": "0" * 32}),
    "attributes": {"ApproximateReceiveCount": "1"},
    "messageAttributes": {},
    "eventSource": "aws:sqs",
    "eventSourceARN": f"arn:aws:sqs:{REGION}:000000000000:{NAME}",
    "awsRegion": REGION,
}


class HomeInUse(Exception):
    """Another run holds the folder."""


@dataclass
class Memory:
    """What is deployed, in `stack.json` beside the emulator's own files."""

    port: int = 0
    emulator: str = field(default_factory=lambda: version("ministack"))
    template: str = ""
    code: str = ""
    outputs: dict[str, str] = field(default_factory=dict)

    def write(self, home: Path) -> None:
        (home / "stack.json").write_text(json.dumps(asdict(self), indent=2))


class KeptStack:
    """A stack that remembers what was deployed to it."""

    def __init__(self, emulator: Emulator, memory: Memory) -> None:
        self.emulator = emulator
        self.memory = memory
        self.stack = Stack(emulator, memory.outputs)

    @property
    def is_new(self) -> bool:
        return not self.memory.outputs

    def refresh(self) -> None:
        """Deploy what changed since the last time."""
        template = digest(TEMPLATE.read_bytes(), json.dumps(local_parameters()).encode())
        code = source_digest()
        if (template, code) == (self.memory.template, self.memory.code):
            return
        if template != self.memory.template:
            self.stack.deploy(archive())
        else:
            self.stack.update_code(archive())
        self.memory.template, self.memory.code, self.memory.outputs = template, code, self.stack.outputs
        self.memory.write(self.emulator.home)

    # The next two speak HTTP by hand: boto3 would take half a second to load.

    def check(self) -> None:
        """Raises one of BROKEN unless the table is there."""
        body = json.dumps({"TableName": self.memory.outputs["TableName"]}).encode()
        target = {"X-Amz-Target": "DynamoDB_20120810.DescribeTable", "Content-Type": "application/x-amz-json-1.0"}
        self.emulator.call("/", body, target)

    def warm_up(self) -> None:
        """Have the worker loaded by the message of a job that there is not: the first real one finds it ready.

        A mistake in it is shown at once, too. It must not go on beside real jobs, which would make another one start.
        """
        functions = json.loads(self.emulator.call("/2015-03-31/functions/"))["Functions"]
        for name in (each["FunctionName"] for each in functions if "-WorkerFunction-" in each["FunctionName"]):
            event = json.dumps({"Records": [NOBODYS]}).encode()
            with contextlib.suppress(OSError):
                self.emulator.call(f"/2015-03-31/functions/{name}/invocations", event, timeout=WARM_UP_LIMIT)


@contextlib.contextmanager
def open_stack(
    home: Path,
    *,
    fresh: bool = False,
    on_line: Say,
    say: Say,
    expect: Callable[[dict[str, str]], object] = lambda settings: None,
) -> Iterator[KeptStack]:
    """The running stack; it is stopped at the end, and what it holds is saved.

    `expect` is told the API's settings as soon as they are likely, so that it can load while the emulator does.
    """
    home.mkdir(parents=True, exist_ok=True)
    with locked(home) as lock:
        memory = Memory() if fresh else recall(home, say)
        kept = None
        try:
            kept = bring_up(home, memory, lock, on_line, say, expect)
            yield kept
        finally:
            if kept is not None:
                kept.emulator.stop()


def bring_up(
    home: Path, memory: Memory, lock: IO[str], on_line: Say, say: Say, expect: Callable[[dict[str, str]], object]
) -> KeptStack:
    """Start the emulator and see to it that the stack is there and up to date."""
    is_kept = bool(memory.outputs)
    if not is_kept:
        forget(home)
    try:
        emulator = Emulator(home, port=memory.port, on_line=on_line)
    except OSError as error:
        say(f"The emulator's port {memory.port}, which the kept stack names, is taken ({error}): starting afresh.")
        return bring_up(home, Memory(), lock, on_line, say, expect)
    try:
        emulator.start(keep_open=lock)
        kept = KeptStack(emulator, replace(memory, port=emulator.port))
        if is_kept:
            expect(kept.stack.settings())
        emulator.wait_until_ready()
        if is_kept:
            kept.check()
        kept.refresh()
        kept.warm_up()
    except BROKEN as error:
        emulator.stop()
        if not is_kept:
            raise
        say(f"The kept stack cannot be used ({error}): starting afresh.")
        return bring_up(home, Memory(), lock, on_line, say, expect)
    except BaseException:  # Ctrl-C in the middle, say
        emulator.stop()
        raise
    return kept


def recall(home: Path, say: Say) -> Memory:
    """What the last run left; nothing, and a word about it, if that cannot be trusted."""
    if not (home / "stack.json").exists():
        return Memory()
    try:
        memory = Memory(**json.loads((home / "stack.json").read_text()))
    except (OSError, ValueError, TypeError):
        say("What the last run remembered cannot be read: starting afresh.")
        return Memory()
    if not (home / "saved").exists():
        say("The last run was killed before it could save its jobs: starting afresh.")
        return Memory()
    if memory.emulator != version("ministack"):
        say("The emulator was upgraded since the last run: starting afresh.")
        return Memory()
    return memory


def forget(home: Path) -> None:
    for entry in home.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != "lock":
            entry.unlink()


@contextlib.contextmanager
def locked(home: Path) -> Iterator[IO[str]]:
    """The folder for us alone. The emulator's process shares the lock, so it also waits for one that is still saving."""
    with (home / "lock").open("w") as lock:
        deadline = time.monotonic() + LOCK_LIMIT
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise HomeInUse(f"Another local stack is running from {home}.") from error
                time.sleep(0.1)
        yield lock
