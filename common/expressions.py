"""A DynamoDB update, collected piece by piece; conditions are boto3's own."""

from __future__ import annotations

from typing import Any

from boto3.dynamodb.conditions import ConditionBase, ConditionExpressionBuilder
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def to_item(values: dict[str, Any]) -> dict[str, Any]:
    """Python values as DynamoDB's; None is left out, at every depth."""
    return {name: _serialize(_pruned(value)) for name, value in values.items() if value is not None}


def from_item(item: dict[str, Any]) -> dict[str, Any]:
    """The way back; numbers become int (the table holds no others)."""
    return {name: _with_ints(_deserialize(value)) for name, value in item.items()}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pruned(inner) for name, inner in value.items() if inner is not None}
    return value


def _with_ints(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_ints(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_ints(inner) for inner in value]
    if isinstance(value, bool | str) or value is None:
        return value
    return int(value)


def condition(that: ConditionBase) -> dict[str, Any]:
    """The arguments of a put, delete or query's filter for boto3's condition `that`."""
    built = ConditionExpressionBuilder().build_expression(that)
    arguments: dict[str, Any] = {"ConditionExpression": built.condition_expression}
    if built.attribute_name_placeholders:
        arguments["ExpressionAttributeNames"] = built.attribute_name_placeholders
    if built.attribute_value_placeholders:
        arguments["ExpressionAttributeValues"] = to_item(built.attribute_value_placeholders)
    return arguments


class Update:
    """`Update().set(status="running").add("attempt").remove("error").arguments(when)`"""

    def __init__(self) -> None:
        self._sets: list[str] = []
        self._removes: list[str] = []
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._given: ConditionBase | None = None

    def only_if(self, given: ConditionBase) -> Update:
        """What must hold whenever this update is made, whatever else is asked for."""
        self._given = given if self._given is None else self._given & given
        return self

    def set(self, **values: Any) -> Update:
        """Gives attributes their values; one that is None is removed."""
        for attribute, value in values.items():
            if value is None:
                self.remove(attribute)
            else:
                self._sets.append(f"{self._name(attribute)} = {self._value(value)}")
        return self

    def set_once(self, **values: Any) -> Update:
        """Gives attributes their values unless they have one."""
        for attribute, value in values.items():
            name = self._name(attribute)
            self._sets.append(f"{name} = if_not_exists({name}, {self._value(value)})")
        return self

    def add(self, *attributes: str) -> Update:
        """Counts each attribute up by one."""
        for attribute in attributes:
            name = self._name(attribute)
            self._sets.append(f"{name} = {name} + {self._value(1)}")
        return self

    def increase(self, **amounts: int) -> Update:
        """Counts attributes up by so much each."""
        for attribute, amount in amounts.items():
            name = self._name(attribute)
            self._sets.append(f"{name} = {name} + {self._value(amount)}")
        return self

    def put_in(self, mapping: str, key: str, value: Any) -> Update:
        """mapping[key] = value, in a map that exists."""
        self._sets.append(f"{self._name(mapping)}.{self._name(key)} = {self._value(value)}")
        return self

    def put_next(self, mapping: str, key: str, counter: str) -> Update:
        """mapping[key] = counter + 1, as the counter is at the write."""
        self._sets.append(f"{self._name(mapping)}.{self._name(key)} = {self._name(counter)} + {self._value(1)}")
        return self

    def put_from(self, mapping: str, key: str, attribute: str) -> Update:
        """mapping[key] = what the attribute is before the write."""
        self._sets.append(f"{self._name(mapping)}.{self._name(key)} = {self._name(attribute)}")
        return self

    def copy(self, to: str, attribute: str, plus: int = 0) -> Update:
        """to = attribute + plus, as the attribute is before the write."""
        added = f" + {self._value(plus)}" if plus else ""
        self._sets.append(f"{self._name(to)} = {self._name(attribute)}{added}")
        return self

    def remove(self, *attributes: str) -> Update:
        self._removes += [self._name(attribute) for attribute in attributes]
        return self

    def remove_from(self, mapping: str, key: str) -> Update:
        """Without mapping[key]."""
        self._removes.append(f"{self._name(mapping)}.{self._name(key)}")
        return self

    def arguments(self, when: ConditionBase) -> dict[str, Any]:
        """The arguments of update_item for this update, if `when` holds."""
        guard = condition(when if self._given is None else self._given & when)
        clauses = [f"SET {', '.join(self._sets)}"] if self._sets else []
        clauses += [f"REMOVE {', '.join(self._removes)}"] if self._removes else []
        return {
            "UpdateExpression": " ".join(clauses),
            "ConditionExpression": guard["ConditionExpression"],
            "ExpressionAttributeNames": self._names | guard.get("ExpressionAttributeNames", {}),
            "ExpressionAttributeValues": to_item(self._values) | guard.get("ExpressionAttributeValues", {}),
        }

    def _name(self, attribute: str) -> str:
        # boto3 calls its own #n0, #n1, … and :v0, :v1, …: these never meet them.
        placeholder = next((known for known, name in self._names.items() if name == attribute), None)
        if placeholder is None:
            placeholder = f"#u{len(self._names)}"
            self._names[placeholder] = attribute
        return placeholder

    def _value(self, value: Any) -> str:
        placeholder = f":u{len(self._values)}"
        self._values[placeholder] = value
        return placeholder
