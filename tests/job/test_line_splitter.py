"""The line splitter equals the naive split, for every way in which the bytes may arrive."""

from __future__ import annotations

import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from engine.job.line_splitter import LineSplitter, NumberedLine, Oversized

CONTENT = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", "\u2028".encode(), b"\0", b"\x85", b"{}"])).map(b"".join)


def split(blocks: list[bytes], line_bytes_max: int = 8) -> list[NumberedLine]:
    splitter = LineSplitter(line_bytes_max=line_bytes_max)
    lines = [line for block in blocks for line in splitter.feed(block)]
    return lines + splitter.finish()


@given(CONTENT, st.lists(st.integers(0, 60)), st.integers(1, 10))
def test_any_blocking_gives_the_lines_of_the_naive_split(content: bytes, cuts: list[int], line_bytes_max: int) -> None:
    edges = [0, *sorted(cuts), len(content)]
    blocks = [content[start:end] for start, end in itertools.pairwise(edges)]
    naive = content.split(b"\n")
    if not naive[-1]:
        naive.pop()
    expected: list[NumberedLine] = [
        (number, line if len(line) <= line_bytes_max else Oversized(len(line))) for number, line in enumerate(naive, 1)
    ]
    assert split(blocks, line_bytes_max) == expected


def test_lines_are_split_on_newlines_only() -> None:
    content = "a\rb\u2028c\u0085d\x0be\x0cf\n".encode()
    assert split([content], 100) == [(1, content[:-1])]


def test_a_line_of_exactly_the_bound_is_kept_and_one_more_is_not() -> None:
    assert split([b"12345678\n123456789\n"]) == [(1, b"12345678"), (2, Oversized(9))]


def test_the_line_after_an_oversized_one_is_whole() -> None:
    assert split([b"1234", b"56789", b"0", b"\nok\n"]) == [(1, Oversized(10)), (2, b"ok")]


def test_an_oversized_last_line_without_newline_is_reported() -> None:
    assert split([b"a\n123456", b"7890"]) == [(1, b"a"), (2, Oversized(10))]


def test_blank_lines_count() -> None:
    assert split([b"\n\n", b"a"]) == [(1, b""), (2, b""), (3, b"a")]


def test_numbers_go_on_behind_lines_that_were_split_before() -> None:
    splitter = LineSplitter(lines_before=7)
    assert splitter.feed(b"a\nb") + splitter.finish() == [(8, b"a"), (9, b"b")]


def test_no_input_has_no_lines() -> None:
    assert split([]) == split([b"", b""]) == []


def test_an_endless_line_does_not_fill_the_memory() -> None:
    splitter, block = LineSplitter(line_bytes_max=1_000_000), b"x" * 100_000
    tracemalloc.start()
    try:
        for _ in range(500):
            assert splitter.feed(block) == []
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert splitter.finish() == [(1, Oversized(50_000_000))]
