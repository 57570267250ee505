"""The configuration of each provider of a run: the first is ``[provider]``, further ones are ``[providers.NAME]``.

A further provider has its own plan: its limits begin with the defaults, not with those of the first. What concerns the
whole batch (budget, downloads, storage, retries, halting) is shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import RunConfig
from engine.config.sections import Limits, Polling, Provider, Recovery
from engine.errors import ConfigError, nearest
from engine.job.model_name import FIRST_PROVIDER, provider_name_problem
from engine.job.shown import shown
from engine.toml_tables import field_types, value_words

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "providers."
OWN_TABLES = {
    "limits": tuple(field_types(Limits)),
    "polling": tuple(field_types(Polling)),
    "recovery": tuple(field_types(Recovery)),
    "budget": ("price_usd",),
}
"""The tables that a further provider may have of its own, and those of their keys that it may set."""


def configs_by_provider(config: RunConfig) -> dict[str, RunConfig]:
    """Return the configuration of every provider of a run by its name, the first one first.

    Raises:
        ConfigError: a further provider's table is wrong; the message names the key.
    """
    tables: dict[str, dict[str, Any]] = {}
    for key, value in config.providers.items():
        name, _, rest = key.partition(".")
        _put(tables.setdefault(name, {}), rest, value, where=f"providers.{key}")
    return {FIRST_PROVIDER: config, **{name: _further(config, name, table) for name, table in tables.items()}}


def provider_and_key(key: str) -> tuple[str, str]:
    """Split a dotted key into the name of its provider, and the key as the configuration of that one has it."""
    if not key.startswith(PREFIX):
        return FIRST_PROVIDER, key
    name, _, own = key.removeprefix(PREFIX).partition(".")
    return name, own


def _put(table: dict[str, Any], key: str, value: object, *, where: str) -> None:
    """Set a dotted key of a table; an empty key is the table itself."""
    if not key:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table, not {value_words(value)}", hint=_HINT)
        for name, part in value.items():
            _put(table, name, part, where=f"{where}.{name}")
        return
    first, _, rest = key.partition(".")
    if rest or isinstance(value, dict):
        inner = table.setdefault(first, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{where} is set both as a value and as a table", hint=_HINT)
        _put(inner, rest, value, where=where)
    else:
        table[first] = value


def _further(config: RunConfig, name: str, table: dict[str, Any]) -> RunConfig:
    if problem := provider_name_problem(name):
        raise ConfigError(f"providers.{shown(name)} {problem}", hint=_HINT)
    if "preset" not in table:
        raise ConfigError(f"providers.{name}.preset is missing: who is it?", hint=_HINT)
    shared = config.to_mapping()
    polling = {**shared["polling"], "expected_duration_s": None}
    budget = {**shared["budget"], "price_usd": None}
    mapping = {**shared, "provider": {}, "limits": {}, "polling": polling, "budget": budget}
    mapping |= {"simulator": {}, "providers": {}}
    for key, value in _settings(name, table):
        section, _, key_name = key.partition(".")
        mapping[section] = {**mapping[section], key_name: value}
    try:
        return RunConfig.from_mapping({section: values for section, values in mapping.items() if values})
    except ConfigError as error:
        message = str(error).replace("stored configuration: provider.", f"providers.{name}.")
        raise ConfigError(message.replace("stored configuration: ", f"providers.{name}."), hint=error.hint) from None


def _settings(name: str, table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a further provider as those of a configuration of its own."""
    known = field_types(Provider)
    for key, value in table.items():
        if key in OWN_TABLES and isinstance(value, dict):
            allowed = OWN_TABLES[key]
            for inner, setting in value.items():
                if inner not in allowed:
                    raise ConfigError(
                        f"there is no key providers.{name}.{key}.{inner}{nearest(inner, allowed)}",
                        hint=f"a further provider has {', '.join(f'{key}.{word}' for word in allowed)} of its own",
                    )
                yield f"{key}.{inner}", setting
        elif key in known:
            yield f"provider.{key}", value
        else:
            words = (*known, *OWN_TABLES)
            raise ConfigError(
                f"there is no key providers.{name}.{key}{nearest(key, words)}",
                hint=f"its keys are those of [provider], and the tables {', '.join(OWN_TABLES)}",
            )


_HINT = 'a further provider is a table: [providers.fal] with preset = "fal", and perhaps [providers.fal.limits]'
