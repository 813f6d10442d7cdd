"""Arithmetic in Python's notation, for models, which cannot be trusted to do it themselves. Nothing is evaluated as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

#: Longest expression, in characters.
MAX_LENGTH = 1_000
#: Largest whole number on the way, in bits: about a thousand digits. It bounds the time and the memory of every step.
MAX_BITS = 4_000
#: Most digits that are rounded to: before the point, Python makes a number of so many zeros.
MAX_DIGITS = 300

Number = int | float


class NotCalculable(ValueError):
    """The expression is none, or its value is none; the message says why."""


def calculate(expression: str) -> str:
    """The value, whole numbers exactly and others to 15 digits. Raises NotCalculable.

    Takes + - * / // % and ** (or ^), brackets, the functions of FUNCTIONS, pi and e.
    """
    if len(expression) > MAX_LENGTH:
        raise NotCalculable(f"An expression has at most {MAX_LENGTH:,} characters.")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except NotCalculable:
        raise
    except (SyntaxError, UnicodeError, MemoryError, RecursionError):  # the last two: too deeply nested
        raise NotCalculable("That is no arithmetic expression. Write it like 2 * (3 + 4) ** 0.5.") from None
    except ZeroDivisionError:
        raise NotCalculable("It divides by zero.") from None
    except OverflowError:
        raise NotCalculable(_TOO_LARGE) from None
    except (ArithmeticError, TypeError, ValueError) as error:
        raise NotCalculable(f"It has no value: {error}.") from None
    return _written(value)


_TOO_LARGE = "A number on the way is too large."


def _value(node: ast.AST) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            return _bounded(_SIGNS[type(op)](_value(operand)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return _bounded(FUNCTIONS[name](*map(_value, arguments)))
    raise NotCalculable(f"Only numbers, + - * / // % ** and {', '.join(FUNCTIONS)}, pi and e can be calculated with.")


def _bounded(number: Any) -> Number:
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        raise NotCalculable(_TOO_LARGE)
    if isinstance(number, complex):
        raise NotCalculable("It has no real value.")
    if isinstance(number, float) and not math.isfinite(number):
        raise NotCalculable(_TOO_LARGE)
    return number  # type: ignore[no-any-return]


def _power(base: Number, exponent: Number) -> Any:
    """Refused before it is tried: 9 ** 9 ** 9 has three hundred million digits."""
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > 2 * MAX_BITS:
        raise NotCalculable(_TOO_LARGE)
    return base**exponent


def _factorial(number: Number) -> int:
    if number > MAX_BITS:
        raise NotCalculable(_TOO_LARGE)
    return math.factorial(_whole(number))


def _rounded(number: Number, digits: Number = 0) -> Number:
    if abs(digits) > MAX_DIGITS:
        raise NotCalculable(_TOO_LARGE)
    return round(number, _whole(digits)) if digits else round(number)


def _whole(number: Number) -> int:
    if number != int(number):
        raise NotCalculable(f"{number} is not a whole number.")
    return int(number)


def _written(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.15g}"


_CONSTANTS = {"pi": math.pi, "e": math.e}
_SIGNS: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.BitXor: _power,  # what ^ means to everybody but a programmer
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "round": _rounded,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "factorial": _factorial,
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "sum": lambda *numbers: sum(numbers),
}
