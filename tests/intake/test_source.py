"""Where job lines come from: files, pipes, and what is neither."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from engine.errors import UsageError
from engine.intake.kinds import open_input, recorded_input
from engine.intake.source import BLOCK_BYTES, FileSource, PipeSource

if TYPE_CHECKING:
    from pathlib import Path

    from engine.intake.source import InputSource


async def content_of(source: InputSource) -> list[bytes]:
    return [block async for block in source.blocks()]


async def test_a_file_comes_in_blocks_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(os.urandom(2 * BLOCK_BYTES + 17))
    blocks = await content_of(open_input(path))
    assert [len(block) for block in blocks] == [BLOCK_BYTES, BLOCK_BYTES, 17]
    assert b"".join(blocks) == path.read_bytes()


async def test_a_file_is_named_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert open_input((tmp_path / "jobs.jsonl").relative_to(tmp_path)).name == str(tmp_path / "jobs.jsonl")


async def test_a_pipe_gives_what_it_has_and_ends_when_its_writer_does() -> None:
    out, into = os.pipe()
    blocks = PipeSource(out, "stdin").blocks()
    os.write(into, b"one\n")
    assert await anext(blocks) == b"one\n"
    os.write(into, b"two\n")
    assert await anext(blocks) == b"two\n"
    os.close(into)
    assert await anext(blocks, b"end") == b"end"
    os.close(out)


async def test_waiting_for_a_silent_pipe_can_be_given_up() -> None:
    out, into = os.pipe()
    waiting = asyncio.ensure_future(anext(PipeSource(out, "stdin").blocks(), b""))
    await asyncio.sleep(0)
    (reader,) = (thread for thread in threading.enumerate() if thread.name == "input-pipe")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.close(into)
    # A reader that came late would find the descriptor's number in the hands of the next test.
    reader.join(timeout=10)
    os.close(out)


async def test_a_named_pipe_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    into = os.open(path, os.O_RDWR)
    source = open_input(path)
    assert isinstance(source, PipeSource)
    os.write(into, b"line\n")
    assert await anext(source.blocks()) == b"line\n"
    os.close(into)
    os.close(source._fd)


async def test_a_closed_descriptor_is_a_usage_error() -> None:
    out, into = os.pipe()
    os.close(into)
    os.close(out)
    with pytest.raises(UsageError, match="stdin cannot be read"):
        await content_of(PipeSource(out, "stdin"))


@pytest.mark.parametrize("what", ["missing", "directory"])
def test_what_cannot_be_read_is_refused_with_a_hint(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if what == "directory":
        path.mkdir()
    with pytest.raises(UsageError) as refusal:
        open_input(path)
    assert "JSONL" in refusal.value.hint


async def test_a_file_that_vanished_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        await content_of(FileSource(tmp_path / "gone.jsonl"))


def test_a_recorded_input_is_used_only_if_it_is_still_a_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.touch()
    assert recorded_input(str(path)) is not None
    assert [recorded_input(name) for name in (None, "", "stdin", str(tmp_path), str(tmp_path / "gone"))] == [None] * 5
