"""What a job leaves behind reads the same for everybody: one line of JSON, whatever stands in it."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.records import JobError, ResultLine, StoredFile, Timings, decode_json, encode_json, encode_line

FILE = StoredFile(
    path="media/clip.mp4",
    url="https://images.example.com/a.mp4",
    bytes=2_831_155,
    sha256="ab" * 32,
    content_type="video/mp4",
    checks=("length", "mp4"),
)


def line_with(**changes: Any) -> ResultLine:
    usual: dict[str, Any] = {
        "id": "clip-001",
        "line": 1,
        "seq": 0,
        "status": "succeeded",
        "model": "kling-v1-pro-ai-avatar",
        "request_id": "0f1e",
        "output": {"status": "COMPLETED"},
        "files": (FILE,),
        "error": None,
        "cost_usd": 4.475,
        "attempts": 1,
        "timings": Timings(submitted_utc="2026-01-01T00:00:00.000Z", queue_s=1.2),
        "metadata": {"row": 17},
    }
    return ResultLine(**{**usual, **changes})


def test_a_result_line_has_exactly_the_documented_fields_in_their_order() -> None:
    record = orjson.loads(encode_line(line_with()))
    fields = ["id", "line", "seq", "status", "model", "request_id", "output", "files", "error", "cost_usd"]
    assert list(record) == [*fields, "attempts", "timings", "metadata"]
    assert list(record["files"][0]) == ["path", "url", "bytes", "sha256", "content_type", "checks"]
    assert list(record["timings"]) == [
        "submitted_utc",
        "completed_utc",
        "stored_utc",
        "queue_s",
        "inference_s",
        "lag_s",
    ]


def test_an_error_has_exactly_the_documented_fields() -> None:
    error = JobError(kind="rejected", message="no", http_status=400)
    record = orjson.loads(encode_line(line_with(status="failed", error=error, files=())))
    assert record["error"] == {
        "kind": "rejected",
        "message": "no",
        "http_status": 400,
        "retryable": False,
        "paid": False,
    }


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\u2028\u2029\u0085", "\x00\x1b[31m", "\u202etxt", "=1+1", '"\\', "🎬"]
)
def test_a_line_is_one_line_whatever_stands_in_it(text: str) -> None:
    content = encode_line(line_with(id=text, metadata={text: text}, output=[text]))
    assert content.endswith(b"\n")
    assert content.count(b"\n") == 1
    assert orjson.loads(content)["id"] == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_json_comes_back_as_it_was_written(value: Any) -> None:
    assert decode_json(encode_json(value)) == value
    content = encode_line(line_with(output=value, metadata=value))
    assert content.count(b"\n") == 1
    assert orjson.loads(content)["output"] == value


def test_the_order_of_keys_and_the_kind_of_numbers_stay() -> None:
    content = encode_json({"z": 1.0, "a": 1})
    assert content == b'{"z":1.0,"a":1}'


def test_records_are_kept_in_the_ledger_and_read_back() -> None:
    error = JobError(kind="expired", message="ü", paid=True)
    assert msgspec.json.decode(encode_json(error), type=JobError) == error
    assert encode_json([FILE])[:8] == b'[{"path"'


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        FILE.bytes = 1  # type: ignore[misc]
