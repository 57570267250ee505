"""What every test gets: one printed seed for all randomness, and a check that nothing is left behind.

A test that leaves a task, a thread, a session or a file descriptor open fails, because a night has room for
thousands of such leaks. No test sleeps: it waits for what it waits for, with ``tests.waiting.wait_until``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import os
import random
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.canary import hits_in_runs
from tests.jobs import open_inline
from tests.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from engine.ledger.ledger import Ledger

FDS = Path("/proc/self/fd")
OURS = frozenset({"ledger-writer", "log-writer"})
"""Daemon threads that whoever starts them also ends; other daemon threads may wait for a pipe for ever."""

POOLS = ("asyncio_", "media_")
"""Idle workers of the loop's own pool and of the downloads'; they end when their pool is forgotten."""

LANDING_TURNS = 200
SEED_VARIABLE = "ENGINE_TESTS_SEED"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="the seed of all randomness in the tests")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(2**32))
    # The workers of a parallel run inherit it: they collect the same tests, and draw from the seed that is printed.
    os.environ[SEED_VARIABLE] = str(config.option.seed)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Leave no half-written record of coverage to be combined: processes were killed, and disks filled, on purpose."""
    result = yield
    if session.config.pluginmanager.hasplugin("_cov") and not hasattr(session.config, "workerinput"):
        for path in session.config.rootpath.glob(".coverage.*"):
            if not _is_whole_record(path):
                path.unlink()
    return result


def _is_whole_record(path: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path)) as db:
            (unnamed,) = db.execute("SELECT count(*) FROM file WHERE path IS NULL").fetchone()
            (integrity,) = db.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError:
        return False
    return not unnamed and integrity == "ok"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say the seed where a failure is read, also of a run that was asked to be brief."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(f"repeat with --seed {config.option.seed}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (repeat with --seed {config.option.seed})"


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.fixturenames.insert(0, "no_task_is_left")


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("seed"))


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Randomness of this test alone, so that it does not depend on the tests before it."""
    return random.Random(f"{seed}:{request.node.nodeid}")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


@pytest.fixture
async def ledger(db_path: Path) -> AsyncIterator[Ledger]:
    """A ledger in a directory of its own, without a thread and without waiting for the disk."""
    opened = open_inline(db_path)
    yield opened
    opened.close()


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    own, left = asyncio.current_task(), list[asyncio.Task[object]]()
    for _ in range(LANDING_TURNS):
        left = [task for task in asyncio.all_tasks() if task is not own and not task.done()]
        if not left:
            return
        await asyncio.sleep(0)
    pytest.fail(f"tasks are left running: {sorted(task.get_name() for task in left)}")


_sessions: weakref.WeakSet[aiohttp.ClientSession] = weakref.WeakSet()


@pytest.fixture(scope="session", autouse=True)
def _sessions_are_known() -> Iterator[None]:
    build = aiohttp.ClientSession.__init__

    @functools.wraps(build)
    def remember(self: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        _sessions.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "__init__", remember)
        yield


@pytest.fixture(scope="session", autouse=True)
def _the_home_stays_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test, nor any process that one starts, write to the state of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _the_key_is_written_nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search every run directory that the session leaves behind for the key that its runs were given."""
    yield
    found = list(hits_in_runs(tmp_path_factory.getbasetemp()))
    assert not found, f"the key stands in {found}"


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    threads, files = set(threading.enumerate()), _open_files()
    yield
    assert not [session for session in _sessions if not session.closed], "an aiohttp session is left open"
    left = [thread for thread in threading.enumerate() if thread not in threads and _should_have_ended(thread)]
    assert not left, f"threads are left running: {left}"
    if _open_files().keys() - files.keys():
        gc.collect()
    new = {fd: name for fd, name in _open_files().items() if fd not in files}
    assert not new, f"files are left open: {new}"


def _should_have_ended(thread: threading.Thread) -> bool:
    return thread.name in OURS or not (thread.daemon or thread.name.startswith(POOLS))


def _open_files() -> dict[int, str]:
    found = {}
    for entry in FDS.iterdir() if FDS.is_dir() else ():
        # The listing itself uses a descriptor, which is gone when its turn comes.
        with contextlib.suppress(OSError):
            found[int(entry.name)] = str(entry.readlink())
    return found
