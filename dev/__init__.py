"""The local stack: all that Longrun is on AWS, on a laptop, with no account."""

import signal
from types import FrameType

#: In the emulator's output, stands around the name of a function in front of each line that it logged.
MARK = "\x1e"


def interruptible() -> None:
    """Make SIGTERM end this program as Ctrl-C does; and Ctrl-C also where a script started it in the background."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
