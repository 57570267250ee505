"""The input comes into the ledger once, whatever interrupts it, and only if it is still the same input."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from engine.errors import UsageError
from engine.intake.job_reader import WARNINGS_KEPT_MAX, WARNINGS_TOLD_MAX, JobReader, spool_mark
from engine.intake.source import PipeSource
from engine.job.model import Model, Parameter
from engine.ledger.flights import pending_after
from tests.jobs import MODEL
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from engine.intake.source import InputSource
    from engine.ledger.ledger import Ledger
    from engine.ledger.new_lines import Spooled

CATALOGUE = {"strict": Model("strict", {"image_url": Parameter("image_url", "uri", required=True)})}


class Blocks:
    """A source that gives what it is told to give, and may break off."""

    name = "jobs.jsonl"
    continues = False
    directory = Path("/in")

    def __init__(self, *blocks: bytes, then: Exception | None = None) -> None:
        self._blocks = blocks
        self._then = then

    async def blocks(self) -> AsyncIterator[bytes]:
        for block in self._blocks:
            yield block
        if self._then is not None:
            raise self._then


def lines(first: int, last: int) -> bytes:
    return b"".join(orjson.dumps({"id": f"j{number}", "params": {}}) + b"\n" for number in range(first, last + 1))


def reader_of(
    ledger: Ledger,
    source: InputSource,
    *,
    append: bool = False,
    heard: list[Spooled] | None = None,
    on_warning: Callable[[str], None] = lambda _text: None,
) -> JobReader:
    heard = [] if heard is None else heard
    return JobReader(
        ledger,
        source,
        catalogue=CATALOGUE,
        default_model=MODEL,
        accept_appended=append,
        dedupe=False,
        files=None,
        on_spooled=heard.append,
        on_warning=on_warning,
    )


async def spool(ledger: Ledger, *blocks: bytes, append: bool = False) -> JobReader:
    reader = reader_of(ledger, Blocks(*blocks), append=append)
    await reader.begin()
    await reader.run()
    return reader


async def ids(ledger: Ledger) -> list[str | None]:
    return [id_ for (id_,) in await ledger.read(lambda db: db.execute("SELECT id FROM input ORDER BY job").fetchall())]


async def numbered(ledger: Ledger) -> list[tuple[int, str, bytes]]:
    sql = "SELECT line, state, coalesce(job.error, '') FROM job JOIN input USING (job) ORDER BY job"
    found: list[tuple[int, str, bytes]] = await ledger.read(lambda db: db.execute(sql).fetchall())
    return found


def cut(content: bytes, *places: int) -> Sequence[bytes]:
    bounds = [0, *places, len(content)]
    return [piece for start, end in itertools.pairwise(bounds) if (piece := content[start:end])]


async def mark(ledger: Ledger) -> tuple[int, int, bool, bool]:
    found = spool_mark(await ledger.facts())
    return found.bytes, found.lines, found.ends_in_newline, found.complete


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 30, 1_000])
async def test_blocks_may_break_lines_anywhere(ledger: Ledger, size: int) -> None:
    content = lines(1, 9)
    await spool(ledger, *cut(content, *range(size, len(content), size)))
    assert await ids(ledger) == [f"j{number}" for number in range(1, 10)]
    assert await mark(ledger) == (len(content), 9, True, True)


async def test_a_last_line_without_a_newline_is_a_line(ledger: Ledger) -> None:
    await spool(ledger, lines(1, 2)[:-1])
    assert await ids(ledger) == ["j1", "j2"]
    assert await mark(ledger) == (len(lines(1, 2)) - 1, 2, False, True)


async def test_an_empty_input_is_read_to_its_end(ledger: Ledger) -> None:
    await spool(ledger)
    assert await mark(ledger) == (0, 0, True, True)


async def test_bom_crlf_and_blank_lines_are_accepted_and_lines_keep_their_numbers(ledger: Ledger) -> None:
    await spool(ledger, b'\xef\xbb\xbf{"id": "a", "params": {}}\r\n\r\n   \n{"id": "b", "params": {}}')
    assert [(line, state) for line, state, _ in await numbered(ledger)] == [(1, "pending"), (4, "pending")]


@pytest.mark.parametrize(
    "bad",
    [
        b'{"prompt": "\xff\xfe"}',
        b'{"prompt": "\x00"}',
        b'{"a": 1, "a": 2}',
        b"[1, 2]",
        b'"text"',
        b"null",
        b"{" * 5,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'{"a": 18446744073709551616}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"prompt": "' + b"x" * 8 * 1024 * 1024 + b'"}',
        gzip.compress(b"{}", mtime=0).replace(b"\n", b""),
        '{"a": 1}'.encode("utf-16"),
        b'{"model": "strict", "params": {}}',
        b'{"model": "strict", "params": {"image_url": "passwd"}}',
        b'{"model": "../admin", "params": {}}',
    ],
)
async def test_a_bad_line_is_invalid_with_its_number_and_the_others_go_on(ledger: Ledger, bad: bytes) -> None:
    await spool(ledger, lines(1, 1) + bad + b"\n" + lines(3, 3))
    first, broken, third = await numbered(ledger)
    assert (first[:2], third[:2]) == ((1, "pending"), (3, "pending"))
    assert broken[:2] == (2, "invalid")
    assert orjson.loads(broken[2])["message"]


async def test_what_is_written_is_what_is_kept_for_sending(ledger: Ledger) -> None:
    await spool(ledger, b'{"z": 1.0, "a": {"y": [1, 2.50, "\\u00fc \xf0\x9f\x8e\xac"]}, "prompt": "=1+1"}\n')
    (flight,) = await ledger.read(pending_after, -1, 1)
    assert orjson.loads(flight.params) == {"z": 1.0, "a": {"y": [1, 2.5, "ü 🎬"]}, "prompt": "=1+1"}
    assert list(orjson.loads(flight.params)) == ["z", "a", "prompt"]
    assert b"1.0" in flight.params


async def test_lines_that_break_only_at_other_separators_are_one_line(ledger: Ledger) -> None:
    await spool(ledger, '{"prompt": "a\u2028b\u0085c"}\n'.encode())
    assert [state for _, state, _ in await numbered(ledger)] == ["pending"]


async def test_warnings_are_counted_with_the_first_line_and_bounded(ledger: Ledger) -> None:
    odd = b"".join(
        orjson.dumps({"model": "strict", "params": {"image_url": "https://a.b/c", f"odd{number}": 1}}) + b"\n"
        for number in range(WARNINGS_KEPT_MAX + 20)
    )
    reader = await spool(ledger, odd + odd)
    assert len(reader.warnings) == WARNINGS_KEPT_MAX
    assert set(reader.warnings.values()) == {2}
    assert sorted(reader.first_lines.values()) == list(range(1, WARNINGS_KEPT_MAX + 1))


async def test_each_warning_is_told_once_before_a_job_of_its_block_can_run(ledger: Ledger) -> None:
    heard: list[Spooled] = []
    told: list[tuple[int, str]] = []
    odd = b'{"model":"strict","params":{"image_url":"https://e.com/a","x":1}}\n'
    reader = reader_of(
        ledger,
        Blocks(lines(1, 2), lines(3, 3) + odd),
        heard=heard,
        on_warning=lambda text: told.append((len(heard), text)),
    )
    await reader.begin()
    await reader.run()
    (unknown,) = (text for text in reader.warnings if MODEL in text)
    assert told == [(0, f"line 1: {unknown}"), (1, "line 4: model strict declares no parameter 'x'")]
    assert reader.warnings[unknown] == 3


async def test_warnings_without_end_are_told_up_to_a_bound(ledger: Ledger) -> None:
    told: list[str] = []
    content = b"".join(b'{"model":"m%d","params":{}}\n' % number for number in range(3 * WARNINGS_TOLD_MAX))
    reader = reader_of(ledger, Blocks(*cut(content, len(content) // 2)), on_warning=told.append)
    await reader.begin()
    await reader.run()
    assert len(told) == WARNINGS_TOLD_MAX


async def test_each_block_is_told_as_it_is_durable(ledger: Ledger) -> None:
    heard: list[Spooled] = []
    reader = reader_of(ledger, Blocks(lines(1, 3), b"oops\n"), heard=heard)
    await reader.begin()
    await reader.run()
    assert [(spooled.pending, spooled.invalid) for spooled in heard] == [({"": 3}, 0), ({}, 1), ({}, 0)]


async def test_a_slow_pipe_gives_its_first_job_at_once(ledger: Ledger) -> None:
    out, into = os.pipe()
    heard: list[Spooled] = []
    reader = reader_of(ledger, PipeSource(out, "stdin"), heard=heard)
    await reader.begin()
    running = asyncio.create_task(reader.run())
    os.write(into, lines(1, 1) + b'{"id": "j2", ')
    await wait_until(lambda: heard, description="the first line is spooled while the second is being written")
    assert await ids(ledger) == ["j1"]
    os.write(into, b'"params": {}}\n')
    os.close(into)
    await running
    os.close(out)
    assert await ids(ledger) == ["j1", "j2"]


# --- a second look at the same input --------------------------------------------------------------


@pytest.mark.parametrize("place", range(0, len(lines(1, 4)) + 1, 5))
async def test_a_run_killed_in_the_middle_of_its_input_takes_every_line_in_once(ledger: Ledger, place: int) -> None:
    content = lines(1, 4)
    broken = reader_of(ledger, Blocks(*cut(content, place)[:1], then=UsageError("gone")))
    await broken.begin()
    with pytest.raises(UsageError):
        await broken.run()
    await spool(ledger, *cut(content, 11, 60))
    assert await ids(ledger) == ["j1", "j2", "j3", "j4"]
    assert [line for line, _, _ in await numbered(ledger)] == [1, 2, 3, 4]
    assert await mark(ledger) == (len(content), 4, True, True)


async def test_a_resume_on_a_finished_input_takes_nothing_in(ledger: Ledger) -> None:
    await spool(ledger, lines(1, 3))
    heard: list[Spooled] = []
    reader = reader_of(ledger, Blocks(lines(1, 2), lines(3, 3)), heard=heard)
    await reader.begin()
    await reader.run()
    assert (heard, await ids(ledger)) == ([], ["j1", "j2", "j3"])


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (lines(1, 2), "has 48 bytes, but 72 were read"),
        (b"", "has 0 bytes"),
        (lines(2, 4), "different now"),
        (lines(1, 3).replace(b"j2", b"j9"), "different now"),
    ],
)
async def test_an_input_that_changed_is_refused(ledger: Ledger, now: bytes, words: str) -> None:
    await spool(ledger, lines(1, 3))
    with pytest.raises(UsageError, match=words) as refusal:
        await spool(ledger, now)
    assert "--run-dir" in refusal.value.hint
    assert await ids(ledger) == ["j1", "j2", "j3"]


async def test_an_input_that_changed_before_it_was_read_to_its_end_is_refused_too(ledger: Ledger) -> None:
    broken = reader_of(ledger, Blocks(lines(1, 2), then=UsageError("gone")))
    await broken.begin()
    with pytest.raises(UsageError, match="gone"):
        await broken.run()
    with pytest.raises(UsageError, match="different now"):
        await spool(ledger, lines(5, 9))


async def test_appended_lines_are_refused_unless_asked_for(ledger: Ledger) -> None:
    await spool(ledger, lines(1, 2))
    with pytest.raises(UsageError, match="appended") as refusal:
        await spool(ledger, lines(1, 3))
    assert "--append" in refusal.value.hint


@pytest.mark.parametrize("blocks", [1, 2])
async def test_appended_lines_are_taken_in_with_the_flag(ledger: Ledger, blocks: int) -> None:
    await spool(ledger, lines(1, 2))
    appended = [lines(1, 4)] if blocks == 1 else [lines(1, 2), lines(3, 4)]
    await spool(ledger, *appended, append=True)
    assert await ids(ledger) == ["j1", "j2", "j3", "j4"]
    assert await mark(ledger) == (len(lines(1, 4)), 4, True, True)
    await spool(ledger, lines(1, 4))  # and now that is the input


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_lines_are_appended_behind_a_last_line_without_a_newline(ledger: Ledger, newline: bytes) -> None:
    first = lines(1, 2).rstrip(b"\n")
    await spool(ledger, first)
    await spool(ledger, first + newline + lines(3, 3), append=True)
    assert await ids(ledger) == ["j1", "j2", "j3"]
    assert [line for line, _, _ in await numbered(ledger)] == [1, 2, 3]
    await spool(ledger, first + newline, lines(3, 3))


async def test_a_last_line_that_was_continued_is_refused_even_with_the_flag(ledger: Ledger) -> None:
    await spool(ledger, b'{"id": "a", "params": {}}')
    with pytest.raises(UsageError, match="continued"):
        await spool(ledger, b'{"id": "a", "params": {}} \n' + lines(1, 1), append=True)


async def test_lines_may_be_appended_to_an_input_that_was_empty(ledger: Ledger) -> None:
    await spool(ledger)
    await spool(ledger, lines(1, 1), append=True)
    assert await ids(ledger) == ["j1"]


async def test_a_kill_in_the_middle_of_appended_lines_takes_every_line_in_once(ledger: Ledger) -> None:
    await spool(ledger, lines(1, 2))
    broken = reader_of(ledger, Blocks(lines(1, 3), then=UsageError("gone")), append=True)
    await broken.begin()
    with pytest.raises(UsageError, match="gone"):
        await broken.run()
    await spool(ledger, lines(1, 5))
    assert await ids(ledger) == [f"j{number}" for number in range(1, 6)]
