"""The whole configuration, and how it is put together.

A TOML file fills the sections, ``--set`` overrides single keys, what neither names keeps its default. Each value
is checked where it was written, so that a message can say where that is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from engine.config.meaning import check_meaning, check_simulator
from engine.config.sections import (
    Budget,
    Canary,
    Downloads,
    Halt,
    Limits,
    Metrics,
    Polling,
    Provider,
    Recovery,
    Retry,
    Section,
    Storage,
)
from engine.settings import Setting, build, setting_of_override, settings_of_tables
from engine.store_url import is_store_url
from engine.toml_tables import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class RunConfig(Section, frozen=True, kw_only=True):
    """Everything that can be set about a run.

    Attributes:
        provider: who generates, and how long we wait for one HTTP exchange with them.
        limits: the plan of the account, and how much of it we use at once.
        polling: when a request is asked about again.
        downloads: how results become files.
        budget: how much money may be spent.
        retry: how often a job is tried again.
        recovery: what happens to submissions whose outcome is unknown.
        halt: when the run stops submitting.
        canary: a few jobs first.
        storage: where the media go.
        metrics: where a monitor can read the figures of a run.
        providers: further providers by name, each with the keys of [provider] and tables of its own.
        simulator: options of the embedded simulator, which checks them; only with the preset 'simulator'.
    """

    provider: Provider = Provider()
    limits: Limits = Limits()
    polling: Polling = Polling()
    downloads: Downloads = Downloads()
    budget: Budget = Budget()
    retry: Retry = Retry()
    recovery: Recovery = Recovery()
    halt: Halt = Halt()
    canary: Canary = Canary()
    storage: Storage = Storage()
    metrics: Metrics = Metrics()
    providers: dict[str, object] = msgspec.field(default_factory=dict)
    simulator: dict[str, object] = msgspec.field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path | None, overrides: Sequence[str] = ()) -> Self:
        """Return the configuration of a TOML file with ``KEY=VALUE`` overrides, or raise what is wrong with it.

        Args:
            path: the file; None is an empty one. Relative paths in it start from its directory.
            overrides: as on the command line; relative paths in them start from the current directory.
        """
        settings: list[Setting] = []
        if path is not None:
            file = Path(path)
            settings += settings_of_tables(read_toml(file), where=f"{file}: ", directory=file.parent)
        settings += [setting_of_override(text) for text in overrides]
        return cls._of_settings(settings)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], overrides: Sequence[str] = ()) -> Self:
        """Return the configuration that ``to_mapping`` gave, with ``KEY=VALUE`` overrides, checked like any other."""
        settings = [*settings_of_tables(mapping, where="stored configuration: ", directory=Path())]
        return cls._of_settings([*settings, *(setting_of_override(text) for text in overrides)])

    def value_of(self, key: str) -> Any:
        """Return the value of a dotted key of a section."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)

    def to_mapping(self) -> dict[str, Any]:
        """Return the whole configuration as JSON types, for the ledger."""
        mapping: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return mapping

    @classmethod
    def _of_settings(cls, settings: Iterable[Setting]) -> Self:
        settled = [_with_absolute_paths(setting) for setting in settings]
        config = build(cls, settled)
        for setting in settled:
            check_meaning(setting)
        check_simulator(config, settled)
        return config


def _with_absolute_paths(setting: Setting) -> Setting:
    """Return the setting with paths in what is kept as text made absolute, so that they mean the same later."""
    if setting.section == "providers" and isinstance(setting.value, dict):
        table = {name: _absolute_path(setting, name, value) for name, value in setting.value.items()}
        return replace(setting, value=table)
    if (setting.section, setting.name) == ("storage", "root"):
        return replace(setting, value=_absolute_root(setting))
    if setting.section in {"provider", "providers"}:
        return replace(setting, value=_absolute_path(setting, setting.name.rpartition(".")[2], setting.value))
    return setting


def _absolute_path(setting: Setting, name: str, value: object) -> object:
    is_path = isinstance(value, str) and (
        (name == "preset" and value.endswith(".toml")) or (name == "api_key_file" and setting.section == "providers")
    )
    return str(setting.absolute(Path(str(value)))) if is_path else value


def _absolute_root(setting: Setting) -> object:
    root = setting.value
    is_path = isinstance(root, str) and root and "\0" not in root and not is_store_url(root)
    return str(setting.absolute(Path(str(root)))) if is_path else root
