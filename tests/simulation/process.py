"""One process of the engine in a simulation: real ledger, real writer, real files, on the simulated disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any

from engine.disk.durable import make_directory
from engine.job.records import StoredFile
from engine.ledger.counts import count_jobs
from engine.ledger.group_commit import InlineCommitter
from engine.ledger.ledger import Ledger
from engine.ledger.schema import open_for_writing
from engine.media.part import sweep_parts
from engine.media.placing import place
from engine.output.result_writer import ResultWriter
from tests.scheduling.conftest import World
from tests.simulation.disk import PowerCut

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from engine.media.downloader import DownloadTask
    from tests.simulation.disk import SimulatedDisk
    from tests.simulation.provider import FaultyProvider, LaggingHistory
    from tests.virtual_clock import VirtualClock

SETTINGS = ("recovery.grace_s=60", "limits.submits_per_minute=600", "limits.max_in_flight=12")
Acknowledged = list[tuple[Any, ...]]
STATES = "SELECT job, state, attempts, seq FROM job ORDER BY job"


class WatchedCommitter(InlineCommitter):
    """Commits on the loop; after each commit the disk has it, and ``acknowledged`` is what must never be lost."""

    def __init__(self, db: sqlite3.Connection, disk: SimulatedDisk, acknowledged: Acknowledged) -> None:
        super().__init__(db)
        self._disk = disk
        self._acknowledged = acknowledged

    def _flush(self) -> None:
        if not self._group:
            return
        try:
            self._disk.pass_one()
        except PowerCut as cut:
            group, self._group = self._group, []
            for _, future in group:
                if not future.done():
                    future.set_exception(cut)
            return
        super()._flush()
        self._disk.committed()
        self._acknowledged[:] = self._db.execute(STATES).fetchall()


class DiskFetcher:
    """Stores a film of its own for every URL, with the engine's own way of placing files."""

    def __init__(self, clock: VirtualClock, media: Path) -> None:
        self._clock = clock
        self._media = media

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Write a part and place it."""
        await self._clock.sleep(1.0)
        content = hashlib.sha256(task.url.encode()).digest() * 40
        part = self._media / f"{task.name}.part"
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            digest = hashlib.sha256(content).hexdigest()
            name = place(part, fd, stem=task.name, extension=".mp4", sha256=digest)
        finally:
            os.close(fd)
        return StoredFile(
            path=f"media/{name}",
            url=task.url,
            bytes=len(content),
            sha256=digest,
            content_type="video/mp4",
            checks=("length",),
        )


async def run_process(
    disk: SimulatedDisk,
    provider: FaultyProvider,
    history: LaggingHistory,
    *,
    clock: VirtualClock,
    rng: random.Random,
    begin: Callable[[Ledger], Any] | None,
    acknowledged: Acknowledged,
) -> bool:
    """Run a process until it ends or the power is cut; returns whether it ended by itself, with everything decided.

    Raises:
        EngineError: the disk refused; what was recorded stays.
    """
    db = open_for_writing(disk.root / "run.db", synchronous="OFF")
    disk.committed()
    ledger = Ledger(WatchedCommitter(db, disk, acknowledged))
    work = asyncio.create_task(_work(disk, ledger, provider, history, clock=clock, rng=rng, begin=begin))
    try:
        return await work
    except BaseException:
        if disk.dead:
            return False
        raise
    finally:
        await _abandon(work)
        db.close()


async def _work(
    disk: SimulatedDisk,
    ledger: Ledger,
    provider: FaultyProvider,
    history: LaggingHistory,
    *,
    clock: VirtualClock,
    rng: random.Random,
    begin: Callable[[Ledger], Any] | None,
) -> bool:
    media = disk.root / "media"
    make_directory(media)
    sweep_parts(media)
    if begin is not None:
        await begin(ledger)
    settings: dict[str, Any] = {
        "per_minute": 600.0,
        "max_in_flight": 12,
        "expected_s": 60.0,
        "overrides": list(SETTINGS),
    }
    world = World(disk.root.with_suffix(".unused"), clock, rng, **settings)
    world.ledger.close()
    world.ledger, world.provider, world.history = ledger, provider, history
    world.fetcher = DiskFetcher(clock, media)
    world.life = world.new_life()
    writer = ResultWriter(
        ledger,
        path=disk.root / "results.jsonl",
        shown_path="results.jsonl",
        stream_fd=None,
        ordered=False,
        rebuild=False,
        on_written=lambda _line: None,
    )
    scheduler = await world.resumed()
    async with writer:
        writing = asyncio.create_task(writer.run())
        writer.wake()
        try:
            await scheduler.run()
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
        await writer.write_owed()
    counts = await ledger.read(count_jobs)
    # A submission that nobody can prove absent, because none came after it, stays unknown and is reported.
    settled = counts.get("succeeded", 0) + counts.get("failed", 0) + counts.get("unknown", 0)
    return bool(settled == sum(counts.values()))


async def _abandon(work: asyncio.Task[bool]) -> None:
    """Drop everything that a dead process had under way."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, work, return_exceptions=True)
