"""Read TOML and check its tables against frozen structs, with one clear sentence for whatever is wrong.

A struct's annotations say what is allowed, its docstring's ``Attributes`` what each key means; both are read
here, so that the check, the message and the documentation cannot differ. Whatever looks like an API key is
never repeated. Knows nothing of what the keys are for.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from engine.errors import ConfigError, nearest
from engine.job.shown import API_KEY, shown, without_api_keys

TOML_BYTES_MAX = 4 * 1024 * 1024
API_KEY_HINT = (
    "put the key into the environment variable SEGMIND_API_KEY, or into a file named in provider.api_key_file"
)

_SYNTAX_ERROR_PLACE = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)\Z", re.DOTALL)
_ATTRIBUTE = re.compile(r"(?P<name>\w+): (?P<sentence>.+?)(?=\n\w+: |\Z)", re.DOTALL)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, or raise the sentence that says why there are none."""
    try:
        with path.open("rb") as file:
            content = file.read(TOML_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="configs/ holds complete examples") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a directory, not a TOML file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path} cannot be read: {reason}") from None
    if len(content) > TOML_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {TOML_BYTES_MAX:,} bytes, which no configuration is")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: not UTF-8 text, so not TOML") from None
    return _parse_toml(text, path)


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        place = _SYNTAX_ERROR_PLACE.match(str(error))
        if place is None:
            line, what = text.count("\n") + 1, str(error) or "nested too deeply"
        else:
            line, what = int(place["line"]), f"{place['what']} in column {place['column']}"
        message = f"{path}: line {line}: not TOML: {without_api_keys(what)}"
        raise ConfigError(message, hint='text stands in quotes: model = "kling-2.6"') from None


def read_value(text: str) -> object:
    """Return the TOML value that ``text`` spells; a bare word that is no TOML is a string.

    Raises:
        ValueError: it begins like a quoted text, a list or a table, and is none.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    if parsed.keys() == {"value"}:
        return parsed["value"]
    if text.startswith(('"', "'", "[", "{")):
        raise ValueError("not a TOML value")
    return text


@cache
def field_types(struct: type[msgspec.Struct]) -> dict[str, inspect.Type]:
    """Return what the annotation of each field of ``struct`` allows."""
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    return {field.name: field.type for field in described.fields}


@cache
def field_sentences(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return what the docstring of ``struct`` says of each attribute; nothing under ``python -OO``."""
    _, _, section = (struct.__doc__ or "").partition("Attributes:\n")
    found = _ATTRIBUTE.finditer(cleandoc(section))
    return {attribute["name"]: " ".join(attribute["sentence"].split()) for attribute in found}


@cache
def _annotations(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(struct, include_extras=True)


def checked_value(struct: type[msgspec.Struct], name: str, value: object, *, place: str) -> Any:
    """Return ``value`` as the field ``name`` of ``struct`` holds it.

    Args:
        struct: whose field it is.
        name: the field; it must exist.
        value: what the file, the command line or the ledger says.
        place: where the value was written, as the message begins: ``night.toml: limits.max_in_flight``.
    """
    refuse_api_keys(value, place=place)
    try:
        return msgspec.convert(value, _annotations(struct)[name], dec_hook=_to_path)
    except msgspec.ValidationError:
        kind = field_types(struct)[name]
        guess = _nearest_word(value, kind) if isinstance(value, str) else ""
        message = f"{place} must be {type_words(kind)}, not {value_words(value)}{guess}"
        raise ConfigError(message, hint=_sentence(struct, name)) from None


def _sentence(struct: type[msgspec.Struct], name: str) -> str:
    """Return what a field means, as a hint; empty where its docstring says nothing."""
    sentence = field_sentences(struct).get(name, "")
    return f"{name}: {sentence}" if sentence else ""


def _to_path(wanted: type, value: object) -> object:
    if wanted is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise ValueError("not a path")


def type_words(kind: inspect.Type) -> str:
    """Say in words which values ``kind`` allows: ``a whole number from 1 to 8``."""
    words = _alternatives(kind)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _nearest_word(value: str, kind: inspect.Type) -> str:
    return nearest(value.lower(), [word.strip("'") for word in _alternatives(kind) if " " not in word])


def _alternatives(kind: inspect.Type) -> list[str]:
    if isinstance(kind, inspect.UnionType):
        return [word for part in kind.types for word in _alternatives(part)]
    if isinstance(kind, inspect.LiteralType):
        return [repr(word) for word in kind.values]
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return [("a whole number" if isinstance(kind, inspect.IntType) else "a number") + _range_words(kind)]
    return _WORDS.get(type(kind), ["a table"])


_WORDS: dict[type[inspect.Type], list[str]] = {
    inspect.NoneType: [],
    inspect.BoolType: ["true", "false"],
    inspect.StrType: ["a text in quotes"],
    inspect.CustomType: ["a path in quotes"],
    inspect.AnyType: ["any value"],
    inspect.VarTupleType: ["a list"],
}


def _range_words(kind: inspect.IntType | inspect.FloatType) -> str:
    match kind.gt, kind.ge, kind.le:
        case None, None, None:
            return ""
        case None, least, most:
            return f" from {least:,} to {most:,}"
        case above, _, most:
            return f" above {above:,}, at most {most:,}"


def refuse_api_keys(value: object, *, place: str) -> None:
    """Raise if an API key stands anywhere in ``value``; the message does not repeat it."""
    if _holds_api_key(value):
        raise ConfigError(
            f"{without_api_keys(place)} holds what looks like an API key, which is never written into a configuration",
            hint=API_KEY_HINT,
        )


def _holds_api_key(value: object) -> bool:
    if isinstance(value, str):
        return API_KEY.search(value) is not None
    if isinstance(value, dict):
        return any(_holds_api_key(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_holds_api_key(part) for part in value)


def value_words(value: object) -> str:
    """Return a TOML value as it may stand in a message: tables and lists by their kind alone."""
    if value is None or isinstance(value, dict | list):
        return "nothing" if value is None else "a table" if isinstance(value, dict) else "a list"
    return (
        shown(value) if isinstance(value, str | bool) else shown(str(value)).strip("'")
    )  # dates stand as they are written
