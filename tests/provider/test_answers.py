"""A reply that is the result itself: what is kept of it, what is a file, and what decides nothing."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from engine.job.records import JobError
from engine.provider.description import load_description
from engine.provider.interpretation import submit_verdict
from engine.provider.reply import Reply
from engine.provider.verdict import (
    Answered,
    Metrics,
    OutOfMoney,
    Rejected,
    ServerError,
    Throttled,
    Unauthorized,
    UnknownOutcome,
    WrongContract,
)

SYNC = load_description("segmind-sync")
HEADERS = {"X-Request-Id": "r1", "X-Cost": "0.04", "X-Remaining-Credits": "12.5", "X-Generation-Time": "31.5"}
PNG = b"\x89PNG\r\n\x1a\n\x00"
URL = "https://images.segmind.com/generations/a.png"


def submitted(body: bytes, kind: str | None = None, status: int = 200, **headers: str) -> Any:
    told = CIMultiDict(HEADERS)
    if kind is not None:
        told["Content-Type"] = kind
    told.update({name.replace("_", "-"): value for name, value in headers.items()})
    return submit_verdict(Reply(status, told, body), SYNC, model="m", utc=0.0)


def data_uri(kind: str, body: bytes) -> str:
    return f"data:{kind};base64,{b64encode(body).decode()}"


def test_the_headers_say_what_it_came_to() -> None:
    verdict = submitted(PNG, "image/png")
    assert verdict.request_id == "r1"
    assert verdict.result.metrics == Metrics(cost_usd=0.04, inference_s=31.5, credits_usd=12.5)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("image/png", "image/png"),
        ("Audio/WAV; codecs=1", "audio/wav"),
        ("video/mp4", "video/mp4"),
        (None, "application/octet-stream"),
        ("application/octet-stream", "application/octet-stream"),
        ("binary/octet-stream", "binary/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("image/png,;base64", "application/octet-stream"),
        ("x" * 200 + "/y", "application/octet-stream"),
    ],
)
def test_bytes_are_one_file_whose_own_type_its_content_tells(kind: str | None, found: str) -> None:
    result = submitted(PNG, kind).result
    assert (result.output, result.urls) == (None, (data_uri(found, PNG),))
    assert (result.bytes_expected, result.content_type) == (len(PNG), found)


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json; charset=utf-8", None])
@pytest.mark.parametrize(
    ("body", "urls"),
    [
        ({"output": "hello"}, ()),
        ({"output": URL}, (URL,)),
        ({"image": {"url": URL}}, (URL,)),
        ({"output": [data_uri("image/png", PNG)]}, (data_uri("image/png", PNG),)),
        (["hello"], ()),
        ("hello", ()),
        (7, ()),
    ],
)
def test_json_is_kept_as_it_came_with_its_files_at_the_places_of_the_description(
    kind: str | None, body: object, urls: tuple[str, ...]
) -> None:
    result = submitted(orjson.dumps(body), kind).result
    assert (result.output, result.urls) == (body, urls)


def test_a_text_is_kept_as_such() -> None:
    result = submitted("grüß dich".encode(), "text/plain; charset=utf-8").result
    assert (result.output, result.urls) == ("grüß dich", ())


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 200),
        (b" \n", "application/json", 200),
        (b'{"output": "hel', "application/json", 200),
        (b"<html>Just a moment...</html>", "text/html; charset=utf-8", 200),
        (b'{"status": "QUEUED"}', "application/json", 202),
        (PNG, "image/png", 206),
        (b"", None, 204),
    ],
)
def test_what_is_no_whole_result_leaves_the_outcome_unknown(body: bytes, kind: str | None, status: int) -> None:
    assert isinstance(submitted(body, kind, status), UnknownOutcome)


@pytest.mark.parametrize("name", ["", "a b", "../../etc/passwd", "x" * 129, "\u00e9"])
def test_a_request_id_that_is_none_is_left_out(name: str) -> None:
    assert submitted(PNG, "image/png", X_Request_Id=name).request_id == ""


@pytest.mark.parametrize("cost", ["nan", "-1", "1e9", "\u0661", "free"])
def test_a_cost_that_is_no_number_is_none(cost: str) -> None:
    assert submitted(PNG, "image/png", X_Cost=cost).result.metrics.cost_usd is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "no face was found"}, Rejected),
        (401, {"error": "Unauthorized"}, Unauthorized),
        (402, {"error": "Insufficient credits"}, OutOfMoney),
        (406, {"error": "Insufficient credits"}, OutOfMoney),
        (404, {"error": "Model not found"}, WrongContract),
        (422, {"status": "FAILED", "error": "no face was found"}, Rejected),
        (429, {"error": "slow down"}, Throttled),
        (500, {"error": "internal"}, ServerError),
        (504, {"error": "gateway"}, UnknownOutcome),
    ],
)
def test_errors_mean_what_they_mean_to_any_submission(status: int, body: object, kind: type) -> None:
    verdict = submitted(orjson.dumps(body), "application/json", status)
    assert isinstance(verdict, kind)
    if isinstance(verdict, Rejected):
        assert verdict.error == JobError(kind="rejected", message="no face was found", http_status=status)


@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from([None, "application/json", "text/plain", "text/html", "image/png", "a/b"]) | st.text(),
    status=st.integers(200, 299),
)
def test_any_good_reply_is_a_result_or_an_unknown_outcome(body: bytes, kind: str | None, status: int) -> None:
    verdict = submitted(body, kind, status)
    assert isinstance(verdict, Answered | UnknownOutcome)
    if isinstance(verdict, Answered):
        assert orjson.dumps(verdict.result.output) is not None
        assert all(url.isascii() for url in verdict.result.urls)
