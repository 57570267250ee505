"""Collect single settings from TOML tables and from the command line, and build a struct of sections from them.

Each setting remembers where it was written; the last one of a key wins; the message about a bad one names its
place and its key. Works for any struct whose fields are structs (sections) or free tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from engine.errors import ConfigError, nearest
from engine.job.json_types import json_problem
from engine.job.shown import shown, without_api_keys
from engine.toml_tables import API_KEY_HINT, checked_value, field_types, read_value, refuse_api_keys, value_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key and its value, as written.

    Attributes:
        section: the first word of the dotted key.
        name: the rest of it.
        value: what was written, as TOML or JSON types.
        where: where it was written, as a message begins: ``night.toml: `` or ``--set ``.
        directory: where relative paths start from; itself relative if that is the current directory.
    """

    section: str
    name: str
    value: object
    where: str
    directory: Path

    @property
    def key(self) -> str:
        """The dotted key."""
        return f"{self.section}.{self.name}"

    @property
    def place(self) -> str:
        """Where it was written, and its key, as it may stand in a message."""
        key = self.key if self.key.isprintable() else ascii(self.key)[1:-1]
        return f"{self.where}{without_api_keys(key)}"

    def absolute(self, path: Path) -> Path:
        """Return ``path`` so that it means the same in another directory."""
        try:
            return (self.directory / path.expanduser()).absolute()
        except RuntimeError:
            message = f"{self.place}: there is no such home directory: {shown(str(path))}"
            raise ConfigError(message, hint="write the whole path, beginning with /") from None


def dotted_keys(root: type[msgspec.Struct]) -> list[str]:
    """Return every key of the sections of ``root``, in the order in which they are declared."""
    return [f"{section}.{name}" for section, kind in sections_of(root).items() if kind for name in field_types(kind)]


def sections_of(root: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct] | None]:
    """Return the struct of each section of ``root``; None for a free table."""
    return {
        section: kind.cls if isinstance(kind, msgspec.inspect.StructType) else None
        for section, kind in field_types(root).items()
    }


def settings_of_tables(tables: Mapping[str, object], *, where: str, directory: Path) -> Iterator[Setting]:
    """Yield the settings of a document whose tables are sections."""
    for section, table in tables.items():
        if isinstance(table, dict) and table:
            yield from (Setting(section, name, value, where, directory) for name, value in table.items())
        else:
            # An empty table, which is harmless if it is one of ours, or a key outside any table, which never is.
            yield Setting(section, "", table, where, directory)


def setting_of_override(text: str) -> Setting:
    """Return the setting that ``KEY=VALUE`` of the command line spells."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(
            f"--set {shown(text)} is not KEY=VALUE", hint="for example --set limits.submits_per_minute=120"
        )
    section, _, name = key.partition(".")
    setting = Setting(section, name, "", "--set ", Path())
    # Before the value is parsed: a key that is no TOML must not reach a message either.
    refuse_api_keys(value, place=setting.place)
    try:
        return Setting(section, name, read_value(value.strip()), "--set ", setting.directory)
    except ValueError as error:
        raise ConfigError(f"{setting.place}: {shown(value)} is {error}", hint="check its quotes and brackets") from None


def build(root: type[_Struct], settings: Iterable[Setting]) -> _Struct:
    """Return ``root`` with every setting checked and applied; what none names keeps its default."""
    sections = sections_of(root)
    values: dict[str, dict[str, Any]] = {section: {} for section in sections}
    for setting in settings:
        _check_key(setting, root)
        if not setting.name:
            continue
        struct = sections[setting.section]
        values[setting.section][setting.name] = _free_value(setting) if struct is None else _value(setting, struct)
    return root(
        **{section: values[section] if kind is None else kind(**values[section]) for section, kind in sections.items()}
    )


def _value(setting: Setting, struct: type[msgspec.Struct]) -> Any:
    value = checked_value(struct, setting.name, setting.value, place=setting.place)
    return setting.absolute(value) if isinstance(value, Path) else value


def _free_value(setting: Setting) -> object:
    """Return a value of a free table, which must survive being stored as JSON."""
    refuse_api_keys(setting.value, place=setting.place)
    if json_problem(setting.value, setting.key):
        raise ConfigError(
            f"{setting.place} must be a finite number, a text, true, false, or a list or table of these,"
            f" not {value_words(setting.value)}"
        )
    return setting.value


def _check_key(setting: Setting, root: type[msgspec.Struct]) -> None:
    """Raise unless the section and the key exist; an empty table of a section is allowed."""
    sections = sections_of(root)
    refuse_api_keys(setting.key, place=setting.where.rstrip(": "))
    if setting.section not in sections:
        raise ConfigError(_unknown_words(setting, root), hint=f"the sections are {', '.join(sections)}")
    struct = sections[setting.section]
    if not setting.name and setting.value != {}:
        example = next((key for key in dotted_keys(root) if key.startswith(f"{setting.section}.")), "simulator.seed")
        message = f"{setting.where}{setting.section} is a section and takes no value of its own"
        raise ConfigError(message, hint=f"set a key of it, such as {example}")
    if setting.name and struct is not None and setting.name not in field_types(struct):
        known = f"the keys of {setting.section} are {', '.join(field_types(struct))}"
        raise ConfigError(_unknown_words(setting, root), hint=API_KEY_HINT if setting.name == "api_key" else known)


def _unknown_words(setting: Setting, root: type[msgspec.Struct]) -> str:
    """Say that there is no such key, and which one may be meant: the same word elsewhere, or a similar one."""
    keys, written = dotted_keys(root), setting.key.rstrip(".")
    same_word = [key for key in keys if key.rpartition(".")[2] == written.rpartition(".")[2]]
    if same_word:
        guess = f", did you mean {same_word[0]!r}?"
    elif setting.name:
        guess = nearest(written, keys)
    else:
        guess = nearest(written, sections_of(root)) or nearest(written, keys)
    return f"{setting.where}there is no key {shown(written)}{guess}"
