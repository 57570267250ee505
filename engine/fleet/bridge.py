"""The child process that speaks to Ray, so that the coordinator does not have to: ``python -m engine.fleet.bridge``.

Orders come in on stdin, events go out on stdout, one line each. It watches which nodes are alive, keeps a worker on
each, and passes files on to them; it decides nothing. Ray ends its driver about a minute after the head of a cluster
is gone: here that ends a process which is started again, and not the run. It ends by itself when stdin does.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import AuthenticationError, RayActorError, RayError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.fleet.address import AUTO
from engine.fleet.messages import (
    LINE_BYTES_MAX,
    Alive,
    Broken,
    Cancel,
    Dismiss,
    Fetch,
    Joined,
    Left,
    Measure,
    Measured,
    Open,
    Opened,
    Refused,
    Replace,
    Unusable,
    encoded,
    order_of,
)
from engine.fleet.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.fleet.messages import Cause, Event, Order

ALIVE_S = 2.0
LOOK_S = 1.0
ANSWER_S_MAX = 60.0
"""A worker that does not say within this time what it sees is tried again later."""
AGAIN_S_MAX = 60.0
STORE_BYTES = 100 * 1024**2
"""Shared memory of a private fleet: no file goes through it."""
SPARE_CALLS = 8
"""What a worker is asked beside its downloads."""
KNOCK_S_MAX = 10.0
SHORT_ID = 12


class Bridge:
    """One driver of Ray and its workers."""

    def __init__(self, order: Open, out: int) -> None:
        self._order = order
        self._out = out
        self._actors: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._calls: dict[int, Any] = {}
        self._starts: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._dismissed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, event: Event) -> None:
        """Write one event; a coordinator that reads no more ends us by closing stdin."""
        left = memoryview(encoded(event))
        while left:
            left = left[os.write(self._out, left) :]

    async def run(self, orders: asyncio.StreamReader) -> None:
        """Work until there are no more orders."""
        found = await asyncio.to_thread(self._places)
        self.say(
            Opened(
                ray=ray.__version__,
                python=platform.python_version(),
                secured=self._order.workers is not None or asks_for_token(),
                workers=len(found),
            )
        )
        watching = [asyncio.create_task(self._watch(), name="watch"), asyncio.create_task(self._live(), name="alive")]
        try:
            while line := await orders.readline():
                self._obey(order_of(line))
        finally:
            for task in watching:
                task.cancel()

    def _obey(self, order: Order) -> None:
        match order:
            case Fetch():
                self._begin(self._fetch(order), f"fetch-{order.id}")
            case Measure():
                self._begin(self._measure(order), f"measure-{order.worker}")
            case Cancel(id=number):
                if number in self._calls:
                    ray.cancel(self._calls[number], recursive=False)
            case Replace(worker=worker):
                self._end(worker, "it did not answer")
            case Dismiss(worker=worker):
                self._dismissed.add(worker)
                self._end(worker, "it is not used any more")
            case _:
                raise ValueError(f"no order for a fleet that is open: {type(order).__name__}")

    def _begin(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- workers ----------------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            self.say(Alive())
            await asyncio.sleep(ALIVE_S)

    async def _watch(self) -> None:
        """Keep a worker on every node that is alive."""
        while True:
            with suppress(RayError, ConnectionError, TimeoutError):  # the head is away; it may come back
                places = await asyncio.to_thread(self._places)
                for worker, (node, name) in places.items():
                    if worker not in self._actors and worker not in self._dismissed and self._may_start(worker):
                        self._actors[worker] = self._actor(node)
                        self._names[worker] = name
                        self._begin(self._look(worker), f"look-{worker}")
                for worker in self._actors.keys() - places.keys():
                    self._end(worker, "its node is gone")
            await asyncio.sleep(LOOK_S)

    def _may_start(self, worker: str) -> bool:
        """Whether a worker's turn has come; one that keeps ending is started less and less often."""
        now = asyncio.get_running_loop().time()
        if now < self._not_before.get(worker, 0.0):
            return False
        self._not_before[worker] = now + min(AGAIN_S_MAX, LOOK_S * 2 ** self._starts[worker])
        self._starts[worker] += 1
        return True

    def _places(self) -> dict[str, tuple[str, str]]:
        """Return where a worker should be: the node's id and its name, by the name of the worker."""
        nodes = [(node["NodeID"], node["NodeManagerHostname"], node["NodeManagerAddress"]) for node in alive_nodes()]
        if self._order.workers is not None:
            return {f"worker-{n + 1}": (nodes[0][0], f"worker-{n + 1}") for n in range(self._order.workers) if nodes}
        return {node[:SHORT_ID]: (node, f"{host} ({address})") for node, host, address in nodes}

    def _actor(self, node: str) -> Any:
        return (
            ray.remote(Worker)
            .options(
                num_cpus=0,
                max_concurrency=self._order.places + SPARE_CALLS,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self._order)
        )

    async def _look(self, worker: str) -> None:
        """Ask a new worker what it sees, and say what follows."""
        actor, name = self._actors[worker], self._names[worker]
        try:
            version, sees = await asyncio.wait_for(_answer(actor.look.remote()), ANSWER_S_MAX)
        except (RayError, TimeoutError, OSError) as error:
            if "No module named" in str(error) or "failed to be imported" in str(error):
                message = f"no engine {self._order.engine} can be loaded there"
                self._refuse(Refused(worker=worker, name=name, cause="engine", message=message))
            else:
                self._end(worker, f"it did not start ({type(error).__name__})", actor=actor)
            return
        if version != self._order.engine:
            message = f"engine {version} is installed there, {self._order.engine} here"
            self._refuse(Refused(worker=worker, name=name, cause="engine", message=message))
        elif not sees:
            message = f"it does not see {self._order.media_dir}; storage.root must be a directory that all nodes mount"
            self._refuse(Refused(worker=worker, name=name, cause="storage", message=message))
        elif self._actors.get(worker) is actor:
            self.say(Joined(worker=worker, name=name))

    def _refuse(self, refused: Refused) -> None:
        self._dismissed.add(refused.worker)
        self._end(refused.worker, refused.message)
        self.say(refused)

    def _end(self, worker: str, reason: str, *, actor: Any = None) -> None:
        """Forget a worker; the next look puts another in its place if its node is alive and was not dismissed."""
        if worker not in self._actors or (actor is not None and self._actors[worker] is not actor):
            return
        with suppress(RayError, ValueError):
            ray.kill(self._actors.pop(worker))
        self.say(Left(worker=worker, reason=reason))

    # --- files ------------------------------------------------------------------------------------

    async def _fetch(self, order: Fetch) -> None:
        actor = self._actors.get(order.worker)
        if actor is None:
            self.say(Broken(id=order.id, reason="the worker is gone"))
            return
        try:
            self._calls[order.id] = call = actor.fetch.remote(order)
            self.say(await _answer(call))
        except TaskCancelledError:
            self.say(Broken(id=order.id, reason="it was called off"))
        except RayActorError:
            self.say(Broken(id=order.id, reason="the worker died"))
            self._end(order.worker, "it died", actor=actor)
        except (RayError, OSError) as error:
            self.say(Broken(id=order.id, reason=f"the worker broke ({type(error).__name__})"))
        finally:
            self._calls.pop(order.id, None)

    async def _measure(self, order: Measure) -> None:
        try:
            self.say(await _answer(self._actors[order.worker].measure.remote(order.worker, order.bytes)))
        except (RayError, OSError, KeyError) as error:
            self.say(Measured(worker=order.worker, error=f"the worker broke ({type(error).__name__})"))


async def _answer(call: Any) -> Any:
    """Wait for what a worker returns."""
    return await call


def alive_nodes() -> list[dict[str, Any]]:
    """Return the nodes that are alive, in a fixed order; blocks."""
    return sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: str(node["NodeID"]))


def asks_for_token() -> bool:
    """Whether our Ray speaks with a token."""
    try:
        from ray._raylet import AuthenticationMode, get_authentication_mode  # noqa: PLC0415 (no public name says it)
    except ImportError:
        return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
    return bool(get_authentication_mode() == AuthenticationMode.TOKEN)


def join(order: Open) -> None:
    """Become a driver of the fleet; blocks.

    Raises:
        Exception: whatever Ray raises; see ``cause_of``.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if order.workers is None:
        address = os.environ.get("RAY_ADDRESS") or AUTO if order.address == AUTO else order.address
        _knock(address)
        ray.init(address=address, namespace="media-batch-engine", **quiet)
    else:
        os.environ.pop("RAY_ADDRESS", None)
        ray.init(
            address="local", num_cpus=order.workers, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet
        )


def _knock(address: str) -> None:
    """Make sure that somebody listens at an address; Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S_MAX).close()


def cause_of(error: Exception) -> tuple[Cause, str]:
    """Return why there is no fleet, and the sentence for it."""
    text = " ".join(str(error).split())
    if any(isinstance(found, AuthenticationError) or "InvalidAuthToken" in str(found) for found in _chain(error)):
        return "token", "the cluster asks for a token, and ours is missing or another"
    if "ersion mismatch" in text or "versions differ" in text:
        return "version", f"its Ray or Python is another than ours (Ray {ray.__version__}, Python {_python()}): {text}"
    if isinstance(error, OSError | ValueError) or "onnect" in text:
        return "address", f"no cluster answers there, or not to our token ({text[:200]})"
    return "ray", f"Ray could not be started ({type(error).__name__}: {text[:200]})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _python() -> str:
    return platform.python_version()


def _stdout_for_events() -> int:
    """Return a descriptor for events; whatever else writes to stdout goes to stderr from now on."""
    out = os.dup(1)
    os.dup2(2, 1)
    return out


async def _work(order: Open, out: int) -> None:
    loop, orders = asyncio.get_running_loop(), asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer)
    await Bridge(order, out).run(orders)


def main() -> None:
    """Join the fleet that the first order names, and serve it until stdin ends."""
    out = _stdout_for_events()
    # Unbuffered, so that nothing behind the first line is taken from the loop.
    first = bytearray()
    while not first.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return
        first += byte
    order = order_of(bytes(first))
    assert isinstance(order, Open), "the first order opens the fleet"
    try:
        join(order)
    except Exception as error:  # noqa: BLE001 (whatever it is, the coordinator goes on without a fleet)
        cause, message = cause_of(error)
        os.write(out, encoded(Unusable(cause=cause, message=message)))
        return
    try:
        asyncio.run(_work(order, out))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
