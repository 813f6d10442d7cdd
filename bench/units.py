"""What DynamoDB bills for a write, from the item before and after it: of the table, and of each index that it changes.

The rules are those of DynamoDB's developer guide ("Item sizes and formats", "Global secondary indexes: write capacity").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
KEYS = ("pk", "sk")
#: Bytes of a unit.
UNIT = 1024


@dataclass(frozen=True)
class Index:
    """A global secondary index: its key's attributes, and the others that are copied into it."""

    key: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, described: dict[str, Any]) -> Index:
        """From the template's description."""
        key = tuple(each["AttributeName"] for each in described["KeySchema"])
        return cls(key, tuple(described["Projection"]["NonKeyAttributes"]))

    def seen(self, item: Item | None) -> Item | None:
        """What the index holds of an item; None if it is not in there."""
        if item is None or any(name not in item for name in self.key):
            return None
        return {name: item[name] for name in (*KEYS, *self.key, *self.others) if name in item}

    def units(self, old: Item | None, new: Item | None) -> int:
        """Write units; an entry whose key changes is deleted and put anew."""
        before, after = self.seen(old), self.seen(new)
        if before == after:
            return 0
        if before and after and any(before[name] != after[name] for name in self.key):
            return units(before) + units(after)
        return max(units(before), units(after))


def table_units(old: Item | None, new: Item | None) -> int:
    """Write units of the table itself: of the larger of both, and one at least."""
    return max(1, units(old), units(new))


def units(item: Item | None) -> int:
    return 0 if item is None else math.ceil(item_bytes(item) / UNIT)


def item_bytes(item: Item) -> int:
    return sum(len(name.encode()) + value_bytes(value) for name, value in item.items())


def value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return math.ceil(len(content.strip("-").replace(".", "")) / 2) + 1
        case "M":
            return 3 + sum(1 + len(name.encode()) + value_bytes(inner) for name, inner in content.items())
        case "L":
            return 3 + sum(1 + value_bytes(inner) for inner in content)
    return 1  # true, false, null
