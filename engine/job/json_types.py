"""The types that JSON has: what people call them, and whether a value is made of nothing else.

What is sent must be what was written, and writers of JSON improvise: they write ``nan`` as ``null``, and a date or a
tuple as something that is read back as another type. Pure.
"""

from __future__ import annotations

import math

from engine.job.strict_json import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN

_TYPES: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def json_type(value: object) -> str:
    """Return what JSON calls the type of ``value``: ``an object``."""
    return _TYPES.get(type(value), type(value).__name__)


def json_problem(value: object, name: str, *, depth: int = 0) -> str:
    """Say which part of ``value`` is nothing that JSON can hold, or return an empty string.

    Args:
        value: anything, even what holds itself.
        name: what the value is called in a message: ``params``.
        depth: how deep it is nested.
    """
    match value:
        case None | bool() | str():
            return ""
        case int():
            return "" if INTEGER_MIN <= value <= INTEGER_MAX else f"{name} is an integer of more than 64 bits"
        case float():
            return "" if math.isfinite(value) else f"{name} is {value}, a number that JSON does not have"
        case list() | dict() if depth == DEPTH_MAX:
            return f"{name} is nested deeper than {DEPTH_MAX}"
        case list():
            parts = [(f"{name}.{place}", part) for place, part in enumerate(value)]
        case dict():
            for key in value:
                if not isinstance(key, str):
                    return f"{name} has the key {key!r}, which is no text"
            parts = [(f"{name}.{key}", part) for key, part in value.items()]
        case _:
            return f"{name} is of the type {type(value).__name__}, which JSON does not have"
    return next((problem for where, part in parts if (problem := json_problem(part, where, depth=depth + 1))), "")
