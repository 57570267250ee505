"""What a fleet would be worth: whether it lets us in, fits us, sees the storage, and how quick that is from each node.

Downloads nothing: a few megabytes are written to the storage by each node and read again, and leave nothing behind.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from engine.clock import SystemClock
from engine.doctor.check import Check, ok, problem, warning
from engine.errors import ExitCode
from engine.fleet.fleet import Storage, opening
from engine.fleet.marker import marked
from engine.fleet.messages import Joined, Left, Measure, Measured, Opened, Refused, Unusable
from engine.fleet.process import COMMAND, BridgeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from engine.fleet.address import FleetAddress
    from engine.fleet.messages import Event

FLEET_S_MAX = 150.0
"""Ray takes seconds to start, a minute to give an address up, and each node starts a worker."""
MEASURED_BYTES = 8 * 1024**2
SLOW_BYTES_PER_S = 20e6
HINTS = {
    "address": "see that the cluster runs and can be reached: ray status",
    "version": "install the same Ray and the same minor version of Python here and on every node",
    "token": "give this machine the cluster's token: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token",
    "ray": "see what Ray says in the directory of its session, /tmp/ray/session_latest/logs",
    "engine": "install the same version of the engine on every node: pip install 'media-batch-engine[ray]'",
    "storage": "mount it there at the same path, or name another directory in storage.root",
    "disk": "free some space there",
}
NAMES = ("fleet", "fleet_token")


async def fleet(
    address: FleetAddress, place: Path, *, environment: Mapping[str, str], command: Sequence[str] = COMMAND
) -> list[Check]:
    """Join a fleet, look at every node, and leave it again.

    Args:
        address: where it is.
        place: a directory on the storage.
        environment: what the bridge may see; no key.
        command: what to start as the bridge.
    """
    events: asyncio.Queue[Event] = asyncio.Queue()
    bridge = BridgeProcess(
        environment=environment,
        clock=SystemClock(),
        rng=random.Random(),  # noqa: S311 (spreads retries; guards nothing)
        log=structlog.wrap_logger(structlog.ReturnLogger(), processors=[_dropped]),
        on_event=events.put_nowait,
        on_down=lambda reason: events.put_nowait(Unusable(cause="ray", message=f"the bridge to it is gone: {reason}")),
        command=command,
    )
    storage = Storage(media=place, path_prefix="", places=1, allow_private_hosts=False, bytes_max=1, reserve_bytes=0)
    with marked(place) as marker:
        keeping = asyncio.create_task(bridge.run(opening(address, storage, marker)), name="fleet-bridge")
        try:
            async with asyncio.timeout(FLEET_S_MAX):
                return await _Look(address, place, bridge.send).all(events)
        except TimeoutError:
            return [problem(name, f"not done within {FLEET_S_MAX:.0f} s", HINTS["address"]) for name in NAMES]
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping


class _Look:
    """Follows the events of one fleet until every node is judged."""

    def __init__(self, address: FleetAddress, place: Path, send: Callable[[Measure], None]) -> None:
        self._address = address
        self._place = place
        self._send = send
        self._names: dict[str, str] = {}

    async def all(self, events: asyncio.Queue[Event]) -> list[Check]:
        checks: list[Check] = []
        nodes, expected = 0, 1
        while nodes < expected:
            match event := await events.get():
                case Unusable():
                    name = "fleet_token" if event.cause == "token" else "fleet"
                    said = f"no fleet at {self._address.text}: {event.message}"
                    return [*checks, problem(name, said, HINTS[event.cause], ExitCode.SOME_FAILED)]
                case Opened():
                    expected = max(1, event.workers)
                    checks += self._opened(event)
                case Joined(worker=worker, name=name):
                    self._names[worker] = name
                    self._send(Measure(worker=worker, bytes=MEASURED_BYTES))
                case Refused() | Measured():
                    nodes += 1
                    checks.append(self._node(event))
                case Left(worker=worker, reason=reason) if worker in self._names:
                    nodes += 1
                    checks.append(problem("fleet_node", f"{self._names[worker]}: {reason}", HINTS["ray"]))
                case _:
                    pass
        return checks

    def _opened(self, event: Opened) -> list[Check]:
        members = self._address.members if event.workers != 1 else self._address.members[:-1]
        said = f"{self._address.text}: Ray {event.ray}, Python {event.python}, {event.workers} {members}"
        checks = [ok("fleet", said)]
        if event.secured:
            checks.append(ok("fleet_token", "the cluster asks for a token, and ours is accepted"))
        else:
            hint = "start every node with RAY_AUTH_MODE=token, in a private network"
            message = "it asks nobody for a token: whoever reaches it can run programs on its nodes"
            checks.append(warning("fleet_token", message, hint))
        return checks

    def _node(self, event: Refused | Measured) -> Check:
        name = "fleet_node"
        if isinstance(event, Refused):
            return problem(name, f"{event.name}: {event.message}", HINTS[event.cause])
        node = self._names[event.worker]
        if event.error:
            return problem(name, f"{node}: {event.error}", HINTS["disk"])
        said = (
            f"{node}: sees {self._place}, writes {event.write_bytes_per_s / 1e6:,.0f} MB/s,"
            f" reads {event.read_bytes_per_s / 1e6:,.0f} MB/s"
        )
        if event.write_bytes_per_s < SLOW_BYTES_PER_S:
            return warning(name, said, "its downloads cannot be quicker than that")
        return ok(name, said)


def _dropped(_logger: object, _method: str, _event: object) -> str:
    raise structlog.DropEvent
