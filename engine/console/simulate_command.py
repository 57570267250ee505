"""``engine simulate``: the local provider as a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.console.messages import say

if TYPE_CHECKING:
    from engine.simulator import Simulator

DEFAULT_PORT = 8642


@click.command(short_help="Run the local provider.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port on the loopback address; 0 takes a free one.",
)
@click.option("--scenario", default="calm", show_default=True, help="A built-in scenario or a TOML file.")
@click.option("--seed", type=int, help="Seed of all dice.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One key of the scenario; may be repeated."
)
def simulate(port: int, scenario: str, seed: int | None, overrides: tuple[str, ...]) -> None:
    """Serve a faithful, hostile copy of the provider's API on the loopback address until Ctrl-C.

    Prints its addresses as one JSON line; /_simulator/bill says what was paid for, and how often.

    \b
    engine simulate --scenario hostile
    engine run jobs.jsonl --set provider.preset=simulator --set provider.base_url=http://127.0.0.1:8642
    """
    import asyncio

    asyncio.run(_serve(port, scenario, seed, overrides))


async def _serve(port: int, name: str, seed: int | None, overrides: tuple[str, ...]) -> None:
    import asyncio
    import os
    import signal

    from engine.errors import UsageError
    from engine.settings import setting_of_override
    from engine.simulator import Scenario, ScenarioError, Simulator

    settings = [setting_of_override(text) for text in overrides]
    options = {setting.key.rstrip("."): setting.value for setting in settings}
    if seed is not None:
        options["seed"] = seed
    try:
        scenario = Scenario.load(name, options)
    except ScenarioError as error:
        raise UsageError(str(error), hint=f"the built-in scenarios are {', '.join(Scenario.names())}") from error
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        async with Simulator(scenario, port=port) as simulator:
            _announce(simulator, name)
            await ended.wait()
    except OSError as error:
        raise UsageError(
            f"port {port} on the loopback address cannot be used ({os.strerror(error.errno or 0)})",
            hint="choose another with --port",
        ) from error


def _announce(simulator: Simulator, name: str) -> None:
    import orjson

    addresses = {
        "base_url": simulator.base_url,
        "history_url": simulator.history_url,
        "media_url": simulator.media_url,
        "bill_url": f"{simulator.base_url}/_simulator/bill",
    }
    click.echo(orjson.dumps(addresses).decode())
    say(f"simulating scenario {name!r}; Ctrl-C ends it. In another terminal:")
    say(f"  engine run jobs.jsonl --set provider.preset=simulator --set provider.base_url={simulator.base_url}")
