"""What models cost, by the price list that came with genai-prices. It is never fetched anew: a deployment has one list."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from genai_prices import Usage, calc_price

if TYPE_CHECKING:
    from pydantic_ai.usage import RequestUsage, RunUsage

    from tasks.models import Choice

#: How the list calls a provider, where it is not as we do.
_PROVIDERS = {"bedrock": "aws"}


def look_up(choice: Choice, usage: RequestUsage | RunUsage | Usage) -> Decimal | None:
    """In USD; None if the list does not know the model. Whoever serves it at an address is known by that alone."""
    try:
        if choice.url and choice.provider != "bedrock":
            return calc_price(usage, choice.name, provider_api_url=choice.url).total_price
        return calc_price(usage, choice.name, provider_id=_PROVIDERS.get(choice.provider, choice.provider)).total_price
    except (LookupError, ValueError):
        return None


def is_known(choice: Choice) -> bool:
    return look_up(choice, Usage(input_tokens=1)) is not None
