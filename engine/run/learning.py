"""What a run has learned of durations and of the plan, kept for the next process and for the next run.

The ledger keeps it every minute, so that a process that takes over goes on with the schedule and the pace of the
one before. A small profile beside the user's other state keeps the durations of each model, so that another run
begins with them, weighing them as a few jobs; it is a hint, and whatever is wrong with it is ignored. Knows
nothing of what the figures mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.disk.durable import make_directory, replacement
from engine.errors import StorageError
from engine.scheduling.durations import DurationsState  # noqa: TC001 (msgspec reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.ledger.ledger import Ledger

SAVE_S = 60.0
PROFILE_BYTES_MAX = 4 * 2**20


class Learned(msgspec.Struct, frozen=True):
    """What is kept.

    Attributes:
        durations: what is known of each model's durations.
        per_minute: the pace of each lane.
    """

    durations: dict[str, DurationsState] = {}
    per_minute: dict[str, float] = {}


class _Profile(msgspec.Struct, frozen=True):
    """The profile: provider → model → durations."""

    durations: dict[str, dict[str, DurationsState]] = {}


class Learning:
    """Keeps what is learned.

    Args:
        profile: the profile's path; None to keep none.
        provider: under which name the durations stand in the profile.
        learned: what the run has learned by now.
    """

    def __init__(
        self, ledger: Ledger, *, profile: Path | None, provider: str, clock: Clock, learned: Callable[[], Learned]
    ) -> None:
        self._ledger = ledger
        self._profile = profile
        self._provider = provider
        self._clock = clock
        self._learned = learned

    async def of_this_run(self) -> Learned | None:
        """Return what an earlier process of the run has learned; None if there is nothing usable."""
        kept = (await self._ledger.facts()).get("learned")
        if not isinstance(kept, str):
            return None
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(kept, type=Learned)
        return None

    async def of_earlier_runs(self) -> dict[str, DurationsState]:
        """Return what earlier runs with this provider have learned of its models."""
        profile = await asyncio.to_thread(self._read_profile)
        return profile.durations.get(self._provider, {})

    async def run(self) -> None:
        """Keep in the ledger what is learned, once a minute, until cancelled."""
        while True:
            await self._clock.sleep(SAVE_S)
            await self._save_in_ledger()

    async def save(self) -> None:
        """Keep it in the ledger and in the profile."""
        await self._save_in_ledger()
        if self._profile is not None and self._learned().durations:
            await asyncio.to_thread(self._write_profile, self._profile, self._learned().durations)

    async def _save_in_ledger(self) -> None:
        await self._ledger.note(learned=msgspec.json.encode(self._learned()).decode())

    def _read_profile(self) -> _Profile:
        if self._profile is None:
            return _Profile()
        try:
            if self._profile.stat().st_size > PROFILE_BYTES_MAX:
                return _Profile()
            return msgspec.json.decode(self._profile.read_bytes(), type=_Profile)
        except (OSError, msgspec.DecodeError):
            return _Profile()

    def _write_profile(self, path: Path, durations: dict[str, DurationsState]) -> None:
        known = self._read_profile().durations
        merged = {**known, self._provider: {**known.get(self._provider, {}), **durations}}
        with contextlib.suppress(OSError, StorageError):  # a home that cannot be written costs nothing but the hint
            make_directory(path.parent)
            with replacement(path) as file:
                file.write(msgspec.json.encode(_Profile(merged)))


def profile_path() -> Path | None:
    """Return where the profile lies (https://specifications.freedesktop.org/basedir-spec); None without a home."""
    root = os.environ.get("XDG_STATE_HOME", "")
    with contextlib.suppress(RuntimeError):
        state = Path(root) if root.startswith("/") else Path.home() / ".local" / "state"
        return state / "media-batch-engine" / "durations.json"
    return None
