"""A disk that loses what was not synced: the engine's durable writes on a real directory, and what a cut leaves of it.

The calls of the operating system that the engine makes durable with are watched. For every file the disk knows its
content as of its last sync, for every directory the names as of its last one. A *cut* makes, in another directory,
what may be found after the power came back: of each file what was synced, and of the rest all, nothing, a part, or
zeros, as the dice say; of each name the last synced one, or the newer one. SQLite is taken at its word: at the moment
a commit returns, its files are synced (``synchronous = FULL``), and behind what was synced anything may stand.

At a chosen operation the disk dies: that operation and all after it raise ``PowerCut``. Before that it may refuse
single operations (no space, an error of the device) and write less than it was asked to.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    import pytest

SQLITE = ("run.db", "run.db-wal", "run.db-shm")


class PowerCut(BaseException):
    """The power is gone; nothing that runs in the process notices or does anything after it."""


class SimulatedDisk:
    """Watches one directory tree.

    Args:
        root: where the files are now.
        dice: decide what survives, and which operations go wrong.
        dies_at: the ordinal of the operation at which the power is cut; None for never.
        refuses: the share of operations that are refused with an error.
        shortens: the share of writes that write only a part.
    """

    def __init__(
        self,
        root: Path,
        dice: random.Random,
        *,
        dies_at: int | None = None,
        refuses: float = 0.0,
        shortens: float = 0.0,
    ) -> None:
        self.root = root
        self.operations = 0
        self.dead = False
        self._dice = dice
        self._dies_at = dies_at
        self._refuses = refuses
        self._shortens = shortens
        self._synced: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}
        self._found: dict[Path, tuple[int, bytes]] = {}
        for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
            self._note_names(directory)
        for path in root.rglob("*"):
            if path.is_file():
                self._synced[path.stat().st_ino] = path.read_bytes()

    # --- what the engine calls --------------------------------------------------------------------

    @contextmanager
    def watched(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Stand in for the operating system while the block lasts."""
        with patch.context() as inner:
            for name in ("fsync", "rename", "replace", "write", "ftruncate"):
                inner.setattr(os, name, self._standing_in(name, getattr(os, name)))
            yield

    def committed(self) -> None:
        """Take note that a commit of the ledger has returned: it is on the disk."""
        for name in SQLITE:
            self._sync_file(self.root / name)
        self._note_names(self.root)

    def pass_one(self) -> None:
        """Count an operation, and die if it is the last."""
        if self.dead:
            raise PowerCut
        self.operations += 1
        if self.operations == self._dies_at:
            self.die()
            raise PowerCut

    def die(self) -> None:
        """Cut the power now; what is written from here on, by whoever still runs, was never written."""
        self.dead = True
        self._found = {
            path: (path.stat().st_ino, path.read_bytes()) for path in sorted(self.root.rglob("*")) if path.is_file()
        }

    def _standing_in(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *rest: Any) -> Any:
            if not self._is_ours(target):
                return original(target, *rest)
            self.pass_one()
            if self._dice.random() < self._refuses:
                number = self._dice.choice((errno.EIO, errno.ENOSPC))
                raise OSError(number, os.strerror(number))
            if name == "write" and len(rest[0]) > 1 and self._dice.random() < self._shortens:
                return original(target, memoryview(rest[0])[: len(rest[0]) // 2])
            result = original(target, *rest)
            if name == "fsync":
                self._synced_by(target)
            return result

        return call

    def _is_ours(self, target: Any) -> bool:
        path = Path(f"/proc/self/fd/{target}").resolve() if isinstance(target, int) else Path(os.fspath(target))
        return path.is_relative_to(self.root)

    def _synced_by(self, fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").resolve()
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self._note_names(path)
        else:
            self._sync_file(path)

    def _sync_file(self, path: Path) -> None:
        if path.is_file():
            self._synced[path.stat().st_ino] = path.read_bytes()

    def _note_names(self, directory: Path) -> None:
        self._names[directory] = {entry.name: entry.stat().st_ino for entry in directory.iterdir() if entry.is_file()}

    # --- what a cut leaves ------------------------------------------------------------------------

    def cut(self, into: Path) -> None:
        """Make in ``into`` what is found once the power is back."""
        assert self.dead, "the power is still on"
        contents = dict(self._found.values())
        directories = {self.root, *self._names, *(path.parent for path in self._found)}
        for directory in sorted(directories):
            target = into / directory.relative_to(self.root)
            target.mkdir(parents=True, exist_ok=True)
            now = {path.name: inode for path, (inode, _) in self._found.items() if path.parent == directory}
            for name, inode in self._surviving_names(self._names.get(directory, {}), now).items():
                if not name.endswith("-shm"):
                    (target / name).write_bytes(self._surviving(inode, contents.get(inode), name))

    def _surviving_names(self, synced: dict[str, int], now: dict[str, int]) -> dict[str, int]:
        """Return the names that are found: each as it was synced, or as it is now."""
        found = {}
        for name in sorted(synced.keys() | now.keys()):
            inode = self._dice.choice((synced.get(name), now.get(name)))
            if name in SQLITE or synced.get(name) == now.get(name):
                inode = now.get(name, synced.get(name))
            if inode is not None:
                found[name] = inode
        return found

    def _surviving(self, inode: int, now: bytes | None, name: str) -> bytes:
        """Return what is found in a file: what was synced, and of the rest what the dice say."""
        synced = self._synced.get(inode, b"")
        if name == "run.db":
            return synced  # its pages are written, and synced, by a checkpoint alone
        if now is None or now == synced:
            return synced
        if not now.startswith(synced):
            return self._dice.choice((synced, now))
        rest = now[len(synced) :]
        kept = self._dice.randint(0, len(rest))
        return synced + self._dice.choice((b"", rest, rest[:kept], b"\0" * kept))
