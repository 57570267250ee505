"""Lay overrides over a table of settings, and refuse a key that nobody reads.

Keys may be dotted or nested. The walk follows the declared types, so that an unknown key is answered with
the allowed ones and the nearest match, before any value is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class ScenarioError(ValueError):
    """The scenario cannot be used as it is written; the message says which key and what is allowed."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)", or nothing if no allowed word is near."""
    close = get_close_matches(word, list(allowed), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def merged(
    struct: type[msgspec.Struct], table: dict[str, object], overrides: Mapping[str, object]
) -> dict[str, object]:
    """Return a copy of ``table``, a ``struct`` in builtin types, with the overrides laid over it."""
    result = dict(table)
    for key, value in overrides.items():
        head, _, rest = str(key).partition(".")
        fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
        if head not in fields:
            raise _unknown(str(key), head, sorted(fields))
        _lay(result, head, fields[head], {rest: value} if rest else value, path=head)
    return result


def _lay(table: dict[str, object], name: str, kind: object, value: object, *, path: str) -> None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        table[name] = _merge_section(kind, cast("dict[str, object]", table[name]), value, path)
    elif (key_kind := _mapping_keys(kind)) is not None:
        table[name] = _merge_mapping(key_kind, cast("dict[str, object]", table[name]), value, path)
    elif isinstance(value, Mapping):
        raise ScenarioError(f"scenario key {path!r} is a single value and has no keys of its own: {sorted(value)}")
    else:
        table[name] = value


def _merge_section(
    struct: type[msgspec.Struct], table: dict[str, object], value: object, path: str
) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ScenarioError(f"scenario key {path!r} is a table, not {value!r}")
    try:
        return merged(struct, table, value)
    except _UnknownKeyError as error:
        raise _unknown(f"{path}.{error.key}", error.word, error.allowed) from None


def _merge_mapping(key_kind: object, table: dict[str, object], value: object, path: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ScenarioError(f"scenario key {path!r} is a table, not {value!r}")
    allowed = _words(key_kind)
    for key in value:
        if allowed is not None and str(key) not in allowed:
            raise _unknown(f"{path}.{key}", str(key), allowed)
    return {**table, **{str(key): item for key, item in value.items()}}


def _words(key_kind: object) -> list[str] | None:
    """Return the only keys that a mapping may have, or None if any will do."""
    if isinstance(key_kind, type) and issubclass(key_kind, StrEnum):
        return [str(member) for member in key_kind]
    return None


def _mapping_keys(kind: object) -> object | None:
    if getattr(kind, "__origin__", None) is dict:
        return cast("object", kind.__args__[0])  # type: ignore[attr-defined]
    return None


class _UnknownKeyError(ScenarioError):
    """Carries its parts, so that the outer table can complete the path."""

    def __init__(self, key: str, word: str, allowed: list[str]) -> None:
        super().__init__(f"scenario key {key!r} is unknown{nearest(word, allowed)}; allowed here: {', '.join(allowed)}")
        self.key = key
        self.word = word
        self.allowed = allowed


def _unknown(key: str, word: str, allowed: list[str]) -> _UnknownKeyError:
    return _UnknownKeyError(key, word, allowed)
