"""How a webhook is signed: Standard Webhooks 1.0, by its own library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed(delivery_id: str, text: str, secrets: Sequence[str], at: float) -> dict[str, str]:
    """The headers of a message, signed with each of the `whsec_` secrets: several while one is rotated."""
    moment = datetime.fromtimestamp(int(at), UTC)
    return {
        "content-type": "application/json",
        "user-agent": "Longrun-Webhooks/1",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(Webhook(secret).sign(delivery_id, moment, text) for secret in secrets),
    }
