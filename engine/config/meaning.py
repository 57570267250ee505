"""Whether a value of the right type can be what its key means: an address, a name, a path.

Asks nobody, and repeats nothing that may be a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.config.sections import PRESETS, Provider, Storage
from engine.errors import ConfigError, nearest
from engine.job.model_name import model_name_problem
from engine.job.shown import shown
from engine.loopback import LOOPBACK
from engine.store_url import is_store_url, store_setting_problem, store_url_problem
from engine.toml_tables import field_sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.config.run_config import RunConfig
    from engine.settings import Setting

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z", re.ASCII)
_UNSAFE = re.compile(r"[\s\x00-\x1f\x7f]")


def check_meaning(setting: Setting) -> None:
    """Raise if a text is of the right type and cannot be what its key means."""
    if setting.section == "storage" and isinstance(setting.value, str) and (problem := _storage_problem(setting)):
        sentence = field_sentences(Storage).get(setting.name, "")
        raise ConfigError(f"{setting.place} {problem}", hint=f"{setting.name}: {sentence}")
    if setting.section == "provider" and isinstance(setting.value, str):
        problem = _provider_problem(setting.name, setting.value)
        if problem:
            sentence = field_sentences(Provider).get(setting.name, "")
            raise ConfigError(f"{setting.place} {problem}", hint=f"{setting.name}: {sentence}")


def _storage_problem(setting: Setting) -> str:
    value = str(setting.value)
    if setting.name != "root":
        return store_setting_problem(setting.name, value)
    if is_store_url(value):
        return store_url_problem(value)
    return "" if value and "\0" not in value else f"must be a path in quotes, not {shown(value)}"


def _provider_problem(name: str, value: str) -> str:
    match name:
        case "preset" if value not in PRESETS and not value.endswith(".toml"):
            path = "the path of a provider description (.toml)"
            return f"must be {', '.join(map(repr, PRESETS))} or {path}, not {shown(value)}{nearest(value, PRESETS)}"
        case "model":
            return model_name_problem(value)
        case "base_url" | "history_url" | "upload_url":
            return api_url_problem(value)
        case "api_key_env" if not VARIABLE_NAME.match(value):
            # The value is not repeated: whoever writes a key here has it in no format that we know.
            return "must be the name of an environment variable, not a key"
        case _:
            return ""


def check_simulator(config: RunConfig, settings: Sequence[Setting]) -> None:
    """Raise if the simulator has options in a run that does not use it."""
    if config.provider.preset == "simulator" or not config.simulator:
        return
    place = next(setting.place for setting in settings if setting.section == "simulator")
    raise ConfigError(
        f"{place} has a meaning only with provider.preset = 'simulator', which is {shown(config.provider.preset)}",
        hint="remove the options of the simulator, or set provider.preset to 'simulator'",
    )


def api_url_problem(url: str) -> str:
    """Say what is wrong with the address of an API, or return an empty string; the key will be sent there."""
    host = _host(url)
    if not host or not url.startswith(("https://", "http://")) or _UNSAFE.search(url):
        return f"must be an https URL with a host, not {shown(url)}"
    if set(url) & set("@?#"):
        # Not repeated: it may be a password.
        return "must be an https URL without user, password, '?' or '#'"
    if url.startswith("http://") and host not in LOOPBACK:
        return f"must be an https URL: over http to {host} the key would cross the network in clear text"
    return ""


def _host(url: str) -> str:
    """Return the host of ``url``, or an empty string for one that no library would take."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if port != 0 else ""
