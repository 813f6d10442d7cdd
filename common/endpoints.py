"""The owners' webhook endpoints and the secrets that sign for them: one item an owner.

A secret is made at its first use, shown once, and kept encrypted. While one is rotated the old one signs as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr

from common.errors import Conflict
from common.expressions import Update, from_item, to_item
from common.items import ms
from common.vault import Vault
from common.views import rfc3339
from common.webhooks import PATIENCE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Most secrets that sign side by side: the headers must stay small.
MOST_SECRETS = 4
#: How long the old secret signs beside a new one, unless it is said otherwise, in seconds; and the longest.
OVERLAP, MAX_OVERLAP = 86_400, 7 * 86_400
#: How often a change is tried when another one comes in between.
_TRIES = 5


@dataclass(frozen=True)
class Secret:
    """A secret as it is kept. `until` is when it stops to sign; None for the one that stays."""

    box: str = field(repr=False)
    created_at: float
    until: float | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where an owner is told of every job, if anywhere. `failing_since`: nothing but failures from then on."""

    owner: str
    url: str | None = None
    created_at: float | None = None
    disabled_at: float | None = None
    disabled_reason: str | None = None
    failing_since: float | None = None
    secrets: tuple[Secret, ...] = ()
    version: int = 0

    @property
    def is_enabled(self) -> bool:
        return self.url is not None and self.disabled_at is None

    def signing(self, now: float) -> list[Secret]:
        """The secrets that sign now, the newest first."""
        return [secret for secret in self.secrets if secret.until is None or secret.until > now]


class Endpoints:
    def __init__(self, client: DynamoDBClient, table: str, vault: Vault) -> None:
        self._client = client
        self._table = table
        self._vault = vault

    def get(self, owner: str) -> Endpoint:
        """The owner's; an empty one if there is none."""
        answer = self._client.get_item(TableName=self._table, Key=_key(owner), ConsistentRead=True)
        return _endpoint(owner, answer.get("Item"))

    def set_url(self, owner: str, url: str, now: float) -> tuple[Endpoint, str | None]:
        """Where to call from now on, enabled; and the new secret if there was none, which is not shown again."""
        secret: str | None = None

        def with_url(endpoint: Endpoint) -> Endpoint:
            nonlocal secret
            endpoint, secret = self._with_secret(endpoint, now)
            return replace(
                endpoint, url=url, created_at=now, disabled_at=None, disabled_reason=None, failing_since=None
            )

        return self._change(owner, with_url), secret

    def remove(self, owner: str) -> None:
        """No endpoint any more. The secret stays: it signs what goes to the jobs' own callback addresses."""
        self._change(owner, lambda found: Endpoint(owner, secrets=found.secrets))

    def rotate(self, owner: str, overlap: float, now: float) -> tuple[Endpoint, str]:
        """A new secret, which is not shown again; those before it sign for `overlap` seconds more. Raises Conflict."""
        made = ""

        def rotated(endpoint: Endpoint) -> Endpoint:
            nonlocal made
            made, box = self._vault.make(owner)
            until = now + overlap
            old = [replace(each, until=min(each.until or until, until)) for each in endpoint.signing(now) if overlap]
            if len(old) >= MOST_SECRETS:
                raise Conflict(
                    f"{MOST_SECRETS} secrets sign already; rotate with overlap_seconds 0 to end the old ones."
                )
            return replace(endpoint, secrets=(Secret(box, now), *old))

        return self._change(owner, rotated), made

    def open_secrets(self, endpoint: Endpoint, now: float) -> list[str]:
        """The `whsec_` secrets to sign with, the newest first; one is made if there is none yet."""
        if not endpoint.signing(now):
            endpoint = self._change(endpoint.owner, lambda found: self._with_secret(found, now)[0])
        return [self._vault.open(secret.box, endpoint.owner) for secret in endpoint.signing(now)]

    def note(self, endpoint: Endpoint, *, ok: bool, gone: bool, now: float) -> None:
        """What a try told of the endpoint. Writes only when that changes something."""
        since = endpoint.failing_since
        change: dict[str, Any] = {}
        if ok:
            change = {"failing_since": None} if since is not None else {}
        elif gone:
            change = {"disabled_at": ms(now), "disabled_reason": "It answered 410 Gone."}
        elif since is None:
            change = {"failing_since": ms(now)}
        elif now - since >= PATIENCE:
            change = {"disabled_at": ms(now), "disabled_reason": f"Nothing but failures since {rfc3339(since)}."}
        if change:
            # Only if it is still what was tried: its owner may have changed or mended it since.
            when = Attr("version").eq(endpoint.version) & Attr("url").eq(endpoint.url)
            self._write(endpoint.owner, Update().set(**change).add("version"), when)

    def _with_secret(self, endpoint: Endpoint, now: float) -> tuple[Endpoint, str | None]:
        if endpoint.signing(now):
            return endpoint, None
        made, box = self._vault.make(endpoint.owner)
        return replace(endpoint, secrets=(Secret(box, now),)), made

    def _change(self, owner: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Reads, changes and writes if nobody else did meanwhile; else from the start. Raises Conflict."""
        changed: Endpoint | None = None
        for _ in range(_TRIES):
            found = self.get(owner)
            if changed is not None and _values(found) == _values(changed):
                return changed  # it was written, and the answer lost
            changed = replace(change(found), version=found.version + 1)
            update = Update().set(**_values(changed))
            same = Attr("version").eq(found.version) if found.version else Attr("pk").not_exists()
            if self._write(owner, update, same):
                return changed
        raise Conflict("The endpoint is being changed by somebody else; try again.")

    def _write(self, owner: str, update: Update, when: Any) -> bool:
        try:
            self._client.update_item(TableName=self._table, Key=_key(owner), **update.arguments(when))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def endpoint_view(endpoint: Endpoint, now: float) -> dict[str, Any]:
    """The endpoint, as its owner sees it."""
    return {
        "url": endpoint.url,
        "enabled": endpoint.is_enabled,
        "created_at": rfc3339(endpoint.created_at),
        "disabled_at": rfc3339(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": rfc3339(endpoint.failing_since),
        "secrets": [
            {"created_at": rfc3339(each.created_at), "signs_until": rfc3339(each.until)}
            for each in endpoint.signing(now)
        ],
    }


def _key(owner: str) -> dict[str, Any]:
    return to_item({"pk": f"owner#{owner}", "sk": "webhook"})


def _values(endpoint: Endpoint) -> dict[str, Any]:
    times = ("created_at", "disabled_at", "failing_since")
    kept = [[each.box, ms(each.created_at), each.until and ms(each.until)] for each in endpoint.secrets]
    return {
        "url": endpoint.url,
        "disabled_reason": endpoint.disabled_reason,
        "secrets": kept,
        "version": endpoint.version,
        **{name: None if (at := getattr(endpoint, name)) is None else ms(at) for name in times},
    }


def _endpoint(owner: str, item: dict[str, Any] | None) -> Endpoint:
    if item is None:
        return Endpoint(owner)
    row = from_item(item)
    secrets = tuple(Secret(box, made / 1000, until and until / 1000) for box, made, until in row.get("secrets", []))
    times = {name: row[name] / 1000 for name in ("created_at", "disabled_at", "failing_since") if name in row}
    return Endpoint(
        owner,
        url=row.get("url"),
        disabled_reason=row.get("disabled_reason"),
        secrets=secrets,
        version=row["version"],
        **times,
    )
