"""One simulated night: processes that follow each other on a disk that dies under them, until everything is at rest.

Safety is checked after every process: what was acknowledged is there, nobody was paid twice, every line that is
recorded stands in the output once. In the end the trouble stops, and the night must finish.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError
from engine.ledger.counts import count_jobs
from tests.jobs import add_jobs
from tests.simulation.disk import SimulatedDisk
from tests.simulation.process import STATES, Acknowledged, run_process
from tests.simulation.provider import FaultyProvider, LaggingHistory
from tests.virtual_clock import VirtualClock, run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from engine.ledger.ledger import Ledger

JOBS = 14
TROUBLED_PROCESSES_MAX = 6
PROCESSES_MAX = 12


@dataclass
class Night:
    """What happened in one night."""

    seed: str
    processes: int = 0
    cuts: int = 0
    refusals: int = 0
    paid: int = 0
    unknown: int = 0


def simulate(directory: Path, seed: str, patch: pytest.MonkeyPatch) -> Night:
    """Let one night pass and return what happened; an assertion fails with the seed if a promise was broken."""
    night = Night(seed)
    patch.setattr(asyncio, "to_thread", _at_once)
    run_virtual(_pass(directory, night, patch))
    return night


async def _at_once(call: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand in for a thread, so that the same seed gives the same night."""
    return call(*args, **kwargs)


async def _pass(directory: Path, night: Night, patch: pytest.MonkeyPatch) -> None:
    dice, clock = random.Random(night.seed), VirtualClock()
    provider = FaultyProvider(clock, random.Random(dice.random()), trouble=dice.choice((0.0, 0.05, 0.2)))
    history, acknowledged = LaggingHistory(provider), Acknowledged()
    root, ended = directory / "disk-0", False
    root.mkdir()
    while not ended:
        night.processes += 1
        assert night.processes <= PROCESSES_MAX, f"{night} does not end"
        troubled = night.processes <= TROUBLED_PROCESSES_MAX
        if not troubled:
            provider.mend()
        disk = _disk(root, dice, troubled=troubled)
        with disk.watched(patch):
            try:
                ended = await run_process(
                    disk,
                    provider,
                    history,
                    clock=clock,
                    rng=random.Random(dice.random()),
                    begin=_begin,
                    acknowledged=acknowledged,
                )
            except EngineError:
                night.refusals += 1
        if disk.dead:
            night.cuts += 1
            root = directory / f"disk-{night.processes}"
            disk.cut(root)
        _check(root, provider, acknowledged, night)
        ended = ended and not troubled  # what could not be settled in trouble is settled once that is over
        await clock.sleep(dice.choice((0.0, 30.0, 300.0)))
    _check_the_end(root, provider, night)


def _disk(root: Path, dice: random.Random, *, troubled: bool) -> SimulatedDisk:
    if not troubled:
        return SimulatedDisk(root, dice)
    dies_at = dice.choice((dice.randint(1, 40), dice.randint(1, 250), None))
    refuses = 0.0 if dies_at else 0.01
    return SimulatedDisk(root, dice, dies_at=dies_at, refuses=refuses, shortens=0.1)


async def _begin(ledger: Ledger) -> None:
    """Take the input in, unless an earlier process has."""
    if not sum((await ledger.read(count_jobs)).values()):
        await add_jobs(ledger, JOBS)


def _check(root: Path, provider: FaultyProvider, acknowledged: Acknowledged, night: Night) -> None:
    """Hold what is on the disk against what was promised so far."""
    twice = {body: times for body, times in provider.accepted.items() if times > 1}
    assert not twice, f"{night}: paid twice: {twice}"
    if not acknowledged:
        return
    with closing(sqlite3.connect(root / "run.db")) as db:
        assert db.execute(STATES).fetchall() == acknowledged, f"{night}: the ledger forgot what it had acknowledged"
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], night
        facts = dict(db.execute("SELECT key, value FROM meta"))
    written = int(facts.get("output_bytes") or 0)
    content = (root / "results.jsonl").read_bytes() if (root / "results.jsonl").exists() else b""
    assert len(content) >= written, f"{night}: the output lost lines that were recorded"
    lines = [json.loads(line) for line in content[:written].splitlines()]
    assert len({line["line"] for line in lines}) == len(lines), f"{night}: a line is there twice"
    for line in lines:
        for file in line["files"]:
            found = (root / file["path"]).read_bytes()
            assert hashlib.sha256(found).hexdigest() == file["sha256"], (
                f"{night}: {file['path']} is not what its line says"
            )


def _check_the_end(root: Path, provider: FaultyProvider, night: Night) -> None:
    """Every job has its line, but those that are reported as unknown; of these nobody was paid for."""
    lines = [json.loads(line) for line in (root / "results.jsonl").read_bytes().splitlines()]
    with closing(sqlite3.connect(root / "run.db")) as db:
        unknown = {
            line for (line,) in db.execute("SELECT line FROM input JOIN job USING (job) WHERE state = 'unknown'")
        }
    assert sorted([*(line["line"] for line in lines), *unknown]) == list(range(1, JOBS + 1)), night
    assert sorted(line["seq"] for line in lines) == list(range(len(lines))), night
    assert not [line for line in unknown if provider.accepted[f"p{line}"]], f"{night}: paid for and given up"
    night.paid, night.unknown = provider.accepted.total(), len(unknown)
    assert not list((root / "media").glob("*.part")), night
