"""The calls about webhooks, as generators of steps like all others (`calls.py`), and what they answer."""

from typing import Any

from pydantic import AwareDatetime, Field

from longrun.models import Value
from longrun.service import Service, encoded, segment
from longrun.steps import Items, Steps, paged
from longrun.uploads import JSON


class SigningSecret(Value):
    """That there is a secret, not the secret itself; it signs until `signs_until`, or until it is rotated."""

    created_at: AwareDatetime
    signs_until: AwareDatetime | None = None


class Endpoint(Value):
    """Where the caller is told of every job; `url` is `None` where nowhere.

    `secret` is there only in the answer that made it. `failing_since`: nothing but failures from then on.
    """

    url: str | None = None
    enabled: bool = False
    created_at: AwareDatetime | None = None
    disabled_at: AwareDatetime | None = None
    disabled_reason: str | None = None
    failing_since: AwareDatetime | None = None
    secrets: tuple[SigningSecret, ...] = ()
    secret: str | None = Field(default=None, repr=False)


class Try(Value):
    """One call of the receiver, which took `seconds`: the status of its answer, or the error in place of one.

    `answer` is the answer's first 1,024 bytes.
    """

    at: AwareDatetime
    url: str
    seconds: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None


class Delivery(Value):
    """One message for one receiver. `id` is its `webhook-id`; `status` is `pending`, `delivered` or `exhausted`.

    `to` is `endpoint`, or `callback` with its `url`. `reason` says why it is exhausted. `tries` are the latest of the
    `tried`.
    """

    id: str
    job: str
    type: str
    to: str
    url: str | None = None
    status: str
    reason: str | None = None
    created_at: AwareDatetime
    next_try_at: AwareDatetime | None = None
    tried: int = 0
    tries: tuple[Try, ...] = ()


class DeliveryPage(Value):
    """Some deliveries; `next_cursor` asks for the ones after them and is `None` at the end."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None = None


class WebhookCalls:
    """The calls about webhooks; `Calls` has them too."""

    __slots__ = ()
    service: Service

    def webhook(self) -> Steps[Endpoint]:
        """The caller's endpoint, which is told of every job's end."""
        return (yield from self.service.ask(self.service.request("GET", "/webhook"))).parse(Endpoint)

    def set_webhook(self, url: str) -> Steps[Endpoint]:
        """Tell `url` of every job's end from now on; one that was disabled is enabled.

        The answer has a `secret` if there was none: keep it, it is not shown again. Raises InvalidRequest for an
        address that the service will not call.
        """
        return self._change("PUT", "/webhook", {"url": url})

    def remove_webhook(self) -> Steps[None]:
        """Tell nobody. The secret stays: it signs what goes to the callback addresses of jobs."""
        return self.service.delete("/webhook")

    def rotate_webhook_secret(self, overlap_seconds: int | None = None) -> Steps[Endpoint]:
        """Make a new secret (or the first) and return it, as it is not shown again.

        The old one signs as well for `overlap_seconds` (a day unless said, a week at most, 0 to end it at once).
        Raises InvalidRequest, and Conflict when too many secrets sign already.
        """
        return self._change(
            "POST", "/webhook/rotate", {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
        )

    def deliveries(self, job_id: str) -> Steps[tuple[Delivery, ...]]:
        """The job's webhooks, the oldest first, with each of their tries. Raises NotFound."""
        request = self.service.request("GET", f"/jobs/{segment('job', job_id)}/deliveries")
        return (yield from self.service.ask(request)).parse(DeliveryPage).deliveries

    def undelivered(self, *, page_size: int = 100) -> Items[Delivery]:
        """Every webhook that was given up, the latest first, asked for page by page as the iteration goes on."""
        return paged(lambda cursor: self._undelivered(page_size, cursor), lambda page: page.deliveries)

    def redeliver(self, job_id: str, delivery_id: str) -> Steps[Delivery]:
        """Have a webhook tried again from the start, whatever became of it, with the same id and body.

        Raises NotFound, and Conflict while it is being tried.
        """
        path = f"/jobs/{segment('job', job_id)}/deliveries/{segment('delivery', delivery_id)}/redeliver"
        # Asked twice, the receiver may be told twice, as it may be anyway.
        request = self.service.request("POST", path, harmless_twice=True)
        return (yield from self.service.ask(request)).parse(Delivery)

    def _undelivered(self, limit: int, cursor: str | None) -> Steps[DeliveryPage]:
        request = self.service.request("GET", "/webhook/undelivered", params={"limit": limit, "cursor": cursor})
        return (yield from self.service.ask(request)).parse(DeliveryPage)

    def _change(self, method: str, path: str, body: dict[str, Any]) -> Steps[Endpoint]:
        # Rotated twice, a secret that nobody has seen signs along until it ends with the old one.
        request = self.service.request(
            method, path, headers=JSON, content=encoded(body, "the request"), harmless_twice=True
        )
        return (yield from self.service.ask(request)).parse(Endpoint)
