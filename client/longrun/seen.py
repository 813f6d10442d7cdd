"""What has been seen of a job's log: the one place that decides which events are given."""

from typing import Any, TypeVar

from pydantic import ValidationError

from longrun.errors import InvalidInput, UnexpectedAnswer
from longrun.models import Event, Value
from longrun.service import Service, segment

V = TypeVar("V", bound=Value)


class Log:
    """One job's log, as far as it has been read: up to the event with the number `seen`."""

    def __init__(self, service: Service, job_id: str, after: int, *, progress: bool) -> None:
        if after < 0:
            raise InvalidInput(f"events are numbered from 1; none comes after number {after}")
        self.service, self.job_id, self.seen = service, job_id, after
        self.path = f"/jobs/{segment('job', job_id)}/events"
        self._progress = progress
        self._shown: Event | None = None

    def is_new(self, event: Event) -> bool:
        """Whether to give it; from then on it has been seen."""
        if event.seq is None:
            wanted = self._progress and event != self._shown
            self._shown = event
            return wanted
        if event.seq <= self.seen:
            return False
        self.seen = event.seq
        return True

    def parse(self, kind: type[V], value: str | dict[str, Any]) -> V:
        """A piece of JSON as what it should be. Raises UnexpectedAnswer."""
        try:
            return kind.model_validate_json(value) if isinstance(value, str) else kind.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise UnexpectedAnswer(f"GET {self.path}", first["msg"]) from error
