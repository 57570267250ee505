"""What a step acts on is on disk first, seen from outside: by another connection, at the moment of the act.

The ledger of these tests takes a while over each commit. A step that hands a change in and does not wait for it
would pass every test that asks the ledger itself, since the question queues behind the change; here it is caught
with the database still as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from engine.job.states import State
from engine.ledger.counts import count_jobs
from engine.ledger.flights import pending_after
from engine.ledger.group_commit import InlineCommitter
from engine.ledger.ledger import Ledger
from engine.ledger.schema import open_for_writing
from engine.provider.verdict import Metrics, Result
from engine.scheduling.steps import AtRest, Fetched, Finished, Submitted
from tests.jobs import add_jobs
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.scheduling.conftest import World

URL = "https://images.example.com/a.mp4"
COMMIT_S = 5.0


class SlowCommitter(InlineCommitter):
    """Takes ``COMMIT_S`` over every group, but for what is left at the end."""

    _is_closing = False

    def _flush(self) -> None:
        if self._is_closing:
            super()._flush()
        else:
            asyncio.get_running_loop().call_later(COMMIT_S, super()._flush)

    def close(self) -> None:
        self._is_closing = True
        super().close()


class Witness:
    """Reads the database beside the engine, each time something is done that costs or cannot be taken back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.saw: list[tuple[str, str, str | None]] = []

    def before(self, what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``act``, which first notes what is on disk."""

        async def watched(*arguments: Any) -> Any:
            with contextlib.closing(sqlite3.connect(self._path)) as db:
                (row,) = db.execute("SELECT state, request_id FROM job LEFT JOIN attempt USING (job)").fetchall()
            self.saw.append((what, State(row[0]).name, row[1]))
            return await act(*arguments)

        return watched


@on_virtual_clock
async def test_every_act_finds_what_led_to_it_on_disk(build: Callable[..., World], tmp_path: Path) -> None:
    world, path = build(), tmp_path / "slow.db"
    world.ledger.close()
    world.ledger = Ledger(SlowCommitter(open_for_writing(path, synchronous="OFF")))
    world.life = world.new_life()
    witness = Witness(path)
    for what, of in (("submit", world.provider), ("poll", world.provider), ("fetch", world.provider)):
        setattr(of, what, witness.before(what, getattr(of, what)))
    world.fetcher.fetch = witness.before("download", world.fetcher.fetch)
    world.provider.duration_of = lambda _: 1.0
    await add_jobs(world.ledger, 1)
    (flight,) = await world.ledger.read(pending_after, -1, 1)

    assert isinstance(await world.life.submit(flight), Submitted)
    assert isinstance(await world.life.poll(flight), Finished)
    world.provider.fetch_script.append(Result({"output": URL}, (URL,), 4, "video/mp4", Metrics()))
    assert isinstance(await world.life.fetch(flight), Fetched)
    assert isinstance(await world.life.download(flight), AtRest)

    request_id = flight.request_id
    assert witness.saw == [
        ("submit", "SUBMITTING", None),
        ("poll", "SUBMITTED", request_id),
        ("fetch", "SUBMITTED", request_id),
        ("download", "READY", request_id),
    ]
    assert (await world.ledger.read(count_jobs))["succeeded"] == 1
