"""What a deployment is told, read once, at the edge of a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from common.egress import LOCAL, PUBLIC, Policy


class AuthMode(StrEnum):
    API_KEYS = "ApiKeys"
    #: A call without a key is the owner `local`. For laptops.
    OPEN = "Open"


class MissingSetting(Exception):
    """An environment variable that this function needs is not set."""


@dataclass(frozen=True)
class Settings:
    table_name: str
    queue_url: str
    bucket_name: str
    auth_mode: AuthMode = AuthMode.API_KEYS
    webhook_queue_url: str = ""
    #: The KMS key that encrypts the owners' signing secrets.
    secrets_key: str = ""
    #: Where clients reach the API: links in webhooks begin with it.
    api_url: str = ""
    #: Whether addresses on this very machine may be called: on a laptop only.
    loopback: bool = False
    #: Where WebSockets connect; None where there is no such address.
    live_url: str | None = None
    #: Where messages for them are handed in.
    live_endpoint: str | None = None
    #: Whether an answer may go on for as long as a job runs. In Lambda answers are gathered first, and then sent.
    streams: bool = False

    @property
    def receivers(self) -> Policy:
        """Which addresses may get webhooks."""
        return LOCAL if self.loopback else PUBLIC

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises MissingSetting, naming the variable; ValueError for an unknown AUTH_MODE."""
        try:
            return cls(
                table_name=environ["TABLE_NAME"],
                queue_url=environ["QUEUE_URL"],
                bucket_name=environ["BUCKET_NAME"],
                auth_mode=AuthMode(environ.get("AUTH_MODE", AuthMode.API_KEYS)),
                webhook_queue_url=environ.get("WEBHOOK_QUEUE_URL", ""),
                secrets_key=environ.get("SECRETS_KEY", ""),
                api_url=environ.get("API_URL", "").rstrip("/"),
                loopback=environ.get("LONGRUN_LOOPBACK") == "allow",
                live_url=environ.get("LIVE_URL") or None,
                live_endpoint=environ.get("LIVE_ENDPOINT") or None,
                streams=environ.get("LONGRUN_STREAMS") == "1",
            )
        except KeyError as missing:
            raise MissingSetting(f"Set the environment variable {missing.args[0]} (template.yaml does).") from None
