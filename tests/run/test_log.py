"""The log says what happened, one JSON object a line, and never the key."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from engine.clock import SystemClock
from engine.run import log as run_log
from engine.run.log import RunLog
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "SG_00112233445566ff"


def logged(path: Path, write: Callable[[Any], object], *, level: str = "info", key: str = KEY) -> list[dict[str, Any]]:
    with RunLog(path, SystemClock(), level=level, secrets=(key,)) as log:
        write(log.logger)
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.log"


def test_an_event_is_one_object_with_its_time_level_and_values(path: Path) -> None:
    (record,) = logged(path, lambda log: log.warning("throttled", lane="submit", wait_s=7.0))
    assert list(record) == ["utc", "level", "lane", "wait_s", "event"]
    assert (record["level"], record["event"], record["lane"]) == ("warning", "throttled", "submit")
    assert record["utc"].endswith("Z")


def test_lines_are_appended_and_private(path: Path) -> None:
    logged(path, lambda log: log.info("one"))
    records = logged(path, lambda log: log.info("two"))
    assert [record["event"] for record in records] == ["one", "two"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_less_than_the_level_is_not_written(path: Path) -> None:
    def write(log: Any) -> None:
        log.debug("debug")
        log.info("info")
        log.error("error")

    assert [record["event"] for record in logged(path, write, level="warning")] == ["error"]


@pytest.mark.parametrize("key", [KEY, 'SG_"quoted\\', "SG_/slash"])
def test_the_key_is_never_written_wherever_it_turns_up(path: Path, key: str) -> None:
    def write(log: Any) -> None:
        log.info("event", text=f"x-api-key: {key}", nested={"a": [key]}, raw=key.encode(), path=Path(f"/{key}"))
        log.info(key)
        log.error("failed", error=ValueError(key))

    records = logged(path, write, key=key)
    assert len(records) == 3
    assert key not in str(records)
    assert key.encode() not in path.read_bytes()
    assert records[0]["text"] == "x-api-key: [key]"


def test_a_traceback_and_its_locals_are_not_rendered(path: Path) -> None:
    def write(log: Any) -> None:
        secret = "in a local variable"
        try:
            int(secret[:2])
        except ValueError:
            log.exception("failed")

    logged(path, write)
    assert b"local variable" not in path.read_bytes()
    assert b"Traceback" not in path.read_bytes()


@pytest.mark.parametrize("value", ["a\nb", "\x1b[2J", "\u202e", '{"event":"forged"}\n', "\u2028"])
def test_no_value_can_forge_a_line(path: Path, value: str) -> None:
    (record,) = logged(path, lambda log: log.info("event", id=value))
    assert record["id"] == value
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("value", [2**70, "\udcff", {1: "a", (2,): "b"}, float("nan"), object(), {"a": {1, 2}}])
def test_no_value_can_break_the_run_that_logs_it(path: Path, value: object) -> None:
    (record,) = logged(path, lambda log: log.info("event", value=value))
    assert "event" in record["event"]


def test_a_log_that_is_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"), RunLog(path, SystemClock()):
        pass


def test_a_full_disk_does_not_end_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        logged(path, lambda log: log.info("lost"))
    assert [record["event"] for record in logged(path, lambda log: log.info("kept"))] == ["kept"]


def test_a_full_disk_is_told_once_and_a_line_that_it_cut_is_closed_before_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, write, room_bytes = list[str](), os.write, 100

    def filling(fd: int, content: bytes) -> int:
        nonlocal room_bytes
        if not room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(fd, content[:room_bytes])
        room_bytes -= written
        return written

    with RunLog(path, SystemClock(), on_full=lambda: told.append("full")) as log:
        monkeypatch.setattr(os, "write", filling)
        for number in range(4):
            log.logger.info("event", number=number)
        wait_in_thread_until(log._lines.empty, description="the disk is full")
        room_bytes = 10_000
        log.logger.info("event", number=4)
    whole, torn, after, dropped = path.read_bytes().splitlines()
    assert told == ["full"]
    assert orjson.loads(whole)["number"] == 0
    assert whole.startswith(torn[:2])
    assert orjson.loads(after)["number"] == 4
    assert orjson.loads(dropped) == {"event": "log_lines_dropped", "lines": 3}


def test_a_disk_that_stalls_does_not_stall_the_caller_and_what_is_dropped_is_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, write = threading.Event(), os.write
    monkeypatch.setattr(run_log, "QUEUED_LINES_MAX", 10)

    def stalled(fd: int, content: bytes) -> int:
        gate.wait(10)
        return write(fd, content)

    with monkeypatch.context() as patch, RunLog(path, SystemClock()) as log:
        patch.setattr(os, "write", stalled)
        for number in range(50):
            log.logger.info("event", number=number)
        gate.set()
        wait_in_thread_until(log._lines.empty, description="the log has caught up")
    records = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    dropped = sum(record.get("lines", 0) for record in records)
    assert dropped >= 38
    assert dropped + len([record for record in records if record["event"] == "event"]) == 50


def test_a_disk_that_hangs_for_good_does_not_hang_the_exit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, write = threading.Event(), os.write
    monkeypatch.setattr(run_log, "QUEUED_LINES_MAX", 2)
    monkeypatch.setattr(run_log, "CLOSE_S", 0.05)
    log = RunLog(path, SystemClock())

    def hangs(fd: int, content: bytes) -> int:
        gate.wait(10)
        return write(fd, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", hangs)
        with log:
            for _ in range(10):
                log.logger.info("event")
        assert log._thread.is_alive()
        os.fstat(log._fd)  # the descriptor is still the log's own
        gate.set()
        log._lines.put(None)
        log._thread.join(10)
    os.close(log._fd)
