"""The output holds each line exactly once, whatever happened between two of its bytes."""

# ruff: noqa: ASYNC240 (a test has its loop for itself and may block it)

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import orjson
import pytest

from engine.disk import durable
from engine.errors import OutputError, StorageError, UsageError
from engine.job.states import State
from engine.ledger.counts import count_jobs
from engine.ledger.new_lines import add_lines
from engine.output import result_writer
from engine.output.result_writer import ResultWriter
from tests.jobs import add_jobs, bad_row, bring_to, job_row, open_inline, read_to
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from engine.job.records import ResultLine
    from engine.ledger.ledger import Ledger, OutputMark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@asynccontextmanager
async def writer_on(
    ledger: Ledger,
    path: Path,
    *,
    stream_fd: int | None = None,
    ordered: bool = False,
    rebuild: bool = False,
    heard: list[ResultLine] | None = None,
) -> AsyncIterator[ResultWriter]:
    heard = [] if heard is None else heard
    writer = ResultWriter(
        ledger,
        path=path,
        shown_path=path.name,
        stream_fd=stream_fd,
        ordered=ordered,
        rebuild=rebuild,
        on_written=heard.append,
    )
    async with writer:
        yield writer


async def write(ledger: Ledger, path: Path, *, ordered: bool = False, rebuild: bool = False) -> None:
    async with writer_on(ledger, path, ordered=ordered, rebuild=rebuild) as writer:
        await writer.write_owed()


def written(path: Path) -> list[tuple[str, int]]:
    """Return (id, seq) of each line; a torn line is an error."""
    content = path.read_bytes()
    assert content.endswith(b"\n") or not content
    return [(line["id"], line["seq"]) for line in map(orjson.loads, content.splitlines())]


async def decided(ledger: Ledger, *jobs: int) -> None:
    for job in jobs:
        await bring_to(ledger, State.STORED, job=job)


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_at(patch: pytest.MonkeyPatch, holder: object, name: str, which: int) -> None:
    """Have a function end the process instead of doing its work when it is called for the ``which``-th time."""
    work, calls = getattr(holder, name), count(1)

    def killed(*args: object, **named: object) -> object:
        if next(calls) == which:
            raise KilledError
        return work(*args, **named)

    patch.setattr(holder, name, killed)


# --- writing --------------------------------------------------------------------------------------


async def test_each_decided_job_gets_one_line_and_the_rest_none(ledger: Ledger, path: Path) -> None:
    rows = [job_row(1, id_="ok", prompt="a"), bad_row(2), job_row(3, id_="bad", prompt="b"), job_row(4, id_="later")]
    await ledger.change(add_lines, rows, read_to(4))
    await decided(ledger, 0)
    await bring_to(ledger, State.FAILED, job=2)
    heard: list[ResultLine] = []
    async with writer_on(ledger, path, heard=heard) as writer:
        await writer.write_owed()
        await writer.write_owed()
    assert [(line.id, line.status, line.line) for line in heard] == [
        ("ok", "succeeded", 1),
        (None, "invalid", 2),
        ("bad", "failed", 3),
    ]
    assert written(path) == [("ok", 0), (None, 1), ("bad", 2)]
    assert await ledger.read(count_jobs) == {"succeeded": 1, "invalid": 1, "failed": 1, "pending": 1}


async def test_the_file_is_private(ledger: Ledger, path: Path) -> None:
    await write(ledger, path)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_it_writes_when_it_is_woken(ledger: Ledger, path: Path) -> None:
    await add_jobs(ledger, 2)
    async with writer_on(ledger, path) as writer:
        running = asyncio.create_task(writer.run())
        await decided(ledger, 1)
        writer.wake()
        await wait_until(lambda: written(path) == [("job-1", 0)], description="the line is written")
        running.cancel()


async def test_more_lines_than_a_batch_are_numbered_on(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_writer, "BATCH_LINES_MAX", 3)
    await add_jobs(ledger, 8)
    await decided(ledger, *range(8))
    await write(ledger, path)
    assert written(path) == [(f"job-{job}", job) for job in range(8)]


async def test_numbers_go_on_after_a_restart(ledger: Ledger, path: Path) -> None:
    await add_jobs(ledger, 3)
    for job in (2, 0, 1):
        await decided(ledger, job)
        await write(ledger, path)
    assert written(path) == [("job-2", 0), ("job-0", 1), ("job-1", 2)]


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b"", b'{"id":"job-1","li', b"\0" * 4096, b'{"id":"job-1","seq":1}\n'])
async def test_what_lies_behind_the_mark_is_cut_off_and_written_again(ledger: Ledger, path: Path, tail: bytes) -> None:
    await add_jobs(ledger, 2)
    await decided(ledger, 0)
    await write(ledger, path)
    await decided(ledger, 1)
    with path.open("ab") as file:
        file.write(tail)
    await write(ledger, path)
    assert written(path) == [("job-0", 0), ("job-1", 1)]


@pytest.mark.parametrize("place", ["append", "written"])
async def test_a_writer_that_is_cancelled_anywhere_leaves_each_line_once(
    ledger: Ledger, path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    append, note = durable.append, ledger.written

    def slow_append(fd: int, content: bytes, **words: str) -> None:
        loop.call_soon_threadsafe(reached.set)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(10)
        append(fd, content, **words)

    async def slow_note(*args: object) -> None:
        if args[0]:
            reached.set()
            await gate.wait()
        await note(*args)  # type: ignore[arg-type]

    await add_jobs(ledger, 3)
    await decided(ledger, 0)
    async with writer_on(ledger, path) as writer:
        if place == "append":
            monkeypatch.setattr(result_writer, "append", slow_append)
        else:
            monkeypatch.setattr(ledger, "written", slow_note)
        running = asyncio.create_task(writer.run())
        writer.wake()
        await reached.wait()
        running.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        await decided(ledger, 2)
        await writer.write_owed()
    assert written(path) == [("job-0", 0), ("job-2", 1)]


async def test_a_full_disk_writes_nothing_off(ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(fd: int, content: bytes, **_words: str) -> None:
        os.write(fd, content[:10])
        raise StorageError("the output could not be written (No space left on device)")

    await add_jobs(ledger, 1)
    await decided(ledger, 0)
    with monkeypatch.context() as patch:
        patch.setattr(result_writer, "append", half)
        with pytest.raises(StorageError):
            await write(ledger, path)
    assert await ledger.read(count_jobs) == {"succeeded": 1}
    await write(ledger, path)
    assert written(path) == [("job-0", 0)]


# --- a file that is not as it was -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["shorter", "edited", "gone"])
async def test_a_changed_output_is_refused_untouched_and_can_be_rebuilt(ledger: Ledger, path: Path, how: str) -> None:
    await add_jobs(ledger, 3)
    await decided(ledger, 0, 2)
    await write(ledger, path)
    content = path.read_bytes()
    changed = {"shorter": content[:-5], "edited": content.replace(b"job-2", b"job-9"), "gone": b""}[how]
    path.write_bytes(changed)
    if how == "gone":
        path.unlink()
    with pytest.raises(OutputError) as refusal:
        await write(ledger, path)
    assert "--rebuild-output" in refusal.value.hint
    assert (path.read_bytes() if path.exists() else b"") == changed
    await decided(ledger, 1)
    await write(ledger, path, rebuild=True)
    assert written(path) == [("job-0", 0), ("job-2", 1), ("job-1", 2)]
    assert path.read_bytes().startswith(content)


async def test_an_output_that_moved_takes_its_lines_along(ledger: Ledger, path: Path, tmp_path: Path) -> None:
    await add_jobs(ledger, 2)
    await decided(ledger, 0)
    await write(ledger, path)
    await decided(ledger, 1)
    await write(ledger, tmp_path / "elsewhere.jsonl")
    assert written(tmp_path / "elsewhere.jsonl") == [("job-0", 0), ("job-1", 1)]
    assert written(path) == [("job-0", 0)]


@pytest.mark.parametrize("killed_at", [("note", 1), ("replace", 1), ("written", 1), ("note", 2)])
@pytest.mark.parametrize("again", ["elsewhere.jsonl", "third.jsonl"])
async def test_an_output_whose_move_was_killed_anywhere_can_be_moved_again(
    ledger: Ledger, path: Path, killed_at: tuple[str, int], again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_jobs(ledger, 2)
    await decided(ledger, 0)
    await write(ledger, path)
    with monkeypatch.context() as patch:
        kill_at(patch, os if killed_at[0] == "replace" else ledger, *killed_at)
        with pytest.raises(KilledError):
            await write(ledger, path.with_name("elsewhere.jsonl"))
    await decided(ledger, 1)
    for _ in range(2):
        await write(ledger, path.with_name(again))
        assert written(path.with_name(again)) == [("job-0", 0), ("job-1", 1)]


@pytest.mark.parametrize("before", [0, 1])
async def test_a_file_that_somebody_else_wrote_is_refused_and_untouched(
    ledger: Ledger, path: Path, tmp_path: Path, before: int
) -> None:
    await add_jobs(ledger, 1)
    if before:
        await decided(ledger, 0)
        await write(ledger, path)
    foreign = tmp_path / "thesis.txt"
    foreign.write_text("years of work")
    with pytest.raises(UsageError, match="already holds"):
        await write(ledger, foreign)
    assert foreign.read_text() == "years of work"


async def test_a_place_that_cannot_be_written_is_a_usage_error(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        await write(ledger, tmp_path / "no" / "such" / "place")


async def test_a_rebuild_of_many_batches_equals_what_was_written(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_writer, "BATCH_LINES_MAX", 2)
    await add_jobs(ledger, 5)
    await decided(ledger, *range(5))
    await write(ledger, path)
    content = path.read_bytes()
    await write(ledger, path, rebuild=True)
    assert path.read_bytes() == content
    await write(ledger, path)
    assert path.read_bytes() == content


async def test_a_rebuild_steps_over_places_that_nobody_has(ledger: Ledger, path: Path) -> None:
    await add_jobs(ledger, 3)
    await decided(ledger, 0, 2)
    await ledger.reserve_seq([(2, 7)])
    await write(ledger, path)
    await write(ledger, path, rebuild=True)
    assert sorted(written(path)) == [("job-0", 1), ("job-2", 7)]


# --- order ----------------------------------------------------------------------------------------


async def test_an_ordered_output_waits_for_the_lines_before(ledger: Ledger, path: Path) -> None:
    await add_jobs(ledger, 4)
    async with writer_on(ledger, path, ordered=True) as writer:
        for job, so_far in ((2, 0), (0, 1), (3, 1), (1, 4)):
            await decided(ledger, job)
            await writer.write_owed()
            assert len(written(path)) == so_far
    assert written(path) == [(f"job-{job}", job) for job in range(4)]


async def test_order_asked_for_later_begins_behind_what_was_written_without_it(ledger: Ledger, path: Path) -> None:
    await add_jobs(ledger, 5)
    await decided(ledger, 2, 4)
    await write(ledger, path)
    await decided(ledger, 3, 1, 0)
    await write(ledger, path, ordered=True)
    assert written(path) == [("job-2", 0), ("job-4", 1), ("job-0", 2), ("job-1", 3), ("job-3", 4)]


async def test_lines_promised_to_a_stream_keep_their_places_when_order_is_asked_for_later(
    ledger: Ledger, path: Path
) -> None:
    await add_jobs(ledger, 4)
    await decided(ledger, 1, 2)
    await write(ledger, path)
    await decided(ledger, 3)
    await ledger.reserve_seq([(3, 2)])  # killed between the number and the file
    await decided(ledger, 0)
    await write(ledger, path, ordered=True)
    assert written(path) == [("job-1", 0), ("job-2", 1), ("job-3", 2), ("job-0", 3)]


# --- the stream -----------------------------------------------------------------------------------


async def test_a_stream_gets_the_same_bytes_as_the_file(ledger: Ledger, path: Path) -> None:
    out, into = os.pipe()
    await add_jobs(ledger, 2)
    await decided(ledger, 1, 0)
    async with writer_on(ledger, path, stream_fd=into) as writer:
        await writer.write_owed()
    os.close(into)
    with os.fdopen(out, "rb") as stream:
        assert stream.read() == path.read_bytes()


async def test_a_line_that_is_printed_twice_comes_with_the_same_number(db_path: Path, path: Path) -> None:
    out, into = os.pipe()
    first = open_inline(db_path)
    await add_jobs(first, 3)
    await decided(first, 2)

    note = first.written

    async def die(jobs: list[tuple[int, int]], mark: OutputMark) -> None:
        if jobs:
            raise StorageError("killed")
        await note(jobs, mark)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first, "written", die)
        with pytest.raises(StorageError, match="killed"):
            async with writer_on(first, path, stream_fd=into) as writer:
                await writer.write_owed()
    first.close()
    again = open_inline(db_path)
    await decided(again, 0)
    async with writer_on(again, path, stream_fd=into) as writer:
        await writer.write_owed()
    again.close()
    os.close(into)
    with os.fdopen(out, "rb") as stream:
        printed = [(line["id"], line["seq"]) for line in map(orjson.loads, stream)]
    assert printed == [("job-2", 0), ("job-2", 0), ("job-0", 1)]
    assert written(path) == [("job-2", 0), ("job-0", 1)]


async def test_a_stream_that_nobody_reads_any_more_is_told_and_the_file_goes_on(ledger: Ledger, path: Path) -> None:
    out, into = os.pipe()
    os.close(out)
    await add_jobs(ledger, 2)
    async with writer_on(ledger, path, stream_fd=into) as writer:
        await decided(ledger, 0)
        await writer.write_owed()
        assert writer.stream_broken.is_set()
        await decided(ledger, 1)
        await writer.write_owed()
    os.close(into)
    assert written(path) == [("job-0", 0), ("job-1", 1)]
