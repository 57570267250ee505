"""An event loop that jumps to the next timer when nothing is ready, so that a night passes in a second.

What happens on it depends on the order of events alone, never on the speed of the machine. The loop lands a
hair behind each timer: a limiter woken at the exact instant may find itself 2e-16 short, for ever. Meant for
code without threads; where one is used all the same, the loop waits for it in real time only while no timer
is set.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")

EPOCH_UTC = 1_767_225_600.0
"""2026-01-01T00:00:00Z: what ``utc()`` says when the loop's clock says 0."""

HAIR_S = 1e-7
PATIENCE_S = 5.0
TURNS_AT_ONCE_MAX = 10_000


class _JumpingSelector(selectors.DefaultSelector):
    """Moves a clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._turns_at_once = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            ready = super().select(PATIENCE_S)
            if not ready:
                raise RuntimeError("nothing can ever happen again: no timer is set and nobody is ready")
            return ready
        self._turns_at_once = 0 if timeout > 0 else self._turns_at_once + 1
        if timeout > 0:
            self.now_s += timeout + HAIR_S
        elif self._turns_at_once > TURNS_AT_ONCE_MAX:
            # A timer whose delay is too small to change the time would wake at this instant for ever.
            self._turns_at_once = 0
            self.now_s += HAIR_S
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, from 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class VirtualClock:
    """The clock of the running loop; ``jump_s`` moves its UTC as a person who sets the machine's clock does."""

    def __init__(self) -> None:
        self.jump_s = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> float:
        return EPOCH_UTC + self.now() + self.jump_s

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


def run_virtual(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on virtual time; fail if it leaves a task behind."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_leaving_nothing(main))


async def _leaving_nothing(main: Coroutine[Any, Any, None]) -> None:
    await main
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks are left running: {sorted(task.get_name() for task in left)}"


def on_virtual_clock(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test coroutine a test that runs on virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run
