"""Read one JSON value so that nothing in it can be lost, changed or understood in two ways.

Refused are duplicate keys, integers of more than 64 bits, fractions that would become infinite or 0, NUL, halves of
surrogate pairs, deep nesting and whatever else the JSON standard does not allow. A fraction with more digits than a
double holds is rounded, as every reader of JSON rounds it. The standard library's parser does the work; its hooks and a
scan before it do the refusing. Knows nothing of jobs.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from engine.job.shown import shown

DEPTH_MAX = 64
INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1
"""The integers that the writer of the lines, orjson, can write."""
_INTEGER_CHARS_SAFE = 18
_INTEGER_CHARS_MAX = 20

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[\[{]|[\]}]', re.DOTALL)
"""Strings are taken whole, so that brackets in them do not count; an unfinished one reaches to the end."""
_SUSPICIOUS_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class NotStrictJsonError(ValueError):
    """The text is not JSON, or not JSON with one meaning; the message is the end of a sentence about it."""


def strict_json(text: bytes) -> Any:
    """Return the value of ``text``, which must be one JSON value in UTF-8 with nothing but white space around it."""
    check_depth(text)
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise NotStrictJsonError(
            f"it is not UTF-8: byte 0x{text[error.start]:02x} in column {error.start + 1}"
        ) from None
    try:
        value = _DECODER.decode(decoded)
    except json.JSONDecodeError as error:
        raise NotStrictJsonError(f"it is not JSON: {_syntax_words(error)}") from None
    except RecursionError:
        # The scan above makes this unreachable, except on a stack that was nearly used up before us.
        raise NotStrictJsonError(f"it is nested deeper than {DEPTH_MAX}") from None
    if b"\\u" in text and _SUSPICIOUS_ESCAPE.search(text):
        _check_strings(value)
    return value


def check_depth(text: bytes) -> None:
    """Raise if arrays and objects are nested deeper than ``DEPTH_MAX``; costs next to nothing for a usual line."""
    if text.count(b"{") + text.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise NotStrictJsonError(f"it is nested deeper than {DEPTH_MAX}")
        elif first in b"]}":
            depth -= 1


def _syntax_words(error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Extra data"):
        return f"something follows the value in column {error.pos + 1}"
    if error.msg.startswith("Invalid control character"):
        return f"a raw control character in a string in column {error.pos + 1}"
    words = error.msg.removesuffix(" at").removesuffix(":")
    return f"{words[:1].lower()}{words[1:]} in column {error.pos + 1}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotStrictJsonError(f"the key {shown(key)} appears twice in one object")
            seen.add(key)
    return members


def _integer(digits: str) -> int:
    if len(digits) <= _INTEGER_CHARS_SAFE:
        return int(digits)
    if len(digits) <= _INTEGER_CHARS_MAX and INTEGER_MIN <= (number := int(digits)) <= INTEGER_MAX:
        return number
    raise NotStrictJsonError(f"the integer {shown(digits)[1:-1]} has more than 64 bits")


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotStrictJsonError(f"the number {shown(digits)[1:-1]} is too large for any reader")
    if number == 0 and re.match(r"-?[0.]*[1-9]", digits):
        raise NotStrictJsonError(f"the number {shown(digits)[1:-1]} is so small that it would be sent as 0")
    return number


def _constant(word: str) -> NoReturn:
    raise NotStrictJsonError(f"{word} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)


def _check_strings(value: object) -> None:
    """Raise if a string of ``value``, keys included, holds a NUL or half of a surrogate pair."""
    if isinstance(value, str):
        if "\0" in value:
            raise NotStrictJsonError(f"a NUL stands in the string {shown(value)}")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotStrictJsonError(f"half of a surrogate pair stands in the string {shown(value)}") from None
    elif isinstance(value, dict):
        for key, member in value.items():
            _check_strings(key)
            _check_strings(member)
    elif isinstance(value, list):
        for element in value:
            _check_strings(element)
