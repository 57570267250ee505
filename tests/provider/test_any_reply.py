"""Whatever a server sends: nothing breaks, and nothing is concluded from what does not say it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from engine.provider.description import load_description
from engine.provider.history import rows_of
from engine.provider.interpretation import fetch_verdict, poll_verdict, submit_verdict
from engine.provider.reply import Reply
from engine.provider.throttle import WAIT_S_MAX, WAIT_S_MIN
from engine.provider.verdict import (
    Accepted,
    Answered,
    Completed,
    Failed,
    NotSent,
    OutOfMoney,
    Rejected,
    Result,
    ServerError,
    Throttled,
    Unauthorized,
    UnknownOutcome,
    Working,
    WrongContract,
)

if TYPE_CHECKING:
    from engine.provider.verdict import Metrics

KEYS = [
    "request_id",
    "status",
    "output",
    "video",
    "audio",
    "image",
    "images",
    "url",
    "video_url",
    "media_url",
    "metrics",
    "cost",
    "inference_time",
    "queue_time",
    "remaining_credits",
    "error",
    "detail",
    "message",
    "content_type",
    "file_size",
    "data",
    "results",
    "model_status",
    "model_name",
    "request_body",
    "generation_url",
    "latency_ms",
    "credits_deduction",
    "created_at",
]
WORDS = ("COMPLETED", "FAILED", "PROCESSING", "QUEUED", "https://a.example/v.mp4", "data:,", "1e999", "9" * 40, "")
HEADERS = ("Retry-After", "x-rate-limit-reset-at-utc", "Date")

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=6),
    max_leaves=25,
)
JSON = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8).map(orjson.dumps) | VALUES.map(orjson.dumps)
BODIES = JSON | JSON.map(lambda body: body[: len(body) // 2]) | st.binary()
TEXTS = st.text(st.characters(blacklist_categories=["Cs"])) | st.from_regex(r"\A[0-9:TZ., GMT+-]{1,30}\Z")
REPLIES = st.builds(
    Reply,
    status=st.sampled_from([200, 201, 202, 204, 400, 401, 402, 404, 406, 409, 422, 429, 500, 502, 503])
    | st.integers(100, 999),
    headers=st.dictionaries(st.sampled_from(HEADERS), TEXTS),
    body=BODIES,
)
SEGMIND = load_description("segmind")
SYNCHRONOUS = load_description("segmind-sync")
UTC = st.floats(0, 4e9)

FREE_BY_STATUS: dict[type, frozenset[int]] = {
    Unauthorized: frozenset({401}),
    OutOfMoney: frozenset({402, 406}),
    Throttled: frozenset({429}),
    ServerError: frozenset({500}),
}
"""What ends a submission without a charge, and the statuses that may say so."""


@given(reply=REPLIES, utc=UTC)
def test_a_submission_is_free_to_be_made_again_only_where_the_server_says_so(reply: Reply, utc: float) -> None:
    verdict = submit_verdict(reply, SEGMIND, model="m", utc=utc)
    assert not isinstance(verdict, NotSent)  # there was a reply
    if 200 <= reply.status < 300 or reply.status > 500:
        assert isinstance(verdict, Accepted | UnknownOutcome)
    if isinstance(verdict, Accepted):
        assert verdict.request_id == reply.object()["request_id"]
    if type(verdict) in FREE_BY_STATUS:
        assert reply.status in FREE_BY_STATUS[type(verdict)]
    if isinstance(verdict, Rejected | WrongContract):
        assert 300 <= reply.status < 500
    if isinstance(verdict, Throttled) and verdict.wait_s is not None:
        assert WAIT_S_MIN <= verdict.wait_s <= WAIT_S_MAX


@given(reply=REPLIES, utc=UTC)
def test_a_synchronous_submission_is_settled_only_by_what_the_server_says(reply: Reply, utc: float) -> None:
    verdict = submit_verdict(reply, SYNCHRONOUS, model="m", utc=utc)
    if 200 <= reply.status < 300:
        assert isinstance(verdict, Answered | UnknownOutcome)
    else:
        # What is no result means what it means to any submission.
        assert verdict == submit_verdict(reply, SEGMIND, model="m", utc=utc)
    if isinstance(verdict, Answered):
        assert all(isinstance(url, str) for url in verdict.result.urls)
        assert _are_sane(verdict.result.metrics)


@given(reply=REPLIES, utc=UTC)
def test_a_request_has_ended_only_in_the_servers_own_words(reply: Reply, utc: float) -> None:
    verdict = poll_verdict(reply, SEGMIND, utc=utc)
    word = reply.object().get("status")
    if isinstance(verdict, Completed | Failed):
        assert word == ("COMPLETED" if isinstance(verdict, Completed) else "FAILED")
        assert _are_sane(verdict.metrics)
    if isinstance(verdict, Working):
        assert word not in {"COMPLETED", "FAILED"}


@given(reply=REPLIES, utc=UTC)
def test_a_result_is_what_says_that_it_is_one(reply: Reply, utc: float) -> None:
    verdict = fetch_verdict(reply, SEGMIND, utc=utc)
    if isinstance(verdict, Result):
        assert reply.status == 200
        assert reply.object().get("status") == "COMPLETED" or verdict.urls
        assert all(isinstance(url, str) for url in verdict.urls)
        assert verdict.bytes_expected is None or verdict.bytes_expected > 0
        assert _are_sane(verdict.metrics)
    if isinstance(verdict, Failed):
        assert reply.object()["status"] == "FAILED"


@given(body=BODIES)
def test_rows_of_a_history_are_whole_or_left_out(body: bytes) -> None:
    for row in rows_of(Reply(200, {}, body).json()):
        assert row.raw["request_id"] == row.request_id
        assert row.cost_usd is None or row.cost_usd >= 0
        assert row.created_utc is None or math.isfinite(row.created_utc)
        assert row.body is None or isinstance(row.body, dict)


def _are_sane(metrics: Metrics) -> bool:
    figures: list[Any] = [metrics.cost_usd, metrics.inference_s, metrics.queue_s, metrics.credits_usd]
    return all(figure is None or (math.isfinite(figure) and figure >= 0) for figure in figures)
