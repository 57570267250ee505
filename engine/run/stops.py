"""Reasons to wind down that belong to no provider: the disk, the stream, a person's wish at the start."""

from __future__ import annotations

from engine.errors import ExitCode
from engine.scheduling.stop import Manner, Stop

STREAM_BROKEN = Stop(
    "broken_pipe",
    "stdout takes no more result lines",
    ExitCode.STOPPED,
    Manner.HARVEST,
    "the lines are in the run directory's results.jsonl; go on with 'engine resume'",
)

DISK_FULL = Stop(
    "disk_full",
    "the disk of the run directory is full",
    ExitCode.STORAGE,
    Manner.DOWNLOADS,
    "free some space, then run the same command again; nothing that was recorded is lost",
)
LOG_FULL = Stop(
    "disk_full",
    "the disk of the run's log is full",
    ExitCode.STORAGE,
    Manner.HARVEST,
    "free some space, then run the same command again; nothing that was recorded is lost",
)
HARVEST_ONLY = Stop(
    "harvest_only", "nothing new is submitted, as asked", ExitCode.STOPPED, Manner.HARVEST, "go on with 'engine resume'"
)
