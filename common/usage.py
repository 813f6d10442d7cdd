"""What a job used of models, and what it may use at the most. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: The unit of cost in the table: whole numbers add up without error, and a token costs hundreds of these.
NANO = 1_000_000_000


@dataclass(frozen=True)
class Usage:
    """Tokens and money, summed over a job's attempts. `cached_tokens` are among the input's."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_nano_usd: int = 0

    def __add__(self, more: Usage) -> Usage:
        return Usage(
            self.input_tokens + more.input_tokens,
            self.output_tokens + more.output_tokens,
            self.cached_tokens + more.cached_tokens,
            self.cost_nano_usd + more.cost_nano_usd,
        )

    @property
    def cost_usd(self) -> float:
        return self.cost_nano_usd / NANO

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class Budget:
    """The most that a job may use; None for no limit."""

    max_tokens: int | None = None
    max_cost_nano_usd: int | None = None

    def excess(self, used: Usage) -> str | None:
        """What is over, in words; None while nothing is."""
        if self.max_tokens is not None and used.tokens > self.max_tokens:
            return f"{used.tokens:,} tokens were used; the job may use {self.max_tokens:,}."
        if self.max_cost_nano_usd is not None and used.cost_nano_usd > self.max_cost_nano_usd:
            return f"${used.cost_usd:.6f} was spent; the job may spend ${self.max_cost_nano_usd / NANO:.6f}."
        return None
