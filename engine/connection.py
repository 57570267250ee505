"""Which provider a run talks to: its description, its addresses, its key; for a rehearsal, the embedded simulator.

The preset ``simulator`` without an address starts a simulator inside this process, is never shown a real
key, and is the one case in which results may come from this machine without being asked.
"""

from __future__ import annotations

import os
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from engine.errors import AccountError, ConfigError, StorageError
from engine.job.model_name import FIRST_PROVIDER, qualified_model
from engine.provider.api_key import SIMULATOR_KEY, FoundKey, find_api_key, without_key
from engine.provider.contract import ResultTable, StatusTable, SubmitTable
from engine.provider.description import ProviderDescription, load_description
from engine.provider_configs import configs_by_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from engine.config import RunConfig
    from engine.provider.protocol import Provider

SIMULATOR = "simulator"
OWN_RECORD_LIFE_S = 86_400.0
NO_KEY = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything needed to speak to one provider.

    Attributes:
        description: its models, prices and the lives of its records.
        base_url: where its API is.
        history_url: the part before ``/request-history``; empty if it has none.
        upload_url: where local files are uploaded to; empty if nowhere.
        api_key: never to be written anywhere.
        key_place: where the key was found, for people.
        default_model: the model of job lines that name none.
        name: what the run calls the provider: empty for the first one, the word before its models for any other.
        expected_duration_s: how long a job is expected to take before any was seen; None if nobody knows.
        allow_private_hosts: whether results may come from this machine or its network.
    """

    description: ProviderDescription
    base_url: str
    history_url: str
    upload_url: str
    api_key: str
    key_place: str
    default_model: str | None
    name: str
    expected_duration_s: float | None
    allow_private_hosts: bool

    @property
    def title(self) -> str:
        """What people call the provider."""
        return self.name or self.description.name

    def __repr__(self) -> str:
        return f"<Connection to {self.description.name} at {self.base_url}>"


class Embedded(NamedTuple):
    """A simulator inside this process: where it is, and the typical duration of its jobs in seconds."""

    base_url: str
    median_s: float


def describe(config: RunConfig, name: str = FIRST_PROVIDER) -> ProviderDescription:
    """Return the description of the configured provider, its models called as the run calls them.

    Raises:
        ConfigError: there is no such preset, or the description is not right.
    """
    description = load_description(config.provider.preset)
    if name == FIRST_PROVIDER:
        return description
    models = (replace(model, name=qualified_model(name, model.name)) for model in description.models.values())
    return msgspec.structs.replace(description, models={model.name: model for model in models})


def key_for(config: RunConfig, description: ProviderDescription) -> FoundKey:
    """Return the key to show to the configured provider; the simulator sees a real one only if that was asked for.

    Raises:
        AccountError: there is no key, or it cannot be one.
    """
    settings = config.provider
    if description.name == SIMULATOR and settings.api_key_env is None and settings.api_key_file is None:
        return FoundKey(SIMULATOR_KEY, "the simulator itself")
    found = find_api_key(settings.api_key_env or description.api_key_env, settings.api_key_file)
    pattern = description.api_key_pattern
    if pattern and settings.base_url is None and not re.fullmatch(pattern, found.key):
        # A key of another service would be given away by trying it.
        raise AccountError(
            f"what {found.place} holds does not look like a key of {description.name}; it was sent nowhere",
            hint="copy the key from the provider's console again",
        )
    return found


def environment_without_keys(config: RunConfig) -> dict[str, str]:
    """Return what another program may see of the environment: nothing that names or holds a key of a provider."""
    environment = dict(os.environ)
    for own in configs_by_provider(config).values():
        description = describe(own)
        variables = {description.api_key_env, own.provider.api_key_env or description.api_key_env}
        try:
            key = key_for(own, description).key
        except AccountError:
            key = ""  # there is none to be seen, or none that is one
        environment = without_key(environment, key=key, key_variables=variables)
    return environment


@asynccontextmanager
async def connect(
    config: RunConfig, *, journal: Path, name: str = FIRST_PROVIDER, own: Provider | None = None
) -> AsyncIterator[Connection]:
    """Resolve the configuration into a connection; an embedded simulator lives as long as the block.

    Args:
        config: the whole configuration.
        journal: where an embedded simulator remembers its jobs, so that it outlives the engine as a provider would.
        name: what the run calls the provider.
        own: a program's own provider, which takes the place of the configured one.

    Raises:
        ConfigError: an address is missing, or an option of the simulator is wrong.
        AccountError: there is no key.
    """
    if own is not None:
        yield _own_connection(config, type(own).__name__)
        return
    description = describe(config, name)
    simulated_here = description.name == SIMULATOR and not (config.provider.base_url or description.base_url)
    if simulated_here and name:
        raise ConfigError(
            f"providers.{name}: the simulator inside the engine can only be the first provider",
            hint=f"start one apart (engine simulate), and name its address in providers.{name}.base_url",
        )
    async with AsyncExitStack() as stack:
        embedded = await _embed(config, journal, stack) if simulated_here else None
        made = connection_without_key(config, name, embedded=embedded)
        found = key_for(config, description)
        yield replace(made, api_key=found.key, key_place=found.place)


def connection_without_key(
    config: RunConfig, name: str = FIRST_PROVIDER, *, embedded: Embedded | None = None
) -> Connection:
    """Return the connection that the configuration means, still without its key.

    Raises:
        ConfigError: an address is missing, or the description is not right.
    """
    settings, description = config.provider, describe(config, name)
    base_url = embedded.base_url if embedded else settings.base_url or description.base_url
    if not base_url:
        raise ConfigError("provider.base_url is not set, and the provider's description names none")
    simulated = description.name == SIMULATOR
    root = base_url.rstrip("/") if simulated else ""  # a simulator has all of its addresses in one place
    history_url = settings.history_url or description.history_url or (root and f"{root}/inference-request")
    upload_url = settings.upload_url or description.upload_url or (root and f"{root}/upload-asset")
    return Connection(
        description=description,
        base_url=base_url,
        history_url=history_url,
        upload_url=upload_url,
        api_key=NO_KEY,
        key_place="",
        default_model=settings.model or description.default_model or None,
        name=name,
        expected_duration_s=config.polling.expected_duration_s or (embedded.median_s if embedded else None),
        allow_private_hosts=config.downloads.allow_private_hosts or simulated,
    )


def _own_connection(config: RunConfig, name: str) -> Connection:
    """Return what a run knows of a program's own provider: nothing, but how long to keep asking."""
    description = ProviderDescription(
        name=name,
        base_url="",
        api_key_env=NO_KEY,
        record_life_s=OWN_RECORD_LIFE_S,
        output_life_s=OWN_RECORD_LIFE_S,
        submit=SubmitTable(path=""),
        status=StatusTable(done=(), failed=()),
        result=ResultTable(outputs=()),
    )
    return Connection(
        description=description,
        base_url="",
        history_url="",
        upload_url="",
        api_key=NO_KEY,
        key_place="",
        default_model=config.provider.model,
        name=FIRST_PROVIDER,
        expected_duration_s=config.polling.expected_duration_s,
        allow_private_hosts=config.downloads.allow_private_hosts,
    )


async def _embed(config: RunConfig, journal: Path, stack: AsyncExitStack) -> Embedded:
    """Start the embedded simulator."""
    from engine.simulator import JournalError, Scenario, ScenarioError, Simulator  # noqa: PLC0415 (only a rehearsal needs it)

    options = dict(config.simulator)
    name = options.pop("scenario", "calm")
    try:
        scenario = Scenario.load(str(name), options)
    except ScenarioError as error:
        raise ConfigError(
            f"[simulator] {error}", hint="see 'engine simulate --help' for scenarios and their keys"
        ) from error
    try:
        simulator = await stack.enter_async_context(Simulator(scenario, journal=journal))
    except JournalError as error:
        raise StorageError(
            str(error), hint=f"move {journal} away; then its jobs are unknown to the simulator"
        ) from error
    return Embedded(simulator.base_url, scenario.work.duration_median_s)
