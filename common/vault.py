"""The owners' signing secrets: made and kept encrypted by KMS, each bound to its owner."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

#: Random bytes of a secret.
SIZE = 32
#: Most opened secrets that one process remembers.
_CACHE_SIZE = 1_000


class Vault:
    """The client is made at the first use. `key` is the id or ARN of the KMS key."""

    def __init__(self, connect: Callable[[], KMSClient], key: str) -> None:
        self._connect = connect
        self._key = key
        self._opened: dict[tuple[str, str], str] = {}

    @cached_property
    def _client(self) -> KMSClient:
        return self._connect()

    def make(self, owner: str) -> tuple[str, str]:
        """A new secret and what to keep of it: (`whsec_…`, the same encrypted)."""
        made = self._client.generate_data_key(KeyId=self._key, NumberOfBytes=SIZE, EncryptionContext={"owner": owner})
        return _text(made["Plaintext"]), base64.b64encode(made["CiphertextBlob"]).decode()

    def open(self, box: str, owner: str) -> str:
        """The secret. KMS refuses one that was made for another owner."""
        found = self._opened.get((owner, box))
        if found is None:
            answer = self._client.decrypt(
                KeyId=self._key, CiphertextBlob=base64.b64decode(box), EncryptionContext={"owner": owner}
            )
            found = _text(answer["Plaintext"])
            if len(self._opened) >= _CACHE_SIZE:
                self._opened.clear()
            self._opened[owner, box] = found
        return found


def _text(secret: bytes) -> str:
    return f"whsec_{base64.b64encode(secret).decode()}"
