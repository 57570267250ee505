"""The structure of a JSON value without any of its values: what may be shown of somebody's requests."""

from __future__ import annotations

import re
from functools import reduce

NESTING_MAX = 6
KEYS_MAX = 60
ELEMENTS_MAX = 100
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_. -]{0,39}\Z", re.ASCII)
_ID_LIKE = re.compile(r"[0-9a-fA-F]{8}|[0-9]{4}", re.ASCII)
_WORDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null"}


def shape_of(value: object, *, nesting: int = NESTING_MAX) -> object:
    """Return ``value`` with each leaf replaced by the name of its type, and a list by what its elements have in common.

    A key that could itself be somebody's data (an id, a name, a text) is replaced as well.
    """
    if isinstance(value, dict):
        if nesting == 0:
            return "object"
        return {_key(key): shape_of(member, nesting=nesting - 1) for key, member in list(value.items())[:KEYS_MAX]}
    if isinstance(value, list):
        if nesting == 0:
            return "array"
        shapes = [shape_of(element, nesting=nesting - 1) for element in value[:ELEMENTS_MAX]]
        return [reduce(_merged, shapes)] if shapes else []
    return _WORDS.get(type(value), "value")


def _merged(one: object, other: object) -> object:
    """Return a shape that both are of: members of either, and where they differ, the words for both."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {**one, **other}
        return {
            key: _merged(one[key], other[key]) if key in one and key in other else member
            for key, member in both.items()
        }
    if isinstance(one, list) and isinstance(other, list):
        elements = [*one, *other]
        return [reduce(_merged, elements)] if elements else []
    return " or ".join(sorted({*_word(one).split(" or "), *_word(other).split(" or ")}))


def _word(shape: object) -> str:
    return shape if isinstance(shape, str) else "object" if isinstance(shape, dict) else "array"


def has_records(value: object, *, nesting: int = NESTING_MAX) -> bool:
    """Whether objects stand in a list anywhere in ``value``."""
    if nesting == 0:
        return False
    if isinstance(value, list):
        return any(isinstance(element, dict) for element in value)
    members = value.values() if isinstance(value, dict) else ()
    return any(has_records(member, nesting=nesting - 1) for member in members)


def _key(key: str) -> str:
    return key if _PLAIN_KEY.match(key) and not _ID_LIKE.search(key) else "(a key)"
