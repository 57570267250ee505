"""Run a call that may block for ever (a silent pipe, a full one) without keeping the process alive for it.

The loop's own executor joins its threads at exit; a read from a terminal where nobody types would hang the
exit. The thread here is a daemon: when the engine ends, the call ends with it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def run_detached(name: str, call: Callable[..., T], *arguments: Any) -> T:
    """Return what ``call(*arguments)`` returns, or raise what it raises."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def work() -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = call(*arguments)
        except BaseException as error:  # noqa: BLE001 (handed to the caller, whatever it is)
            failure = error
        try:
            loop.call_soon_threadsafe(settle, value, failure)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future
