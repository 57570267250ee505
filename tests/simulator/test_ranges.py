from __future__ import annotations

import pytest

from engine.simulator.ranges import Span, asked_span


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=90-", 90, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-500", 0, 100),
        ("bytes=5-999", 5, 100),
    ],
)
def test_one_range_is_served_as_asked(asked: str, begin: int, end: int) -> None:
    assert asked_span({"Range": asked}, size_bytes=100, strong_etag=None) == Span(begin, end, partial=True)


@pytest.mark.parametrize("asked", ["", "lines=0-9", "bytes=0-1,3-4", "bytes=-", "bytes=x-"])
def test_anything_else_gets_the_whole_file(asked: str) -> None:
    assert asked_span({"Range": asked}, size_bytes=100, strong_etag=None) == Span(0, 100, partial=False)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=9-5", "bytes=-0"])
def test_a_range_outside_the_file_cannot_be_satisfied(asked: str) -> None:
    assert asked_span({"Range": asked}, size_bytes=100, strong_etag=None) is None


def test_if_range_with_the_same_strong_tag_keeps_the_range() -> None:
    headers = {"Range": "bytes=10-", "If-Range": '"a"'}
    assert asked_span(headers, size_bytes=100, strong_etag='"a"') == Span(10, 100, partial=True)


@pytest.mark.parametrize("tag", ['"b"', None])
def test_if_range_with_another_or_no_strong_tag_gets_the_whole_file(tag: str | None) -> None:
    headers = {"Range": "bytes=10-", "If-Range": '"a"'}
    assert asked_span(headers, size_bytes=100, strong_etag=tag) == Span(0, 100, partial=False)
