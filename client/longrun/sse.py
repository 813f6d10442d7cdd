"""Server-Sent Events, as the HTML standard has them: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Only these end a line; `splitlines` and httpx's `iter_lines` also take characters that an event's text may have.
_END_OF_LINE = re.compile(r"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream. `kind` is `message` unless it has a name; `id` is the last that was given so far."""

    data: str
    kind: str = "message"
    id: str | None = None


@dataclass(slots=True)
class Frames:
    """Makes frames of the pieces of a stream, wherever it was cut into them. `retry` is in seconds, if it was said."""

    retry: float | None = None
    _decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8-sig"))
    _rest: str = ""
    _data: list[str] = field(default_factory=list)
    _kind: str = ""
    _id: str | None = None

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """The frames that are complete now."""
        text = self._rest + self._decoder.decode(piece)
        begin = 0
        for end in _END_OF_LINE.finditer(text):
            line, begin = text[begin : end.start()], end.end()
            if line:
                self._take(line)
            elif (frame := self._complete()) is not None:
                yield frame
        self._rest = text[begin:]

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value) / 1000

    def _complete(self) -> Frame | None:
        data, kind = self._data, self._kind
        self._data, self._kind = [], ""
        return Frame("\n".join(data), kind or "message", self._id) if data else None
