"""The rules of a description decide what a reply means: the cases in which the presets differ from Segmind."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.provider.cancelling import cancel_verdict
from engine.provider.description import load_description
from engine.provider.interpretation import fetch_verdict, poll_verdict, submit_verdict
from engine.provider.reply import NoReply, Reply
from engine.provider.verdict import (
    Accepted,
    CancelAsked,
    Cancelled,
    CancelRefused,
    Completed,
    Failed,
    Metrics,
    NotFound,
    NotReady,
    OutOfMoney,
    Rejected,
    Result,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    Working,
    WrongContract,
)

URL = "https://cdn.example.com/a.mp4"


def reply(body: object, status: int = 200) -> Reply:
    return Reply(status, {}, orjson.dumps(body))


def submitted(name: str, body: object, status: int = 200) -> object:
    return submit_verdict(reply(body, status), load_description(name), model="m", utc=0.0)


def polled(name: str, body: object, status: int = 200) -> Any:
    return poll_verdict(reply(body, status), load_description(name), utc=0.0)


def fetched(name: str, body: object, status: int = 200) -> Any:
    return fetch_verdict(reply(body, status), load_description(name), utc=0.0)


@pytest.mark.parametrize(
    ("name", "body", "request_id", "addresses"),
    [
        ("fal", {"request_id": "a", "status_url": "https://q/s", "response_url": "https://q"}, "a",
         {"status": "https://q/s", "result": "https://q"}),
        ("replicate", {"id": "a", "urls": {"get": "https://r/a"}}, "a", {"status": "https://r/a"}),
        ("runway", {"id": "a"}, "a", {}),
        ("bfl", {"id": "a", "polling_url": "https://b/a"}, "a", {"status": "https://b/a"}),
        ("luma", {"id": "a", "state": "queued"}, "a", {}),
    ],
)  # fmt: skip
def test_an_acceptance_names_the_request(name: str, body: object, request_id: str, addresses: dict[str, str]) -> None:
    assert submitted(name, body, 201) == Accepted(request_id, addresses)
    assert isinstance(submitted(name, {"status": "ok"}), UnknownOutcome)


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("fal", 403, {"detail": "User is locked. Reason: Exhausted balance."}),
        ("replicate", 402, {"title": "Insufficient credit"}),
        ("runway", 400, {"error": "You do not have enough credits to run this task."}),
        ("bfl", 402, {"detail": "Insufficient credits"}),
        ("luma", 400, {"detail": "Insufficient credits"}),
    ],
)
def test_an_empty_account_fails_no_job(name: str, status: int, body: object) -> None:
    assert isinstance(submitted(name, body, status), OutOfMoney)
    assert isinstance(submitted(name, {"detail": "the image is too small"}, 400), Rejected)


@pytest.mark.parametrize("name", ["fal", "replicate", "runway", "bfl", "luma"])
def test_a_500_may_have_accepted_the_job_where_nobody_says_otherwise(name: str) -> None:
    assert isinstance(submitted(name, {"error": "internal"}, 500), UnknownOutcome)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("replicate", {"status": "failed", "error": "no face"}, "no face"),
        ("replicate", {"status": "canceled"}, "without an explanation"),
        ("runway", {"status": "FAILED", "failure": "no face", "failureCode": "X"}, "no face; X"),
        ("bfl", {"status": "Request Moderated"}, "Request Moderated"),
        ("luma", {"state": "failed", "failure_reason": "no face"}, "no face"),
        ("fal", {"status": "COMPLETED", "error": "no face"}, "no face"),
    ],
)
def test_each_word_of_failure_is_final(name: str, body: object, words: str) -> None:
    verdict = polled(name, body)
    assert isinstance(verdict, Failed)
    assert words in verdict.message


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("replicate", {"status": "succeeded", "output": URL}),
        ("replicate", {"status": "succeeded", "output": [URL]}),
        ("replicate", {"status": "succeeded", "output": {"video": URL}}),
        ("runway", {"status": "SUCCEEDED", "output": [URL]}),
        ("bfl", {"status": "Ready", "result": {"sample": URL}}),
        ("luma", {"state": "completed", "assets": {"video": URL}}),
    ],
)
def test_a_status_may_hold_the_result(name: str, body: object) -> None:
    verdict = polled(name, body)
    assert isinstance(verdict, Result)
    assert verdict.urls == (URL,)
    assert fetched(name, body) == verdict


def test_words_that_nobody_listed_mean_that_it_runs() -> None:
    assert polled("runway", {"status": "THROTTLED"}) == Working("THROTTLED")
    assert fetched("runway", {"status": "RUNNING"}) == NotReady("it is still RUNNING")
    assert polled("bfl", {"status": "Task not found"}) == NotFound("Task not found")
    assert polled("bfl", {"status": "Task not found"}, 404) == NotFound("Task not found")


def test_fal_answers_202_while_it_works_and_has_the_result_elsewhere() -> None:
    assert polled("fal", {"status": "IN_QUEUE", "queue_position": 3}, 202) == Working("IN_QUEUE")
    done = {"status": "COMPLETED", "metrics": {"inference_time": 7.5}}
    assert polled("fal", done) == Completed(Metrics(inference_s=7.5))
    found = fetched("fal", {"video": {"url": URL, "file_size": 7, "content_type": "video/mp4"}})
    assert (found.urls, found.bytes_expected, found.content_type) == ((URL,), 7, "video/mp4")
    assert isinstance(fetched("fal", {"detail": [{"msg": "no face"}]}, 422), Failed)
    assert isinstance(fetched("fal", {"detail": "Request is still in progress"}, 400), Unavailable)


# --- cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "seen", "verdict"),
    [
        ("fal", "IN_QUEUE", CancelAsked(paid=False)),
        ("fal", "IN_PROGRESS", CancelAsked(paid=True)),
        ("replicate", "starting", CancelAsked(paid=False)),
        ("replicate", "processing", CancelAsked(paid=True)),
        ("runway", "THROTTLED", Cancelled(paid=False)),
        ("runway", "RUNNING", Cancelled(paid=True)),
        ("luma", "queued", Cancelled(paid=True)),
    ],
)
def test_a_cancellation_costs_what_the_vendor_says_of_the_status_before(name: str, seen: str, verdict: object) -> None:
    assert cancel_verdict(reply({}, 202), load_description(name), seen=seen, utc=0.0) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (reply({"status": "ALREADY_COMPLETED"}, 400), CancelRefused),
        (reply({"error": "who?"}, 404), NotFound),
        (reply({"error": "the key"}, 401), Unauthorized),
        (reply({"error": "slowly"}, 429), Throttled),
        (reply({"error": "not so"}, 405), WrongContract),
        (reply({"error": "sick"}, 500), Unavailable),
        (NoReply("reset", sent=True), Unavailable),
        (NoReply("refused", sent=False), Unavailable),
        (NoReply("refused", sent=False, bad_certificate=True), WrongContract),
    ],
)
def test_whatever_else_is_answered_to_a_cancellation_leaves_the_request_to_its_status(
    answer: Reply | NoReply, verdict: type
) -> None:
    assert isinstance(cancel_verdict(answer, load_description("fal"), seen="IN_QUEUE", utc=0.0), verdict)


def test_an_address_to_cancel_at_comes_with_the_acceptance() -> None:
    body = {"id": "a", "urls": {"get": "https://r/a", "cancel": "https://r/a/cancel"}}
    assert submitted("replicate", body, 201) == Accepted("a", {"status": "https://r/a", "cancel": "https://r/a/cancel"})
