"""JSON Schemas of questions that are asked of people, and whether an answer fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn


class Misfit(Exception):
    """The answer is not what the schema says: `path` leads to where."""

    def __init__(self, path: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def checker(schema: Mapping[str, Any]) -> Callable[[Any], None]:
    """What raises Misfit for an answer that does not fit. Raises ValueError for what is no usable schema."""
    import fastjsonschema  # here: few jobs ask anybody anything

    try:
        check = fastjsonschema.compile(dict(schema), handlers=_NO_FETCHING, use_default=False)
    except Exception as error:  # what is no schema makes the library raise whatever comes
        raise ValueError(f"The question's schema is not one that can be used: {error}") from error

    def checked(answer: Any) -> None:
        try:
            check(answer)
        except fastjsonschema.JsonSchemaValueException as error:
            raise Misfit(error.path[1:], error.message) from None
        except Exception as error:  # some mistakes in a schema show only when it is used
            raise ValueError(f"The question's schema is not one that can be used: {error}") from error

    return checked


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"it refers to {uri}, and nothing is fetched")


#: A schema's $ref must lead to the schema itself: the library would open any address that it knows how to.
_NO_FETCHING = dict.fromkeys(("http", "https", "ftp", "file", "data", ""), _refuse)
