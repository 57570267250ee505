"""Examine everything that a run would need, at the same time, each check with a bound; submits nothing."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.clock import SystemClock
from engine.connection import connect, connection_without_key, environment_without_keys
from engine.disk.detached import run_detached
from engine.doctor import fleet as fleets
from engine.doctor import machine, places
from engine.doctor.check import Check, Examination, bounded
from engine.doctor.service import ACCOUNT_CHECKS, NO_KEY, Service
from engine.errors import AccountError
from engine.job.model_name import FIRST_PROVIDER
from engine.provider_configs import configs_by_provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config import RunConfig
    from engine.connection import Connection
    from engine.fleet.address import FleetAddress

FLEET_END_S = 30.0
"""What leaving a fleet may take."""


async def examine(config: RunConfig, *, run_place: Path, fleet: FleetAddress | None = None) -> Examination:
    """Carry every check out.

    Args:
        config: the whole configuration.
        run_place: the run directory, or where it would be made.
        fleet: a fleet to look at; None for none.

    Raises:
        ConfigError: the configuration names no provider that could be asked.
    """
    async with AsyncExitStack() as stack:
        journal = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-doctor-"))) / "simulator.jsonl"
        service, connection = await _service(config, journal, stack)
        client = await stack.enter_async_context(service.client())
        shapes: list[object] = []

        async def history() -> list[Check]:
            checks, shape = await service.history(client)
            shapes.append(shape)
            return checks

        addresses = (connection.base_url, connection.history_url)
        media = config.storage.directory or run_place  # files for an object store wait in the run directory
        groups = await asyncio.gather(
            bounded(ACCOUNT_CHECKS, service.account(client)),
            bounded(("history",), history()),
            _in_thread(("key_file",), machine.key_file, config),
            _in_thread(("proxy",), machine.proxies, addresses),
            _in_thread(("certificates",), machine.certificates, addresses),
            _in_thread(("run_disk",), places.run_place, run_place),
            _in_thread(("media_disk",), lambda: places.media_place(media, reserve_bytes=config.storage.reserve_bytes)),
            *([bounded(("media_store",), places.media_store(config.storage))] if config.storage.store else ()),
            _in_thread(("open_files",), machine.open_files, config),
            _in_thread(("python", "libraries", "sqlite"), machine.versions, config),
            *([_fleet(config, fleet, media)] if fleet is not None else []),
            *(_further(name, own) for name, own in configs_by_provider(config).items() if name != FIRST_PROVIDER),
        )
    checks = tuple(check for group in groups for check in group)
    return Examination(checks=checks, history_shape=shapes[0] if shapes else None)


async def _fleet(config: RunConfig, address: FleetAddress, media: Path) -> list[Check]:
    place = places.nearest_existing(media)
    looking = fleets.fleet(address, place, environment=environment_without_keys(config))
    return await bounded(fleets.NAMES, looking, within_s=fleets.FLEET_S_MAX + FLEET_END_S)


async def _further(name: str, config: RunConfig) -> list[Check]:
    """Ask a further provider what the first one is asked; each check carries its name."""
    return [replace(found, message=f"{name}: {found.message}") for found in await ask_account(config)]


async def ask_account(config: RunConfig) -> list[Check]:
    """Ask the provider one free question, and say what the answer tells of it, the key, the account and the clock.

    Raises:
        ConfigError: as ``examine``.
    """
    async with AsyncExitStack() as stack:
        service, _ = await _service(config, Path(os.devnull), stack)
        client = await stack.enter_async_context(service.client())
        return await bounded(ACCOUNT_CHECKS, service.account(client))


async def _service(config: RunConfig, journal: Path, stack: AsyncExitStack) -> tuple[Service, Connection]:
    """Connect as a run would, if need be without a key."""
    key_error: AccountError | None = None
    try:
        connection = await stack.enter_async_context(connect(config, journal=journal))
    except AccountError as error:
        key_error, connection = error, replace(connection_without_key(config), api_key=NO_KEY)
    return Service(config, connection, clock=SystemClock(), key_error=key_error), connection


async def _in_thread(names: tuple[str, ...], look: Callable[..., list[Check]], *arguments: object) -> list[Check]:
    """Look in a thread of its own, so that a disk that hangs holds up neither the others nor the end."""
    return await bounded(names, run_detached(f"doctor-{names[0]}", look, *arguments))
