"""What an answer's head means: pure decisions, and numbers believed only in plain form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from engine.media.answer_head import (
    Append,
    ContentRange,
    FromStart,
    Head,
    Kept,
    Refused,
    content_range,
    decide,
    number,
    read_head,
    strong_validator,
)

KEPT = Kept(bytes=100, validator='"v1"', total=300)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
MINUTE_BEFORE = "Sun, 06 Nov 1994 08:48:37 GMT"
HOUR_BEFORE = "Sun, 06 Nov 1994 07:49:37 GMT"


def partial(**changes: object) -> Head:
    facts = {"length": 200, "range": ContentRange(100, 299, 300), "etag": '"v1"', **changes}
    return Head(206, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["+5", "1_0", "\uff11\uff12", "-1", "0x10", "1e3", " 5", "5 ", "", "9" * 19, "5, 5"])
def test_a_length_in_any_but_the_plain_form_is_no_length(text: str) -> None:
    assert number(text) is None


@given(st.integers(0, 10**18 - 1))
def test_a_plain_length_is_read(value: int) -> None:
    assert number(str(value)) == value


@given(st.text(max_size=60))
def test_any_text_as_content_range_is_read_or_refused(text: str) -> None:
    found = content_range(text)
    assert found is None or (found.start <= found.end and (found.total is None or found.end < found.total))


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.none() | st.integers(0, 10**9))
def test_a_content_range_is_read_exactly_when_it_is_possible(start: int, end: int, total: int | None) -> None:
    text = f"bytes {start}-{end}/{'*' if total is None else total}"
    possible = start <= end and (total is None or end < total)
    assert content_range(text) == (ContentRange(start, end, total) if possible else None)


@pytest.mark.parametrize("text", ["bytes */300", "bytes 100-299", "items 0-1/2", "bytes 5-4/9", "bytes 0-9/9", None])
def test_an_impossible_content_range_is_refused(text: str | None) -> None:
    assert content_range(text) is None


def test_only_a_strong_validator_is_used() -> None:
    assert strong_validator('"abc"', None, None) == '"abc"'
    assert strong_validator('W/"abc"', HOUR_BEFORE, DATE) is None
    assert strong_validator("abc", None, None) is None
    assert strong_validator('"a"b"', None, None) is None


def test_a_modification_time_validates_only_when_it_is_more_than_60_s_before_the_date() -> None:
    assert strong_validator(None, HOUR_BEFORE, DATE) == HOUR_BEFORE
    assert strong_validator(None, MINUTE_BEFORE, DATE) is None
    assert strong_validator(None, DATE, DATE) is None
    assert strong_validator(None, HOUR_BEFORE, None) is None
    assert strong_validator(None, "yesterday GMT", DATE) is None


@given(
    st.dictionaries(st.sampled_from(["ETag", "Last-Modified", "Date", "Content-Length", "Content-Range"]), st.text())
)
def test_any_headers_make_a_head(headers: dict[str, str]) -> None:
    head = read_head(200, CIMultiDict(headers))
    assert head.length is None or head.length >= 0


@pytest.mark.parametrize("status", [403, 404, 410])
def test_403_404_410_on_the_url_mean_that_it_is_gone(status: int) -> None:
    verdict = decide(Head(status), KEPT, asked_range=True)
    assert isinstance(verdict, Refused)
    assert verdict.kind == "url_gone"


@pytest.mark.parametrize("status", [201, 204, 304, 400, 401, 429, 500, 502, 503])
def test_any_other_status_is_tried_again(status: int) -> None:
    verdict = decide(Head(status), KEPT, asked_range=True)
    assert isinstance(verdict, Refused)
    assert verdict.kind == "unreachable"


def test_a_matching_part_is_appended() -> None:
    assert decide(partial(), KEPT, asked_range=True) == Append(300)
    assert decide(partial(range=ContentRange(100, 299, None)), KEPT, asked_range=True) == Append(300)


def test_200_to_a_range_starts_from_0() -> None:
    assert decide(Head(200, length=300), KEPT, asked_range=True) == FromStart(300)


def test_an_unasked_part_counts_only_if_it_is_the_whole() -> None:
    assert decide(Head(206, range=ContentRange(0, 299, 300)), Kept(), asked_range=False) == FromStart(300)
    assert isinstance(decide(partial(), Kept(), asked_range=False), Refused)


@pytest.mark.parametrize(
    "head",
    [
        partial(range=None),
        partial(range=ContentRange(99, 298, 300)),
        partial(range=ContentRange(0, 199, 300)),
        partial(range=ContentRange(100, 300, 301), length=201),
        partial(length=199),
        partial(etag='"v2"'),
        Head(416),
    ],
    ids=["missing", "early", "zero", "changed length", "contradicting length", "changed etag", "416"],
)
def test_a_wrong_part_makes_what_is_kept_worthless(head: Head) -> None:
    verdict = decide(head, KEPT, asked_range=True)
    assert isinstance(verdict, Refused)
    assert verdict.forget
