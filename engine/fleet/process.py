"""Keeps the bridge running: starts it, hands its events on, starts it again with growing pauses when it ends.

Orders that cannot be delivered are dropped: who gave one learns from ``on_down`` that nobody will answer. Ends the
child by its id, never by its name. Knows nothing of what orders and events mean, but for a sign of life.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from engine.backoff import backoff_s
from engine.fleet.messages import LINE_BYTES_MAX, Opened, Unusable, encoded, event_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.fleet.messages import Event, Open, Order

COMMAND = (sys.executable, "-m", "engine.fleet.bridge")
OPEN_S_MAX = 120.0
"""Ray takes seconds to start, and a minute to find that nobody answers."""
SILENCE_S_MAX = 30.0
AGAIN_FIRST_S = 2.0
AGAIN_S_MAX = 60.0
LEAVE_S = 10.0
"""What a bridge gets to leave the fleet before it is ended."""
LAST_WORDS = 5
FINAL = frozenset({"version", "token"})
"""Causes that no other start can mend."""


class BridgeProcess:
    """The bridge as the coordinator has it.

    Args:
        environment: what it and the workers on this machine may see; no key.
        on_event: called with each event.
        on_down: called with a reason whenever a bridge is gone: nothing that it was asked will be answered.
        command: what to start.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        clock: Clock,
        rng: random.Random,
        log: FilteringBoundLogger,
        on_event: Callable[[Event], None],
        on_down: Callable[[str], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._environment = dict(environment)
        self._clock = clock
        self._rng = rng
        self._log = log
        self._on_event = on_event
        self._on_down = on_down
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._is_open = False
        self._final = False
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)

    @property
    def pid(self) -> int | None:
        """The process id of the bridge; None while there is none."""
        return self._process.pid if self._process is not None else None

    def send(self, order: Order) -> None:
        """Hand an order over; dropped if there is no bridge."""
        stdin = self._process.stdin if self._process is not None else None
        if stdin is not None and not stdin.is_closing():
            stdin.write(encoded(order))

    async def run(self, order: Open) -> None:
        """Keep a bridge running until cancelled, or until one says that there is no use in another.

        Args:
            order: what each new bridge is told first.
        """
        failures = 0
        while not self._final:
            began_at, self._is_open = self._clock.now(), False
            reason = await self._one(order)
            failures = 1 if self._is_open and self._clock.now() - began_at > AGAIN_S_MAX else failures + 1
            self._on_down(reason)
            words = self._last_words[-1] if self._last_words else ""
            self._log.warning("fleet_bridge_ended", reason=reason, last_words=words)
            if not self._final:
                await self._clock.sleep(
                    backoff_s(failures, first_s=AGAIN_FIRST_S, max_s=AGAIN_S_MAX, rng=self._rng) + AGAIN_FIRST_S / 2
                )

    async def _one(self, order: Open) -> str:
        """Start a bridge, follow it to its end, and return why it ended."""
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
                env=self._environment,
                start_new_session=True,  # a Ctrl-C at the terminal is for the coordinator, which still has to harvest
            )
        except OSError as error:
            return f"it could not be started ({error.strerror})"
        listening = asyncio.create_task(self._listen(process), name="fleet-last-words")
        self.send(order)
        try:
            return await self._follow(process)
        finally:
            await _end(process, at_once=not self._is_open)
            self._process = None
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _follow(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        while True:
            limit_s = SILENCE_S_MAX if self._is_open else OPEN_S_MAX
            try:
                async with asyncio.timeout(limit_s):
                    line = await process.stdout.readline()
            except TimeoutError:
                return f"it said nothing for {limit_s:.0f} s"
            except ValueError:
                return "it said more than a line can hold"
            if not line:
                return "it ended"
            try:
                event = event_of(line)
            except msgspec.MsgspecError as error:
                return f"it said what nobody understands ({error})"
            match event:
                case Opened():
                    self._is_open = True
                case Unusable():
                    self._final = event.cause in FINAL
            self._on_event(event)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while True:
            with suppress(ValueError):  # a longer line than any that says something
                line = await process.stderr.readline()
                if not line:
                    return
                if words := line.decode(errors="replace").strip():
                    self._last_words.append(words[:500])


async def _end(process: asyncio.subprocess.Process, *, at_once: bool) -> None:
    """Have a bridge leave its fleet; if it does not, or is in none yet and hears nothing while it joins, end it."""
    if process.stdin is not None:
        process.stdin.close()
    if at_once and process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
    for end in (process.terminate, process.kill):
        try:
            async with asyncio.timeout(LEAVE_S):
                await _drained(process)
                return
        except TimeoutError:
            with suppress(ProcessLookupError):
                end()
    await process.wait()


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Wait for a process while what it still says is thrown away: a full pipe would keep it from ending."""
    assert process.stdout is not None
    while await process.stdout.read(LINE_BYTES_MAX):
        pass
    await process.wait()
