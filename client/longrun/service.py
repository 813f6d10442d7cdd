"""One service at one address: how a request to it is made, repeated, and its answer understood."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from longrun.errors import ApiProblem, InvalidInput, TransferFailed, UnexpectedAnswer, Unreachable, problem_class
from longrun.models import Problem, Value
from longrun.retries import Retries, leaves_doubt, retry_after
from longrun.steps import Send, Steps, send

V = TypeVar("V", bound=Value)

AGENT = f"longrun-client/{version('longrun')} python/{platform.python_version()}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The last response to a request."""

    response: httpx.Response
    request: Send
    #: Whether an earlier try may have got through although its answer was lost.
    may_be_second: bool

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def retry_after(self) -> float | None:
        """The seconds that it asks to wait, if it does."""
        return retry_after(self.response)

    def parse(self, kind: type[V]) -> V:
        """The body as a value of this kind. Raises UnexpectedAnswer when it is not one."""
        try:
            return kind.model_validate_json(self.response.content)
        except ValidationError as error:
            raise UnexpectedAnswer(str(self.request), _first_line(error)) from error

    def problem(self) -> ApiProblem:
        """The error that it stands for, also when a gateway before the service wrote it and its body says nothing."""
        status = {"status": self.status}
        try:
            problem = Problem.model_validate({"title": self.response.reason_phrase} | self.response.json() | status)
        except (ValueError, TypeError):
            problem = Problem(title=self.response.reason_phrase, **status)
        return problem_class(self.status)(problem, str(self.request), self.retry_after)


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is, who we are to it, and how patient we are with it."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url(self.url))
        object.__setattr__(self, "api_key", checked_key(self.api_key))

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        hold: float = 0,
        harmless_twice: bool = False,
    ) -> Send:
        """A request to the service itself, with our key; parameters that are `None` are left out."""
        ours = {"Accept": "application/json", "User-Agent": AGENT}
        if self.api_key:
            ours["Authorization"] = f"Bearer {self.api_key}"
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return Send(method, self.url + path, given, ours | dict(headers or {}), content, hold, harmless_twice)

    def ask(self, request: Send, *, also: tuple[int, ...] = ()) -> Steps[Answer]:
        """The service's answer, which is a success or one of the statuses in `also`. Raises ApiProblem, Unreachable."""
        answer = yield from self.try_(request)
        if answer.response.is_success or answer.status in also:
            return answer
        if answer.response.is_redirect:
            raise UnexpectedAnswer(
                str(request), f"it redirects to {answer.response.headers.get('Location', 'nowhere')}"
            )
        raise answer.problem()

    def delete(self, path: str) -> Steps[None]:
        """Have what is at this path forgotten. Raises NotFound."""
        answer = yield from self.ask(self.request("DELETE", path), also=(404,))
        # After a lost answer, a 404 means that the try before had worked.
        if answer.status == 404 and not answer.may_be_second:
            raise answer.problem()

    def transfer(self, what: str, request: Send) -> Steps[httpx.Response]:
        """The answer of the storage behind a signed link. Raises TransferFailed, Unreachable."""
        answer = yield from self.try_(request)
        if not answer.response.is_success:
            raise TransferFailed(what, answer.status)
        return answer.response

    def try_(self, request: Send) -> Steps[Answer]:
        """Whatever is answered, after as many tries as it takes and is allowed. Raises Unreachable."""
        tried, may_have_arrived = 0, False
        while True:
            outcome = yield from send(request)
            tried += 1
            pause = self.retries.decide(request, outcome, tried)
            if pause is not None:
                may_have_arrived |= leaves_doubt(outcome)
                yield pause
            elif isinstance(outcome, httpx.Response):
                return Answer(outcome, request, may_have_arrived)
            else:
                where = httpx.URL(request.url)
                raise Unreachable(f"{where.scheme}://{where.netloc.decode()}", tried, _reason(outcome)) from outcome


def checked_url(url: str) -> str:
    """The address without a closing slash. Raises InvalidInput when it is none."""
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidInput(f"not an address: {url!r} ({error})") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInput(f"not an address: {url!r} (it must look like https://host)")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise InvalidInput("the address must be without user name, query or fragment; a key goes into api_key")
    return str(parsed).rstrip("/")


def checked_key(key: str | None) -> str | None:
    """The key without the white space that files and variables add. Raises InvalidInput, which does not show it."""
    key = (key or "").strip()
    if not (key.isascii() and (key.isprintable() or not key)):
        raise InvalidInput("the API key has characters that no key has")
    return key or None


def segment(kind: str, identifier: str) -> str:
    """An id as one part of a path. Raises InvalidInput for one that would lead elsewhere."""
    if identifier in ("", ".", ".."):
        raise InvalidInput(f"not a {kind} id: {identifier!r}")
    return quote(identifier, safe="")


def encoded(value: object, what: str) -> bytes:
    """A value as JSON text; models, dataclasses, dates and the like become what JSON has. Raises InvalidInput."""
    try:
        text = json.dumps(value, default=to_jsonable_python, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError, PydanticSerializationError) as error:
        raise InvalidInput(f"{what} cannot be written as JSON: {error}") from error


def quoted(key: str) -> str:
    """The key as a structured header's string (RFC 9651). Raises InvalidInput for one that cannot be."""
    if not (key.isascii() and key.isprintable()):
        raise InvalidInput("an idempotency key is made of printable ASCII characters")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def decoded(answer: httpx.Response, request: str) -> Any:
    """A body's JSON value. Raises UnexpectedAnswer."""
    try:
        return json.loads(answer.content)
    except ValueError as error:
        raise UnexpectedAnswer(request, str(error)) from error


def _reason(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__


def _first_line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
