"""Calls that may block for ever do not keep anybody."""

from __future__ import annotations

import asyncio
import threading

import pytest

from engine.disk.detached import run_detached


async def test_values_and_errors_come_back() -> None:
    assert await run_detached("adds", lambda a, b: a + b, 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await run_detached("divides", lambda: 1 // 0)


async def test_it_runs_in_a_daemon_thread_of_its_own_name() -> None:
    thread = await run_detached("input-pipe", threading.current_thread)
    assert (thread.name, thread.daemon) == ("input-pipe", True)


def test_a_call_that_outlives_the_loop_is_let_go_in_silence() -> None:
    gate = threading.Event()
    threads: list[threading.Thread] = []

    def block() -> None:
        threads.append(threading.current_thread())
        gate.wait(10)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await run_detached("blocked", block)

    asyncio.run(give_up())
    gate.set()
    threads[0].join(10)
    assert not threads[0].is_alive()
