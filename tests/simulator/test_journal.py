from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from engine.simulator import JournalError, Scenario, Simulator
from engine.simulator.journal import Journal, Staff, TopUp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from engine.simulator.journal import Line
    from tests.simulator.conftest import SkippingClock

    Ask = Callable[..., Awaitable[Any]]
    Skip = Callable[[float], None]
    Process = Callable[..., AbstractAsyncContextManager[tuple[Simulator, aiohttp.ClientSession]]]

HEADERS = {"x-api-key": "SG_0123456789abcdef"}
PRICE_USD = 4.475
pytestmark = pytest.mark.sockets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "provider.jsonl"


@pytest.fixture
def process(path: Path, clock: SkippingClock) -> Process:
    """One process of the provider after another, all with one journal; jobs take ten seconds each."""

    @asynccontextmanager
    async def running(**overrides: object) -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
        knobs: dict[str, object] = {"work.duration_median_s": 10, "work.duration_sigma": 0}
        knobs |= {key.replace("__", "."): value for key, value in overrides.items()}
        async with (
            Simulator(Scenario.load("calm", knobs), clock=clock, journal=path) as simulator,
            aiohttp.ClientSession(simulator.base_url, headers=HEADERS) as session,
        ):
            yield simulator, session
            bill = simulator.bill(with_bodies=False)
            assert not bill.internal_errors, bill.last_internal_error

    return running


@pytest.fixture
def submitted(ask: Ask, model: str, body: dict[str, str]) -> Callable[..., Awaitable[str]]:
    async def submitted_id(session: aiohttp.ClientSession, prompt: str = "hello") -> str:
        reply = await ask(session, "POST", f"/v2/{model}", json={**body, "prompt": prompt})
        assert reply.status == 200
        return str(reply.json["request_id"])

    return submitted_id


@pytest.fixture
def result(ask: Ask) -> Callable[[aiohttp.ClientSession, str], Awaitable[Any]]:
    async def asked(session: aiohttp.ClientSession, request_id: str) -> Any:
        return (await ask(session, "GET", f"/v2/requests/{request_id}")).json

    return asked


async def test_a_restart_keeps_addresses_ids_and_the_bill(
    process: Process, submitted: Any, result: Any, skip: Skip
) -> None:
    async with process() as (simulator, session):
        ids = [await submitted(session, prompt) for prompt in ("a", "b", "a")]
        before, addresses = simulator.bill(), (simulator.base_url, simulator.media_url)
        history = await _history(session)
    async with process() as (simulator, session):
        after = simulator.bill()
        assert (simulator.base_url, simulator.media_url) == addresses
        assert after.bodies == before.bodies
        assert (after.accepted, after.paid, after.in_flight, after.in_flight_max) == (3, 0, 3, 3)
        assert await _history(session) == history
        assert [(await result(session, request_id))["status"] for request_id in ids] == ["PROCESSING"] * 3
    skip(10)
    for _ in range(2):
        async with process() as (simulator, _):
            bill = simulator.bill()
            assert (bill.accepted, bill.paid, bill.in_flight, bill.paid_surplus) == (3, 3, 0, 1)
            assert bill.billed_usd == pytest.approx(3 * PRICE_USD)
            await simulator.idle()


async def test_a_file_is_the_same_at_the_same_url_after_a_restart(
    process: Process, submitted: Any, result: Any, skip: Skip, ask: Ask
) -> None:
    contents = []
    async with process() as (_, session):
        request_id = await submitted(session)
    skip(10)
    async with process() as (_, session):
        reply = await result(session, request_id)
    async with process(seed=2) as (_, session):
        assert await result(session, request_id) == reply
    for _ in range(2):
        async with process() as (_, session):
            contents.append(sha256((await ask(session, "GET", reply["output"])).content).hexdigest())
    assert contents[0] == contents[1]
    assert request_id in reply["output"]


async def test_a_job_that_ended_while_nobody_was_there_ended_at_its_time(
    process: Process, submitted: Any, result: Any, skip: Skip
) -> None:
    async with process(work__workers=1) as (_, session):
        ids = [await submitted(session, prompt) for prompt in "abc"]
    skip(25)
    async with process(work__workers=1) as (simulator, session):
        first, second, third = [await result(session, request_id) for request_id in ids]
        assert (first["status"], second["status"], third["status"]) == ("COMPLETED", "COMPLETED", "PROCESSING")
        assert first["metrics"]["queue_time"] == pytest.approx(0, abs=0.2)
        assert second["metrics"]["queue_time"] == pytest.approx(10, abs=0.2)
        assert second["metrics"]["inference_time"] == 10
        assert second["metrics"]["remaining_credits"] == 1_000_000 - 2 * PRICE_USD
        assert simulator.bill().in_flight == 1


async def test_a_running_job_goes_on_with_what_remains_and_a_waiting_one_after_it(
    process: Process, submitted: Any, result: Any, skip: Skip
) -> None:
    async with process(work__workers=1) as (_, session):
        running, waiting = [await submitted(session, prompt) for prompt in "ab"]
    skip(9.5)
    async with process(work__workers=1) as (simulator, session):
        assert (await result(session, running))["status"] == "PROCESSING"
        assert (await result(session, waiting))["status"] == "QUEUED"
        async with asyncio.timeout(5):
            await simulator._world.ended(simulator._world.jobs[running])
        assert (await result(session, running))["metrics"]["inference_time"] == pytest.approx(10, abs=0.3)
        assert (await result(session, waiting))["status"] == "PROCESSING"


async def test_more_workers_after_a_restart_change_nothing_of_the_past(
    process: Process, submitted: Any, result: Any, skip: Skip
) -> None:
    async with process(work__workers=1) as (simulator, session):
        ids = [await submitted(session, prompt) for prompt in "abcd"]
        skip(5)
        simulator.change({"work.workers": 2})
    skip(6)  # b began at 5 s, and c at 10 s, when a ended
    async with process(work__workers=9) as (_, session):
        assert [(await result(session, name))["status"] for name in ids] == ["COMPLETED", *["PROCESSING"] * 3]
    skip(6)
    async with process(work__workers=1) as (simulator, session):
        assert [(await result(session, name))["status"] for name in ids] == [*["COMPLETED"] * 2, *["PROCESSING"] * 2]
        assert simulator.bill().in_flight == 2


async def test_fates_once_drawn_outlive_a_change_of_the_scenario(
    process: Process, submitted: Any, result: Any, skip: Skip
) -> None:
    async with process(faults__failed_job=1) as (_, session):
        failed = await submitted(session, "fails")
    async with process(faults__stuck_job=1, seed=2) as (_, session):
        stuck = await submitted(session, "sticks")
    async with process(credits__price_usd=7) as (_, session):
        dear = await submitted(session, "dear")
    skip(60)
    async with process(seed=3) as (simulator, session):
        states = [(await result(session, name))["status"] for name in (failed, stuck, dear)]
        bill = simulator.bill()
        assert states == ["FAILED", "PROCESSING", "COMPLETED"]
        assert (bill.paid, bill.failed, bill.in_flight, bill.billed_usd) == (1, 1, 1, 7)
        assert bill.faults == {"failed_job": 1, "stuck_job": 1}


async def test_a_body_submitted_again_after_a_restart_is_a_new_job(process: Process, submitted: Any) -> None:
    async with process() as (_, session):
        first = await submitted(session)
    async with process() as (simulator, session):
        second = await submitted(session)
        (account,) = simulator.bill().bodies
    assert (account.attempts, account.accepted, account.request_ids) == (2, 2, [first, second])
    assert first != second


async def test_credits_and_the_record_s_life_are_counted_from_the_original_submit(
    process: Process, submitted: Any, ask: Ask, skip: Skip
) -> None:
    knobs = {"credits__start_usd": 5, "faults__stuck_job": 1}
    async with process(**knobs) as (simulator, session):
        request_id = await submitted(session)
        simulator.add_credits(4)
        assert (await ask(session, "POST", "/_simulator/credits", json={"add": 0.5})).status == 200
    skip(3595)
    async with process(**knobs) as (simulator, session):
        assert (await ask(session, "GET", "/v1/get-user-credits")).json["credits"] == 9.5
        assert simulator._world.credits.reserved_usd == PRICE_USD
        assert (await ask(session, "GET", f"/v2/requests/{request_id}")).status == 200
        skip(5)
        assert (await ask(session, "GET", f"/v2/requests/{request_id}")).status == 404


async def test_the_plan_s_window_is_remembered(
    *, process: Process, submitted: Any, ask: Ask, model: str, body: dict[str, str], skip: Skip
) -> None:
    async with process(rate__requests_per_window=1) as (_, session):
        await submitted(session)
    async with process(rate__requests_per_window=1) as (_, session):
        assert (await ask(session, "POST", f"/v2/{model}", json=body)).status == 429
        skip(60)
        await submitted(session)


async def test_a_torn_last_line_is_cut_off_and_the_next_line_is_whole(
    process: Process, submitted: Any, path: Path
) -> None:
    async with process() as (_, session):
        await submitted(session, "kept")
        whole = _read(path)
        await submitted(session, "torn")
    _write(path, _read(path)[:-7])
    async with process() as (simulator, session):
        assert simulator.bill().accepted == 1
        assert _read(path).startswith(whole)
        await submitted(session, "after")
    async with process() as (simulator, _):
        assert [account.body["prompt"] for account in simulator.bill().bodies] == ["kept", "after"]


@pytest.mark.parametrize("content", [b"a shopping list", b"a shopping list\n", b'{"type":"staff"}\n'])
async def test_a_file_that_is_something_else_is_refused_and_left_alone(
    process: Process, path: Path, content: bytes
) -> None:
    _write(path, content)
    with pytest.raises(JournalError, match=r"line 1 of .* is not the journal's"):
        async with process():
            pass
    assert _read(path) == content


async def test_a_journal_belongs_to_one_simulator_at_a_time(process: Process) -> None:
    async with process():
        with pytest.raises(JournalError, match="in use by another simulator"):
            async with process():
                pass


async def test_busy_ports_give_way_to_others_and_return_when_they_are_free(
    process: Process, submitted: Any, result: Any, skip: Skip
) -> None:
    async with process() as (simulator, session):
        request_id = await submitted(session)
        addresses = simulator.base_url, simulator.media_url
    skip(10)
    with socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))):
        async with process() as (simulator, session):
            reply = await result(session, request_id)
            assert simulator.base_url == addresses[0]
            assert simulator.media_url != addresses[1]
            assert reply["output"].startswith(simulator.media_url)
    async with process() as (simulator, _):
        assert (simulator.base_url, simulator.media_url) == addresses


async def test_what_cannot_be_written_down_is_not_accepted(
    *, process: Process, ask: Ask, model: str, body: dict[str, str], monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    real_write = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 200:
            raise OSError(28, "No space left on device")
        return real_write(fd, bytes(data)[:-100])

    async with process() as (simulator, session):
        before = _read(path)
        with monkeypatch.context() as full_disk:
            full_disk.setattr("engine.simulator.journal.os.write", half)
            assert (await ask(session, "POST", f"/v2/{model}", json=body)).status == 500
        bill = simulator.bill()
        assert (bill.accepted, bill.in_flight, bill.internal_errors) == (0, 0, 1)
        assert _read(path) == before
        simulator._world.books.counts["internal_errors"] = 0


async def test_the_same_object_can_be_started_again(path: Path, model: str, body: dict[str, str], ask: Ask) -> None:
    simulator = Simulator(Scenario.load("calm"), journal=path)
    for _ in range(2):
        async with simulator, aiohttp.ClientSession(simulator.base_url, headers=HEADERS) as session:
            await ask(session, "POST", f"/v2/{model}", json=body)
    assert simulator.bill().accepted == 2


def test_lines_come_back_as_they_were_written(path: Path) -> None:
    journal = Journal(path)
    lines: list[Line] = [TopUp(at_utc=0.1, amount_usd=1 / 3), Staff(at_utc=2e9, workers=7)]
    journal.open()
    assert list(journal.lines()) == []
    for line in lines:
        journal.write(line)
    assert list(journal.lines()) == lines
    journal.close()
    assert path.read_bytes().count(b"\n") == 2


_PROCESS = """
import asyncio, sys
from pathlib import Path
from engine.simulator import Scenario, Simulator

async def main():
    async with Simulator(Scenario.load("calm", {"work.duration_median_s": 0.3}), journal=Path(sys.argv[1])) as provider:
        print(provider.base_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.processes
async def test_a_killed_process_forgets_no_job_that_it_answered(path: Path, submitted: Any) -> None:
    ids: set[str] = set()
    addresses = set()
    for turn in range(3):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROCESS, str(path), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        try:
            addresses.add(address := (await child.stdout.readline()).decode().strip())
            async with aiohttp.ClientSession(address, headers=HEADERS) as session:
                ids |= {await submitted(session, f"{turn}.{number}") for number in range(10)}
        finally:
            child.send_signal(signal.SIGKILL)
            await child.wait()
    async with Simulator(Scenario.load("calm"), journal=path) as simulator:
        async with asyncio.timeout(5):
            await simulator.idle()
        bill = simulator.bill()
        assert {name for account in bill.bodies for name in account.request_ids} == ids
        assert (bill.accepted, bill.paid, bill.paid_surplus) == (30, 30, 0)
        assert {simulator.base_url} == addresses


async def _history(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    async with session.get("/inference-request/request-history") as response:
        return list(orjson.loads(await response.read())["data"])


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
