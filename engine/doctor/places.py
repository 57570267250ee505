"""Whether the places where runs and media go can keep what is put there: tried out, with what a run uses."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.clock import SystemClock
from engine.disk.durable import replacement
from engine.disk.run_dir import RunDir, RunLock
from engine.doctor.check import Check, ok, problem, warning
from engine.errors import ExitCode
from engine.ledger import schema
from engine.media.objects.store import open_store
from engine.media.part import free_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config.sections import Storage

SLOW_S = 0.5
WRITES = 5
MOUNTS = Path("/proc/self/mountinfo")
FORGETFUL = frozenset({"tmpfs", "ramfs"})
FAR = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.s3fs", "fuse.rclone"})


def run_place(directory: Path) -> list[Check]:
    """Try the lock, the ledger and durable files where runs go."""

    def everything(root: Path) -> float:
        place = RunDir(root)
        with RunLock(place, SystemClock()):
            db = schema.open_for_writing(place.ledger)
            try:
                db.execute("INSERT INTO meta VALUES ('doctor', 1)")
            finally:
                db.close()
        return _durable_write_s(root)

    return [_tried("run_disk", directory, everything, reserve_bytes=0)]


def media_place(directory: Path, *, reserve_bytes: int) -> list[Check]:
    """Try durable files where media go, and look at the room that is left there."""
    return [_tried("media_disk", directory, _durable_write_s, reserve_bytes=reserve_bytes)]


async def media_store(settings: Storage) -> list[Check]:
    """Write, read and remove a small object where media go."""
    assert settings.store is not None
    store = open_store(settings.store, settings)
    await store.probe()
    return [ok("media_store", f"{store.url} takes objects, shows them and lets them be removed")]


def _durable_write_s(root: Path) -> float:
    """Write a few small files as media and summaries are written; return how long one takes."""
    clock = SystemClock()
    began_at = clock.now()
    for number in range(WRITES):
        with replacement(root / f"file-{number}") as file:
            file.write(b"written by engine doctor")
    return (clock.now() - began_at) / WRITES


def _tried(name: str, directory: Path, attempt: Callable[[Path], float], *, reserve_bytes: int) -> Check:
    """Carry the attempt out in a temporary directory beside or above what will be made, and judge the disk."""
    place = nearest_existing(directory)
    if not place.is_dir():
        hint = "name a directory, or one that can be made"
        return problem(name, f"{place} is not a directory", hint, code=ExitCode.USAGE)
    with tempfile.TemporaryDirectory(prefix=".engine-doctor-", dir=place) as root:
        write_s = attempt(Path(root))
    return _judged(name, place, write_s, reserve_bytes)


def _judged(name: str, place: Path, write_s: float, reserve_bytes: int) -> Check:
    free, facts = free_bytes(place), os.statvfs(place)
    room = f"{free / 1e9:,.1f} GB free in {place}"
    if free <= reserve_bytes:
        hint = "free some space, choose another disk, or lower storage.reserve_bytes"
        return problem(name, f"{room}; storage.reserve_bytes wants {reserve_bytes / 1e9:,.1f} GB left", hint)
    if facts.f_files and not facts.f_favail:
        return problem(name, f"{room}, but not one more file can be made there", "delete files: it has no inodes left")
    kind = file_system_of(place)
    if kind in FORGETFUL:
        hint = "choose a disk: a ledger that is lost takes with it what was paid for"
        return warning(name, f"{place} is kept in memory ({kind}) and gone after a restart", hint)
    if kind in FAR:
        hint = "a local disk is safer: locks and syncs of this one depend on another machine"
        return warning(name, f"{place} is on another machine ({kind})", hint)
    if write_s > SLOW_S:
        hint = "a faster disk makes a faster run: every change of a job is synced"
        return warning(name, f"{room}; a durable write takes {write_s:.1f} s", hint)
    return ok(name, f"{room}; durable writes work ({write_s * 1000:.0f} ms each)")


def file_system_of(place: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system that holds ``place``; empty if the system does not say."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        where = Path(before.split()[4].encode().decode("unicode_escape"))
        if place.resolve().is_relative_to(where) and len(where.parts) >= best:
            best, kind = len(where.parts), after.split()[0]
    return kind


def nearest_existing(directory: Path) -> Path:
    """Return the directory, or the nearest one above it that is there."""
    absolute = directory.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.exists())
