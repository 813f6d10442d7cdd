"""What a deployment is told, read once, at the edge of a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from common.egress import LOCAL, PUBLIC, Policy
from common.jobs import LEASE

#: Who calls without a key where that is allowed.
LOCAL_OWNER = "local"


class AuthMode(StrEnum):
    API_KEYS = "ApiKeys"
    #: The owner is the subject of a token that API Gateway has verified.
    JWT = "Jwt"
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
    #: The queues of the other priorities; without them, all jobs are in one.
    queue_url_high: str = ""
    queue_url_low: str = ""
    #: Whether messages say whose they are, so that one owner's backlog does not hold up another's jobs.
    fair_queues: bool = False
    #: How many of an owner's jobs may run at a time, and how many it may submit a minute, unless it has limits of its
    #: own; 0 for any number.
    owner_running: int = 0
    owner_per_minute: int = 0
    #: Whether owners may have limits of their own: only then are they looked up.
    owner_overrides: bool = False
    #: How long a claim holds without renewal, in seconds. Only tests that kill many workers have no time for the usual.
    lease: float = LEASE
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
    #: Where schedules are made, and what they call: a group's name, and ARNs of function, role and dead letters.
    schedule_group: str = ""
    schedule_target: str = ""
    schedule_role: str = ""
    schedule_dead_letters: str = ""

    @property
    def receivers(self) -> Policy:
        """Which addresses may get webhooks."""
        return LOCAL if self.loopback else PUBLIC

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises MissingSetting, naming the variable; ValueError for an unknown AUTH_MODE or a limit that is no number."""
        try:
            return cls(
                table_name=environ["TABLE_NAME"],
                queue_url=environ["QUEUE_URL"],
                bucket_name=environ["BUCKET_NAME"],
                auth_mode=AuthMode(environ.get("AUTH_MODE", AuthMode.API_KEYS)),
                queue_url_high=environ.get("QUEUE_URL_HIGH", ""),
                queue_url_low=environ.get("QUEUE_URL_LOW", ""),
                fair_queues=environ.get("FAIR_QUEUES") == "On",
                owner_running=int(environ.get("OWNER_RUNNING", 0)),
                owner_per_minute=int(environ.get("OWNER_PER_MINUTE", 0)),
                owner_overrides=environ.get("OWNER_OVERRIDES") == "On",
                lease=float(environ.get("LONGRUN_LEASE_SECONDS", LEASE)),
                webhook_queue_url=environ.get("WEBHOOK_QUEUE_URL", ""),
                secrets_key=environ.get("SECRETS_KEY", ""),
                api_url=environ.get("API_URL", "").rstrip("/"),
                loopback=environ.get("LONGRUN_LOOPBACK") == "allow",
                live_url=environ.get("LIVE_URL") or None,
                live_endpoint=environ.get("LIVE_ENDPOINT") or None,
                streams=environ.get("LONGRUN_STREAMS") == "1",
                schedule_group=environ.get("SCHEDULE_GROUP", ""),
                schedule_target=environ.get("SCHEDULE_TARGET", ""),
                schedule_role=environ.get("SCHEDULE_ROLE", ""),
                schedule_dead_letters=environ.get("SCHEDULE_DEAD_LETTERS", ""),
            )
        except KeyError as missing:
            raise MissingSetting(f"Set the environment variable {missing.args[0]} (template.yaml does).") from None
