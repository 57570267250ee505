from __future__ import annotations

import ast
import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import engine.simulator
from engine.simulator import Scenario, Simulator

Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
Ask = Callable[..., Awaitable[Any]]
Finished = Callable[[Simulator, aiohttp.ClientSession], Awaitable[str]]

HOME = Path(engine.simulator.__file__).parent


@pytest.mark.sockets
async def test_it_starts_on_free_ports_of_the_loopback_address_and_closes_them_again() -> None:
    async with Simulator(Scenario.load("demo")) as simulator:
        assert simulator.base_url.startswith("http://127.0.0.1:")
        assert simulator.history_url == f"{simulator.base_url}/inference-request"
        port = int(simulator.base_url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()


def test_the_urls_are_unknown_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = Simulator(Scenario.load()).base_url


@pytest.mark.sockets
async def test_a_taken_port_is_an_error_that_leaves_nothing_open() -> None:
    async with Simulator(Scenario.load()) as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await Simulator(Scenario.load(), media_port=port).start()


@pytest.mark.sockets
async def test_it_says_nothing(
    *,
    simulate: Simulate,
    ask: Ask,
    finished: Finished,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    simulator, session = await simulate({"faults.poll_lost": 1})
    request_id = await finished(simulator, session)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await ask(session, "GET", f"/v2/requests/{request_id}")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.base_url.rpartition(":")[2]))
    writer.write(b"this is not HTTP\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.sockets
async def test_it_can_refuse_connections_for_a_while_and_comes_back_on_the_same_port(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate()
    request_id = await finished(simulator, session)
    await simulator.refuse_connections()
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(session, "GET", f"/v2/requests/{request_id}")
    await simulator.accept_connections()
    assert (await ask(session, "GET", f"/v2/requests/{request_id}")).status == 200


@pytest.mark.sockets
async def test_stopping_does_not_wait_for_a_stalled_reply(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"faults.reply_stalled": 1})
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:

        async def submitted() -> None:
            with pytest.raises(aiohttp.ClientError):
                await ask(session, "POST", f"/v2/{model}", json=body)

        tasks.create_task(submitted())
        await asyncio.sleep(0.3)
        assert simulator.bill().accepted == 1
        await simulator.stop()


@pytest.mark.sockets
async def test_two_hundred_clients_connect_at_once(simulate: Simulate, model: str, body: dict[str, str]) -> None:
    simulator, _ = await simulate()

    async def submitted(number: int) -> int:
        connector = aiohttp.TCPConnector(force_close=True)
        headers = {"x-api-key": "SG_0123456789abcdef"}
        async with (
            aiohttp.ClientSession(simulator.base_url, connector=connector, headers=headers) as session,
            session.post(f"/v2/{model}", json={**body, "prompt": str(number)}) as response,
        ):
            return response.status

    async with asyncio.timeout(10):
        assert set(await asyncio.gather(*map(submitted, range(200)))) == {200}
    assert simulator.bill().accepted == 200


@pytest.mark.sockets
async def test_the_demo_gets_24_jobs_done_in_eight_seconds_with_eight_in_flight(
    model: str, body: dict[str, str]
) -> None:
    scenario = Scenario.load("demo")
    durations = [simulator_duration_s(scenario, model, {**body, "prompt": str(number)}) for number in range(24)]
    workers = [0.0] * min(8, scenario.work.workers)
    for duration_s in durations:
        workers.sort()
        workers[0] += duration_s
    assert 4 < max(workers) < 7.5


def simulator_duration_s(scenario: Scenario, model: str, body: dict[str, str]) -> float:
    world = Simulator(scenario)._world
    account = world.books.account_of(model, dict(body))
    return world._new_job(account, dict(body), 0).duration_s


def test_it_imports_nothing_from_the_rest_of_the_engine() -> None:
    foreign = set()
    for path in sorted(HOME.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            foreign |= {name for name in names if name.split(".")[0] == "engine" and "simulator" not in name}
    assert foreign == set()


@pytest.mark.processes
def test_importing_the_package_loads_no_web_server() -> None:
    code = "import sys, engine.simulator; print('aiohttp' in sys.modules, 'msgspec' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert ran.stdout == "False False\n"


def test_every_exported_name_is_there_and_no_other() -> None:
    assert all(getattr(engine.simulator, name) is not None for name in engine.simulator.__all__)
    with pytest.raises(AttributeError):
        _ = engine.simulator.Nothing
