"""`make run`: the API on http://localhost:8000, its queue and functions behind it, all of it reloaded on save."""

import argparse
import contextlib
import os
import sys
import threading
import urllib.request
from pathlib import Path

import watchfiles

from dev import interruptible
from dev.api import Api, loaded
from dev.emulator import EmulatorFailed, listen
from dev.kept import BROKEN, HomeInUse, KeptStack, open_stack
from dev.logs import Stream
from dev.package import ROOT, SOURCES
from dev.stack import TEMPLATE


def reload_on_save(kept: KeptStack, api: Api, stream: Stream) -> None:
    """Until the emulator is gone: give the functions and the API each change of their files."""
    watched = [*(ROOT / folder for folder in SOURCES), TEMPLATE]
    for changes in watchfiles.watch(*watched, rust_timeout=1000, yield_on_timeout=True, raise_interrupt=True):
        if not kept.emulator.alive():
            raise EmulatorFailed("The emulator stopped by itself.")
        if changes:
            stream.say(f"{named(changes)} changed: reloading")
            reload(kept, api, stream)
            announce(f"Reloaded after {named(changes)}.", api, stream)


def reload(kept: KeptStack, api: Api, stream: Stream) -> None:
    """First the API stops, so that no job is given to a worker that is about to be replaced; its callers wait."""
    api.stop()
    api.load()
    api.prepare(kept.stack.settings())
    try:
        kept.refresh()
        kept.warm_up()
    except Exception as error:  # noqa: BLE001  # whatever a half-edited template can lead to
        stream.say(f"The functions and the template stay as they were: {error}", "red")
    api.prepare(kept.stack.settings())
    api.serve()


def named(changes: set[watchfiles.main.FileChange]) -> str:
    """Up to three of the files, without those that an editor made for a moment."""
    paths = sorted({Path(path) for _, path in changes}, key=lambda path: (not path.exists(), path))
    names = [str(path.relative_to(ROOT)) for path in paths if path.exists() or path is paths[0]]
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def announce(message: str, api: Api, stream: Stream) -> None:
    """Say so once the API answers; if it never does, its own traceback says why."""

    def wait() -> None:
        url = f"http://127.0.0.1:{api.port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30):
            stream.say(message, "bold green")

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--home", type=Path, default=ROOT / ".longrun", help="where jobs are kept between runs")
    parser.add_argument("--fresh", action="store_true", help="forget the jobs of earlier runs")
    options = parser.parse_args()
    os.environ["LONGRUN_PUBLIC_URL"] = f"http://localhost:{options.port}"  # where links in webhooks lead
    interruptible()
    stream = Stream()
    try:
        listener = listen(options.port)
    except OSError as error:
        stream.say(f"Port {options.port} is taken ({error.strerror}). Take another one: make run PORT=8001", "red")
        return 1
    try:
        with (
            listener,
            loaded(Api(listener, stream.api)) as api,
            open_stack(
                options.home, fresh=options.fresh, on_line=stream.emulator, say=stream.say, expect=api.prepare
            ) as kept,
        ):
            api.prepare(kept.stack.settings())
            api.serve()
            announce(f"Ready on http://localhost:{options.port} (try /docs). Ctrl-C stops it.", api, stream)
            reload_on_save(kept, api, stream)
    except KeyboardInterrupt:
        stream.say("Stopped.")
    except (HomeInUse, *BROKEN) as error:
        stream.say(str(error), "red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
