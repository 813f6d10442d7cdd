"""What a deployment is told, read once, at the edge of a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


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

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises MissingSetting, naming the variable; ValueError for an unknown AUTH_MODE."""
        try:
            return cls(
                table_name=environ["TABLE_NAME"],
                queue_url=environ["QUEUE_URL"],
                bucket_name=environ["BUCKET_NAME"],
                auth_mode=AuthMode(environ.get("AUTH_MODE", AuthMode.API_KEYS)),
            )
        except KeyError as missing:
            raise MissingSetting(f"Set the environment variable {missing.args[0]} (template.yaml does).") from None
