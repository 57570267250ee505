"""Nothing in a line of JSON may be lost, changed or understood in two ways."""

from __future__ import annotations

import json
import sys
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.strict_json import DEPTH_MAX, NotStrictJsonError, strict_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON.filter(lambda value: "\0" not in str(value) and r"\x00" not in str(value)), st.booleans())
def test_whatever_can_be_written_is_read_as_it_was(value: object, ensure_ascii: bool) -> None:  # noqa: FBT001
    text = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    assert repr(strict_json(text)) == repr(value)
    # What is sent is what was written.
    assert repr(orjson.loads(orjson.dumps(strict_json(text)))) == repr(value)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        value = strict_json(text)
    except NotStrictJsonError as error:
        assert str(error).isprintable()  # noqa: PT017 (reading the bytes is as good)
    else:
        assert value == json.loads(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' appears twice"),
        (b'{"x": [{"b": 1, "c": 0, "b": 1}]}', "the key 'b' appears twice"),
        (b'{"a": 1, "\\u0061": 2}', "the key 'a' appears twice"),
        (b"NaN", "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"[1e999]", "1e999 is too large"),
        (b"[-1e400]", "-1e400 is too large"),
        (b"[1e-999]", "so small"),
        (b"18446744073709551616", "more than 64 bits"),
        (b"-9223372036854775809", "more than 64 bits"),
        (b"[" + b"9" * 10_000 + b"]", "more than 64 bits"),
        (b"01", "follows the value"),
        (b"1.", "follows the value"),
        (b".5", "expecting value"),
        (b"+1", "expecting value"),
        ("\uff11".encode(), "expecting value"),
        (b'"\\ud800"', "half of a surrogate pair stands"),
        (b'{"\\udfff": 1}', "half of a surrogate pair stands"),
        (b'["\\udc00\\ud800"]', "half of a surrogate pair stands"),
        (b'{"a": "x\\u0000y"}', "a NUL stands"),
        (b'"a\tb"', "raw control character"),
        (b'"a\x00b"', "raw control character"),
        (b'"\\x41"', "escape"),
        (b'"\\u12"', "escape"),
        (b'{"a": 1} x', "follows the value"),
        (b"{} {}", "follows the value"),
        (b'{"a": 1,}', "column 8" if sys.version_info >= (3, 13) else "column 9"),  # since then, where the comma is
        (b"{'a': 1}", "column 2"),
        (b'{"a": 1', "column 8"),
        (b"", "expecting value"),
        (b"\xff", "not UTF-8: byte 0xff in column 1"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\xc0\xaf"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "expecting value"),
        (b"\x0b{}", "expecting value"),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_the_reason(text: bytes, words: str) -> None:
    with pytest.raises(NotStrictJsonError) as caught:
        strict_json(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b" \t\r {} \r", {}),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"0.0", 0.0),
        (b"0e5", 0.0),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\u0000 \\\\ud800"', r"\u0000 \ud800"),
        (b'"\\u001b[31m"', "\x1b[31m"),
        ('"\u2028\u202e"'.encode(), "\u2028\u202e"),
    ],
)
def test_what_has_one_meaning_is_read(text: bytes, value: object) -> None:
    assert repr(strict_json(text)) == repr(value)


def test_integers_stay_integers_and_floats_stay_floats() -> None:
    assert [type(number) for number in strict_json(b"[1, 1.0, 1e0, -0]")] == [int, float, float, int]


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_allowed_up_to_the_bound(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> bytes:
        return opening * depth + b"0" + closing * depth

    strict_json(nested(DEPTH_MAX))
    for depth in (DEPTH_MAX + 1, 1_000, 100_000):
        for text in (nested(depth), opening * depth):
            with pytest.raises(NotStrictJsonError, match="nested deeper than 64"):
                strict_json(text)


def test_brackets_in_strings_and_beside_each_other_are_no_nesting() -> None:
    assert strict_json(json.dumps("[" * 1_000).encode()) == "[" * 1_000
    assert strict_json(rb'["\"[[[", "\\", ' + b"[]," * 100 + b"0]")[0] == '"[[['
    assert len(strict_json(b"[" + b"[{}]," * 1_000 + b"0]")) == 1_001


@pytest.mark.parametrize(
    "text",
    [b'"' + b'\\"' * 200_000 + b"[" * 100, b'"\\' * 200_000 + b"[" * 100, b'["' * 60 + b"a" * 400_000, b"[]" * 200_000],
    ids=["unfinished string", "backslashes", "half-open", "many pairs"],
)
def test_a_hostile_line_is_refused_in_linear_time(text: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(NotStrictJsonError):
        strict_json(text)
    assert time.perf_counter() - start < 2
